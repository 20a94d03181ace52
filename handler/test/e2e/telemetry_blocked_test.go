package e2e_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"spillway/handler/internal/simulator"
)

// startStandalone starts the staged binary by itself, in front of the simulated
// service; its output goes where the test says.
func startStandalone(t *testing.T, sim *simulator.Service, s setup, out *os.File) (url string) {
	t.Helper()
	address := freeAddress(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(staged, "spillway"))
	cmd.Env = append(os.Environ(), "SPILLWAY_LISTEN="+address, "SPILLWAY_CONFIG="+document(t, sim, s), "BACKEND_KEY="+backendKey, "SPILLWAY_AUTH=none",
		"SPILLWAY_EXPOSE=true", "SPILLWAY_STATE=", "AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT=")
	cmd.Env = append(cmd.Env, s.env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			t.Fatal("spillway does not listen")
		}
	}
}

// unresponsiveEndpoint takes connections and never answers.
func unresponsiveEndpoint(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

// Two handlers are asked in turn: one whose output nobody reads and whose
// collector never answers, and one without either trouble. Whatever else the
// machine is doing, both have it.
func TestBlockedLogAndCollectorDoNotDelayRequests(t *testing.T) {
	s := setup{backends: []backend{{name: "a", priority: 1}}}
	sim := simulator.Start(t, simulator.Config{Resources: resources(s.backends), Journal: -1})
	read, write, err := os.Pipe() // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	stuck := s
	stuck.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + unresponsiveEndpoint(t), "OTEL_METRIC_EXPORT_INTERVAL=50", "SPILLWAY_LOG_LEVEL=debug"}
	urls := [2]string{startStandalone(t, sim, stuck, write), startStandalone(t, sim, s, null)}
	const requests = 5000 // more than the queue and the pipe hold
	var took [2][]time.Duration
	for i := range 2 * requests {
		began := time.Now()
		a := ask(t.Context(), t, http.MethodPost, urls[i%2]+chatPath, hello)
		if a.status != http.StatusOK {
			t.Fatalf("request %d: %d, %v: %s", i, a.status, a.err, a.body)
		}
		took[i%2] = append(took[i%2], time.Since(began))
	}
	for i := range took {
		slices.Sort(took[i])
	}
	at := func(i int, p float64) time.Duration { return took[i][int(p*float64(requests-1))] }
	t.Logf("stuck: median %v, p99 %v; free: median %v, p99 %v", at(0, .5), at(0, .99), at(1, .5), at(1, .99))
	if more := at(0, .5) - at(1, .5); more > time.Millisecond {
		t.Errorf("a stuck log and collector add %v to the median", more)
	}
	if more := at(0, .99) - at(1, .99); more > max(time.Millisecond, at(1, .99)/2) {
		t.Errorf("a stuck log and collector add %v to the 99th percentile of %v", more, at(1, .99))
	}
	dropped := scrape(t, urls[0])["spillway_log_dropped_total"].GetMetric()[0].GetCounter().GetValue()
	if dropped == 0 {
		t.Error("no line was dropped: somebody read the pipe")
	}
}

// scrape reads /ops/metrics as Prometheus does.
func scrape(t *testing.T, url string, header ...string) map[string]*dto.MetricFamily {
	t.Helper()
	a := ask(t.Context(), t, http.MethodGet, url+"/ops/metrics", "", header...)
	if a.status != http.StatusOK {
		t.Fatalf("/ops/metrics: %d: %s", a.status, a.body)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.body))
	if err != nil {
		t.Fatalf("/ops/metrics: %v", err)
	}
	return families
}
