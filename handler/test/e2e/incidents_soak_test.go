package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// incident is something that goes wrong on a fleet of three instances with traffic.
type incident struct {
	setup    fleetSetup
	cause    func(f *fleet)
	headline string // a part of what the page says then
}

// consumers is a document with a consumer, and the environment in which its key is
// asked for.
func consumers(members map[string]any, env ...string) fleetSetup {
	one := map[string]any{"name": "team-a", "keySetting": "TEAM_A_KEY"}
	for name, value := range members {
		one[name] = value
	}
	return fleetSetup{
		document: map[string]any{"consumers": []map[string]any{one}},
		env:      append([]string{"SPILLWAY_AUTH=key", "TEAM_A_KEY=" + keyForTeam("team-a"), "SPILLWAY_OPERATOR_KEY=" + accountingOperatorKey}, env...),
	}
}

// each does something to every instance's road to the table.
func each(what func(w *tableProxy)) func(f *fleet) {
	return func(f *fleet) {
		for _, m := range f.members {
			what(m.way)
		}
	}
}

func fault(action string) func(f *fleet) {
	return func(f *fleet) { f.sim.Fault("a", simulator.Fault{Action: action}) }
}

// incidents are ten of those that wake somebody at night.
func incidents() map[string]incident {
	front := map[string]*networkPath{"a": {}}
	return map[string]incident{
		"throttled":     {cause: fault("429-ptu"), headline: "gpt-4o spills over"},
		"dead":          {cause: fault("500"), headline: "gpt-4o spills over"},
		"retired":       {cause: fault("404-deployment"), headline: "a: refuses chat"},
		"key-rotated":   {cause: fault("401-key"), headline: "a: refuses chat"},
		"table-refused": {cause: func(f *fleet) { each(func(w *tableProxy) { w.set(tableFaults{readOnly: true}) })(f); fault("500")(f) }, headline: "the state table cannot be written"},
		"table-slow":    {cause: each(func(w *tableProxy) { w.swallowing.Store(true) }), headline: "The state table is unreachable"},
		"entra-away": {
			setup: consumers(map[string]any{"entra": map[string]any{"appId": tenantID}}, "SPILLWAY_AUTH=key,entra", "SPILLWAY_ENTRA_TENANT="+tenantID, "SPILLWAY_ENTRA_AUDIENCE=api://spillway", "SPILLWAY_ENTRA_ISSUER=http://127.0.0.1:1/"+tenantID+"/v2.0"),
			cause: func(*fleet) {}, headline: "entra-keys: failing",
		},
		"budget-spent": {setup: consumers(map[string]any{"tokensPerMonth": 2000, "maxRequestTokens": 40}), cause: func(*fleet) {}, headline: "team-a has used up a month's limit"},
		"cut-off":      {setup: fleetSetup{fronts: front}, cause: func(f *fleet) { front["a"].breakFor(f.members[0]) }, headline: "open on instance-00 alone"},
		"bad-document": {cause: startBadInstance, headline: "instance-00 refuses every request: the configuration is not valid"},
	}
}

// startBadInstance replaces an instance by one with a document that is refused.
func startBadInstance(f *fleet) {
	m := f.members[0]
	m.kill()
	for i := range m.env {
		if strings.HasPrefix(m.env[i], "SPILLWAY_CONFIG=") {
			m.env[i] = "SPILLWAY_CONFIG=" + brokenDocument
		}
	}
	_, port, _ := strings.Cut(freeAddress(f.t), ":")
	cmd := exec.Command(m.program)
	cmd.Env = append(append(os.Environ(), "SPILLWAY_AUTH=none", "AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT="+port), m.env...)
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	m.address.Store("127.0.0.1:" + port)
}

// The page's headline for each of ten incidents, and how long after its cause it is
// to be seen on another instance's page. With SPILLWAY_LINES=FOLDER the lines of the
// instances are kept there; package telemetry runs the alerts over them:
// SPILLWAY_LINES=FOLDER go test -run TestAlertsOverKeptLines ./handler/internal/telemetry
func TestSoakIncidents(t *testing.T) {
	lasts, _ := share(t, 100)
	for name, c := range incidents() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.setup.members, c.setup.backends = 3, twoBackends()
			f := startFleet(t, c.setup)
			stop := f.traffic(2)
			defer stop()
			eventually(t, "all is well", func() bool {
				return name == "entra-away" || name == "budget-spent" || strings.Contains(f.headline(), "served normally")
			})
			began := time.Now()
			c.cause(f)
			defer func() { t.Logf("%s: in the end %q", name, f.headline()) }()
			if c.headline != "" {
				f.awaitHeadline(name, c.headline, began)
			}
			time.Sleep(time.Until(began.Add(lasts)))
		})
	}
}

// traffic sends requests to each instance until it is stopped.
func (f *fleet) traffic(perSecond int) (stop func()) {
	var ended atomic.Bool
	var running sync.WaitGroup
	for _, m := range f.members {
		running.Go(func() {
			for !ended.Load() {
				_ = ask(f.t.Context(), f.t, http.MethodPost, m.url(chatPath), hello, "api-key", keyForTeam("team-a"))
				time.Sleep(time.Second / time.Duration(perSecond))
			}
		})
	}
	return func() { ended.Store(true); running.Wait() }
}

// awaitHeadline asks the page until it says so, and logs what it said until then. The
// history of the table is no event to wait for: some incidents are not in it.
func (f *fleet) awaitHeadline(name, want string, began time.Time) {
	f.t.Helper()
	for last := ""; ; time.Sleep(200 * time.Millisecond) {
		if said := f.headline(); said != last {
			last = said
			f.t.Logf("%s: after %.1f s %q", name, time.Since(began).Seconds(), said)
		}
		if strings.Contains(last, want) {
			return
		}
		if time.Since(began) > time.Minute {
			f.t.Fatalf("%s: no headline has %q", name, want)
		}
	}
}

// headline is what the page of the last instance says.
func (f *fleet) headline() string {
	var s struct {
		Headline struct {
			Text     string
			Troubles []struct{ Text string }
		}
	}
	a := ask(f.t.Context(), f.t, http.MethodGet, f.members[len(f.members)-1].url("/ops/api/status"), "", "x-spillway-operator-key", accountingOperatorKey)
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		return a.body
	}
	text := s.Headline.Text
	for _, trouble := range s.Headline.Troubles {
		text += ": " + trouble.Text
	}
	return text
}
