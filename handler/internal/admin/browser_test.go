package admin

import (
	"encoding/json"
	"maps"
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

// stage is handlers behind one address, one scenario at a time. A scenario of
// several instances is answered by each in turn.
type stage struct {
	url    string
	now    atomic.Value // of string: the scenario's name
	scenes map[string][]*Handler
}

// newStage serves the first scenario; GET /scene/NAME switches to another.
func newStage(t *testing.T, first string, scenes map[string][]Config) *stage {
	t.Helper()
	s := &stage{scenes: map[string][]*Handler{}}
	for name, cfgs := range scenes {
		for i := range cfgs {
			s.scenes[name] = append(s.scenes[name], runHandler(t, cfgs[i]))
		}
	}
	s.now.Store(first)
	var turn atomic.Uint64
	r := chi.NewRouter()
	r.Mount("/ops", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _ := s.now.Load().(string)
		w.Header().Set("X-Scene", name) // by which look.mjs tells whether a response is of the scenario it switched to
		handlers := s.scenes[name]
		handlers[int(turn.Add(1))%len(handlers)].ServeHTTP(w, r)
	}))
	r.Get("/scene/{name}", func(_ http.ResponseWriter, r *http.Request) { s.now.Store(chi.URLParam(r, "name")) })
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func runHandler(t *testing.T, cfg Config) *Handler {
	t.Helper()
	o := New(cfg)
	ctx, done := t.Context(), make(chan struct{})
	go func() { defer close(done); o.Run(ctx) }()
	t.Cleanup(func() { <-done })
	return o
}

const testKey = "operators-key-0123456789"

func TestStatusPageInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a browser")
	}
	tools, chromium := browser(t)
	at := loopingClock(time.Now())
	locked := healthyScenario(at)
	locked.cfg.Key = testKey
	open := newStage(t, "healthy", openScenes(at))
	signin := newStage(t, "locked", map[string][]Config{"locked": {locked.cfg}})

	report := runBrowser(t, tools, chromium, map[string]string{"open": open.url, "locked": signin.url, "key": testKey})
	for _, problem := range report.Problems {
		t.Error(problem)
	}
	if len(report.Looked) < len(open.scenes)+1 {
		t.Errorf("%d scenarios were visited, want %d", len(report.Looked), len(open.scenes)+1)
	}
	for scene, l := range report.Looked {
		if l.Axe < 20 {
			t.Errorf("%s: only %d rules of axe: the page was not visited", scene, l.Axe)
		}
	}
	t.Logf("measured in the browser: %s", report.Measured)
	if said := locked.written(); !slices.Equal(said, []string{"drain ptu-uksouth by Ana Óðinn"}) {
		t.Errorf("written: %q", said)
	}
	if len(locked.actions) != 1 || locked.actions[0].Key == "" || strings.Contains(testKey, locked.actions[0].Key) {
		t.Errorf("audited %+v", locked.actions)
	}
}

// openScenes are the scenarios, without a key.
func openScenes(at func() time.Time) map[string][]Config {
	worlds := scenarios(at)
	if os.Getenv("SPILLWAY_SHOTS") != "" {
		maps.Copy(worlds, bigScenarios(at))
	}
	worlds["outage"].fleetErr = errTableUnreachable
	worlds["keyboard"] = healthyScenario(at)
	scenes := map[string][]Config{"two": twoInstances(at)}
	for name, w := range worlds {
		w.cfg.Open = true
		scenes[name] = []Config{w.cfg}
	}
	return scenes
}

// report is the output of look.mjs.
type report struct {
	Problems []string
	Looked   map[string]struct{ Axe int }
	Measured json.RawMessage
}

func runBrowser(t *testing.T, tools, chromium string, addresses map[string]string) (seen report) {
	t.Helper()
	text, err := json.Marshal(addresses)
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

// twoInstances are two instances, each with its own requests.
func twoInstances(at func() time.Time) []Config {
	var cfgs []Config
	for _, name := range []string{"a", "b"} {
		w := newFakeFleet(at, []string{"gpt-4o"}, threeBackends())
		w.cfg.Open, w.cfg.Instance = true, "instance-"+name
		p := &w.cfg.Pools[0]
		w.finish(fakeRequest{id: "req_of-" + name, pool: p, status: 200, took: time.Second, attempts: []proxy.Attempt{served(&p.Backends[0], time.Second, -1)}})
		cfgs = append(cfgs, w.cfg)
	}
	return cfgs
}
