package e2e_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

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
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
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

// One instance has a log that nobody reads and a collector that never answers;
// it serves all the same, and counts the lines that it drops.
func TestBlockedLogAndCollectorDoNotBlockRequests(t *testing.T) {
	t.Parallel()
	s := setup{backends: []backend{{name: "a", priority: 1}}}
	sim := simulator.Start(t, simulator.Config{Resources: resources(s.backends), Journal: -1})
	url := startBlocked(t, sim, s)
	const requests = 5000 // more than the queue and the pipe hold
	for i := range requests {
		if a := ask(t.Context(), t, http.MethodPost, url+chatPath, hello); a.status != http.StatusOK {
			t.Fatalf("request %d: %d, %v: %s", i, a.status, a.err, a.body)
		}
	}
	if scrape(t, url)["spillway_log_dropped_total"].GetMetric()[0].GetCounter().GetValue() == 0 {
		t.Error("no line was dropped: the pipe was read")
	}
}

// Two instances are asked in turn, one as above and one without either fault:
// whatever else the machine does, it does to both.
func TestSoakBlockedLogAndCollectorDoNotDelayRequests(t *testing.T) {
	if os.Getenv("SPILLWAY_SOAK") == "" {
		t.Skip("it measures real time: SPILLWAY_SOAK=1m go test ./handler/test/e2e -run TestSoakBlockedLog")
	}
	s := setup{backends: []backend{{name: "a", priority: 1}}}
	sim := simulator.Start(t, simulator.Config{Resources: resources(s.backends), Journal: -1})
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	urls := [2]string{startBlocked(t, sim, s), startStandalone(t, sim, s, null)}
	const requests = 5000
	var took [2][]time.Duration
	for i := range 2 * requests {
		began := time.Now()
		a := ask(t.Context(), t, http.MethodPost, urls[i%2]+chatPath, hello)
		if a.status != http.StatusOK {
			t.Fatalf("request %d: %d, %v: %s", i, a.status, a.err, a.body)
		}
		took[i%2] = append(took[i%2], time.Since(began))
	}
	t.Logf("blocked %s; free %s", spread(took[0]), spread(took[1]))
	if more := quantile(took[0], .5) - quantile(took[1], .5); more > time.Millisecond {
		t.Errorf("a blocked log and collector add %v to the median", more)
	}
	if more := quantile(took[0], .99) - quantile(took[1], .99); more > max(time.Millisecond, quantile(took[1], .99)/2) {
		t.Errorf("a blocked log and collector add %v to the 99th percentile of %v", more, quantile(took[1], .99))
	}
}

// startBlocked starts an instance whose output nobody reads and whose collector
// never answers.
func startBlocked(t *testing.T, sim *simulator.Service, s setup) (url string) {
	t.Helper()
	read, write, err := os.Pipe() // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = read.Close()
		_ = write.Close()
	})
	s.env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + unresponsiveEndpoint(t), "OTEL_METRIC_EXPORT_INTERVAL=50", "SPILLWAY_LOG_LEVEL=debug"}
	return startStandalone(t, sim, s, write)
}

// scrape reads /ops/metrics as Prometheus does.
func scrape(t *testing.T, url string, header ...string) map[string]*dto.MetricFamily {
	t.Helper()
	a := ask(t.Context(), t, http.MethodGet, url+"/ops/metrics", "", header...)
	if a.status != http.StatusOK {
		t.Fatalf("/ops/metrics: %d: %s", a.status, a.body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.body))
	if err != nil {
		t.Fatalf("/ops/metrics: %v", err)
	}
	return families
}
