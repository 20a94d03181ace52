package e2e_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

// pageState is what a browser came to show of a backend, and when.
type pageState struct {
	Condition string  `json:"condition"`
	At        float64 `json:"at"` // milliseconds
}

// watchPage looks at a page until the test ends.
func watchPage(t *testing.T, url string) <-chan pageState {
	t.Helper()
	modules, chromium := tools(t), ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil && chromium == "" {
			chromium = path
		}
	}
	if chromium == "" {
		missing(t, "there is no Chromium: run scripts/tools/install.sh chromium")
	}
	cmd := exec.Command("node", "testdata/follow.mjs", modules, chromium, url)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen, ended := make(chan pageState, 100), make(chan struct{})
	go func() {
		defer close(ended)
		defer close(seen)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			var s pageState
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				seen <- s
			}
		}
	}()
	t.Cleanup(func() {
		_ = input.Close()
		<-ended
		_ = cmd.Wait()
	})
	return seen
}

// awaitState waits for a condition to be shown. On a busy machine, a browser takes
// more than a minute to start.
func awaitState(t *testing.T, seen <-chan pageState, condition string) time.Time {
	t.Helper()
	deadline := time.After(5 * time.Minute)
	for {
		select {
		case s, running := <-seen:
			if !running {
				t.Fatalf("the browser ended before it showed that the backend is %s", condition)
			}
			if s.Condition == condition {
				return time.UnixMicro(int64(s.At * 1000))
			}
		case <-deadline:
			t.Fatalf("the page never shows that the backend is %s", condition)
		}
	}
}

// One instance has all the requests; somebody looks at the page of another. A
// trip, and an operator's word that takes it back, are to be seen within one
// refresh and the page's second, and whatever a busy machine takes.
func TestStatusPageShowsTripOfAnotherInstance(t *testing.T) {
	t.Parallel()
	connection := storetest.Azurite(t)
	backends := twoBackends()
	sim := simulator.Start(t, simulator.Config{Resources: resources(backends)})
	env := []string{"SPILLWAY_CONFIG=" + document(t, sim, setup{backends: backends}), "SPILLWAY_STATE=" + connection}
	busy := startInstanceProcess(t, append(env[:2:2], "WEBSITE_POD_NAME=busy")...)
	looked := startInstanceProcess(t, append(env[:2:2], "WEBSITE_POD_NAME=looked-at")...)
	seen := watchPage(t, looked.url+"/ops/")
	awaitState(t, seen, "available")
	const refresh, second = 500 * time.Millisecond, time.Second
	const failures = 5 // open a circuit by default
	var trips, resets []time.Duration
	for range 3 {
		sim.Next("a", slices.Repeat([]simulator.Fault{{Action: "500"}}, failures)...)
		for range failures {
			if a := ask(t.Context(), t, http.MethodPost, busy.url+chatPath, hello); a.backend() != "b" {
				t.Fatalf("%d by %q: %s", a.status, a.backend(), a.body)
			}
		}
		knew := time.Now()
		trips = append(trips, awaitState(t, seen, "open").Sub(knew))
		if a := ask(t.Context(), t, http.MethodPost, busy.url+"/ops/api/backends/a/reset", "", "x-spillway-operator", "anna"); a.status != http.StatusOK {
			t.Fatalf("reset: %d: %s", a.status, a.body)
		}
		knew = time.Now()
		resets = append(resets, awaitState(t, seen, "available").Sub(knew))
	}
	t.Logf("a trip is shown after %v", trips)
	t.Logf("a reset is shown after %v", resets)
	for _, took := range append(trips, resets...) {
		if tooLate(t, took, 3*(refresh+second)) {
			t.Errorf("shown after %v, want %v on a quiet machine", took, refresh+second)
		}
	}
	if n := len(sim.JournalOf("a")); n != failures*len(trips) {
		t.Errorf("%d requests at the backend that trips, want %d", n, failures*len(trips))
	}
	if text := looked.out.String(); strings.Contains(text, `"msg":"request"`) || strings.Count(text, `"phase":"open"`) < len(trips) {
		t.Errorf("the instance that is looked at had requests, or learnt of no trip: %s", text)
	}
}
