package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"spillway/handler/internal/proxy"
)

// browser finds what look.mjs needs: the npm packages and Chromium. Without them
// the test is skipped.
func browser(t *testing.T) (tools, chromium string) {
	t.Helper()
	tools = os.Getenv("SPILLWAY_TOOLS")
	if tools == "" {
		tools, _ = filepath.Abs("../../../scripts/tools/node_modules")
	}
	_, err := os.Stat(filepath.Join(tools, "playwright-core"))
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, found := exec.LookPath(name); found == nil && chromium == "" {
			chromium = path
		}
	}
	if err == nil && chromium != "" {
		return tools, chromium
	}
	const help = "the browser or its driver is missing: run scripts/tools/install.sh npm chromium"
	if os.Getenv("SPILLWAY_REQUIRE_TOOLS") != "" {
		t.Fatal(help)
	}
	t.Skip(help)
	return "", ""
}

// serve runs handlers behind one address, which takes them in turn.
func serve(t *testing.T, cfgs ...Config) string {
	t.Helper()
	var handlers []*Handler
	for i := range cfgs {
		o := New(cfgs[i])
		ctx := t.Context()
		done := make(chan struct{})
		go func() { defer close(done); o.Run(ctx) }()
		t.Cleanup(func() { <-done })
		handlers = append(handlers, o)
	}
	var turn atomic.Uint64
	r := chi.NewRouter()
	r.Mount("/ops", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers[int(turn.Add(1))%len(handlers)].ServeHTTP(w, r)
	}))
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return srv.URL
}

const testKey = "operators-key-0123456789"

func TestStatusPageInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	tools, chromium := browser(t)
	at := loopingClock(time.Now())
	locked := healthyScenario(at)
	locked.cfg.Key = testKey
	urls := scenarioURLs(t, at)
	urls["locked"], urls["key"] = serve(t, locked.cfg), testKey

	report := runBrowser(t, tools, chromium, urls)
	for _, problem := range report.Problems {
		t.Error(problem)
	}
	if len(report.Looked) != 17 {
		t.Errorf("%d scenarios were visited, want 17", len(report.Looked))
	}
	for scene, l := range report.Looked {
		if l.Axe < 20 || l.Requests < 5 {
			t.Errorf("%s: only %d rules of axe and %d requests: the page was not visited", scene, l.Axe, l.Requests)
		}
	}
	t.Logf("a change was followed within %d ms", report.Looked["change"].FollowedMS)
	if said := locked.written(); !slices.Equal(said, []string{"drain ptu-uksouth by Ana Óðinn"}) {
		t.Errorf("written: %q", said)
	}
	if len(locked.actions) != 1 || locked.actions[0].Key == "" || strings.Contains(testKey, locked.actions[0].Key) {
		t.Errorf("audited %+v", locked.actions)
	}
}

// scenarioURLs serves every scenario without a key.
func scenarioURLs(t *testing.T, at func() time.Time) map[string]string {
	t.Helper()
	worlds := scenarios(at)
	worlds["outage"].fleetErr = errTableUnreachable
	worlds["keyboard"], worlds["change"] = healthyScenario(at), healthyScenario(at)
	urls := map[string]string{"two": twoInstances(t, at)}
	for name, w := range worlds {
		w.cfg.Open = true
		urls[name] = serve(t, w.cfg)
	}
	return urls
}

// report is the output of look.mjs.
type report struct {
	Problems []string
	Looked   map[string]struct{ Requests, Axe, FollowedMS int }
}

func runBrowser(t *testing.T, tools, chromium string, urls map[string]string) (seen report) {
	t.Helper()
	text, err := json.Marshal(urls)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/look.mjs", tools, chromium, os.Getenv("SPILLWAY_SHOTS"), string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("look.mjs: %v\n%s", err, out)
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatalf("look.mjs printed %q: %v", out, err)
	}
	return seen
}

// loopingClock runs for five seconds, again and again: countdowns run, and never
// end, however slow the browser is.
func loopingClock(began time.Time) func() time.Time {
	return func() time.Time { return began.Add(time.Since(began) % (5 * time.Second)) }
}

// twoInstances are two instances behind one address, each with its own requests.
func twoInstances(t *testing.T, at func() time.Time) string {
	t.Helper()
	var cfgs []Config
	for i, name := range []string{"a", "b"} {
		w := newFakeFleet(at, []string{"gpt-4o"}, threeBackends())
		w.cfg.Open, w.cfg.Instance = true, "instance-"+name
		p := &w.cfg.Pools[0]
		w.traffic(9+10*i, p, func(int) []proxy.Attempt { return []proxy.Attempt{served(&p.Backends[0], 300*time.Millisecond, -1)} })
		w.finish(fakeRequest{id: "req_of-" + name, pool: p, status: 200, took: time.Second, attempts: []proxy.Attempt{served(&p.Backends[0], time.Second, -1)}})
		cfgs = append(cfgs, w.cfg)
	}
	return serve(t, cfgs...)
}
