package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// wantAllServed logs what callers got, and wants no more than so many refused.
func (f *fleet) wantAllServed(what string, samples []sample, most int) {
	f.t.Helper()
	f.t.Logf("%s: %s", what, got(samples))
	if failed := f.failures(samples); failed > most {
		f.t.Errorf("%s: %d of %d were not served, want at most %d", what, failed, len(samples), most)
	}
}

// A half of a percent of failures anywhere refuses nobody.
func TestSoakBackgroundFailuresRefuseNobody(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: 5, backends: equals("a", "b")})
	for _, b := range []string{"a", "b"} {
		f.sim.Fault(b, simulator.Fault{Action: "500", Probability: .005})
	}
	f.wantAllServed("5 instances at 200 a second", f.fireFor(40*time.Second, 200, f.members...), 0)
	for _, b := range []string{"a", "b"} {
		t.Logf("%s had %d of the requests", b, len(f.sim.JournalOf(b)))
	}
}

// A provisioned backend that fails one request of a hundred keeps the others.
func TestSoakProvisionedBackendKeepsItsTraffic(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: 1, backends: []backend{
		{name: "a", priority: 1, capacity: "provisioned", deployment: simulator.Deployment{SKU: simulator.Provisioned}}, {name: "b", priority: 2},
	}})
	f.sim.Fault("a", simulator.Fault{Action: "500", Every: 100})
	samples := f.fireFor(20*time.Second, 190, f.members...)
	f.wantAllServed("190 a second", samples, 0)
	spilled := len(f.sim.JournalOf("b"))
	t.Logf("%d of %d went to the other backend", spilled, len(samples))
	if spilled > len(samples)*15/1000 {
		t.Errorf("%d of %d spilled, want those that failed", spilled, len(samples))
	}
}

// Two of five instances cannot reach a backend: nobody is refused, and the other
// three keep it.
func TestSoakBrokenPathsTakeNothingFromOthers(t *testing.T) {
	soakOnly(t)
	way := &networkPath{}
	f := startFleet(t, fleetSetup{members: 5, backends: twoBackends(), fronts: map[string]*networkPath{"a": way}})
	f.fireFor(3*time.Second, 50, f.members...)
	way.breakFor(f.members[:2]...)
	samples := f.fireFor(20*time.Second, 50, f.members...)
	f.wantAllServed("two of five cut off", samples, 0)
	others := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.member.n < 2 })
	kept := len(slices.DeleteFunc(slices.Clone(others), func(s sample) bool { return s.backend != "a" }))
	t.Logf("the other three: %d of %d by a", kept, len(others))
	if kept < len(others)*95/100 {
		t.Errorf("the others kept %d of %d requests at a", kept, len(others))
	}
}

// One of two backends dies under few requests for each of twelve models.
func TestSoakManyModelsSurviveADeadBackend(t *testing.T) {
	soakOnly(t)
	var names []string
	for i := range 12 {
		names = append(names, "model-"+strconv.Itoa(i))
	}
	f := startFleet(t, fleetSetup{members: 1, backends: []backend{{name: "a", priority: 1, models: names}, {name: "b", priority: 1, models: names}}})
	served, failed := 0, 0
	for i := range 200 {
		if i == 40 {
			f.sim.Down("a")
		}
		if a := f.post(chatPath, strings.Replace(hello, "gpt-4o", names[i%12], 1)); a.status == http.StatusOK {
			served++
		} else {
			failed++
			t.Logf("%d %s", a.status, a.body)
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("5 a second over 12 models, one of two backends dies: %d served, %d not", served, failed)
	if failed > 0 {
		t.Errorf("%d requests were refused though b serves", failed)
	}
}

// patient sends so many requests a second for a while, whose callers wait for so long.
func (f *fleet) patient(d time.Duration, perSecond float64, patience time.Duration) []sample {
	ctx, stop := context.WithTimeout(f.t.Context(), d)
	defer stop()
	l := &load{stop: stop}
	paced(ctx, &l.ended, perSecond, func(i int) { l.add(f.members[i%len(f.members)].sendWithin(patience)) })
	<-ctx.Done()
	return l.finish()
}

// A backend that accepts and never answers, all requests or half of them.
func TestSoakHungBackendIsLeft(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: 20, backends: equals("a", "b")})
	for _, c := range []struct {
		name     string
		hangs    float64
		patience time.Duration
	}{{"hung", 1, 30 * time.Second}, {"half of the requests", .5, 30 * time.Second}, {"hung, and callers of 2 s", 1, 2 * time.Second}} {
		t.Run(c.name, func(t *testing.T) { f.afresh(t).wantLeftByPatient(c.hangs, c.patience) })
	}
}

func (f *fleet) wantLeftByPatient(hangs float64, patience time.Duration) {
	const perSecond = 200
	f.fireFor(8*time.Second, perSecond, f.members...) // each knows what is usual
	before := len(f.sim.JournalOf("a"))
	hedges, wasted := f.hedges()
	f.sim.Fault("a", simulator.Fault{Action: "hang-before-headers", Probability: hangs})
	samples := f.patient(30*time.Second, perSecond, patience)
	hung := 0
	for _, e := range f.sim.JournalOf("a")[before:] {
		if e.Fault == "hang-before-headers" {
			hung++
		}
	}
	slow := len(slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.took <= 5*time.Second }))
	time.Sleep(time.Second) // log lines are written shortly after the answers
	hedgesNow, wastedNow := f.hedges()
	f.t.Logf("%d sent to it, of which %d hung; %d waited for more than 5 s; %d hedges, which cost %d tokens", len(f.sim.JournalOf("a"))-before, hung, slow, hedgesNow-hedges, wastedNow-wasted)
	f.wantAllServed("callers", samples, 0)
	if slow > len(samples)/1000 {
		f.t.Errorf("%d of %d waited for more than 5 s", slow, len(samples))
	}
}

// hedges counts them, and the tokens of attempts that were of no use to the caller.
func (f *fleet) hedges() (n int, wasted int64) {
	for _, m := range f.members {
		m.log.mu.Lock()
		n, wasted = n+m.log.hedges, wasted+m.log.wasted
		m.log.mu.Unlock()
	}
	return n, wasted
}

// Outages of one, two and all of three backends before three instances.
func TestSoakBackendOutages(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: 3, backends: equals("a", "b", "c"), env: []string{"SPILLWAY_MAX_WAIT=2s", "SPILLWAY_RESPONSE_TIMEOUT=20s"}})
	for n, most := range map[int]int{1: 2, 2: 20} {
		t.Run(strconv.Itoa(n)+" of three", func(t *testing.T) {
			g := f.afresh(t)
			for _, b := range g.setup.backends[:n] {
				g.sim.Fault(b.name, simulator.Fault{Action: "503", After: 20 * time.Second, For: 40 * time.Second})
				g.sim.Fault(b.name, simulator.Fault{Action: "reset-before-headers", After: 60 * time.Second, For: 20 * time.Second})
			}
			g.wantAllServed("an outage", g.fireFor(101*time.Second, 225, g.members...), most) // of a busy machine, ticks are lost
		})
	}
	t.Run("all fail", func(t *testing.T) { f.afresh(t).wantOutage("503", http.StatusServiceUnavailable, 3*time.Second) })
	t.Run("all are silent", func(t *testing.T) {
		f.afresh(t).wantOutage("hang-before-headers", http.StatusGatewayTimeout, 21*time.Second)
	})
}

// wantOutage has all backends out of order for half a minute, and wants each request
// answered within a time, with a status and a retry-after that clients obey, and
// service within a second of the first backend's return.
func (f *fleet) wantOutage(action string, status int, within time.Duration) {
	for _, b := range f.setup.backends {
		f.sim.Fault(b.name, simulator.Fault{Action: action})
	}
	began := time.Now()
	l := f.fire(30, f.members...)
	time.Sleep(30 * time.Second)
	back := time.Now()
	f.sim.Clear("c")
	time.Sleep(8 * time.Second)
	samples := l.finish()
	during := between(samples, began, back.Add(-within))
	f.t.Logf("during the outage: %s", got(during))
	for i := range during {
		during[i].wantRefusal(f.t, status, within)
	}
	served := slices.IndexFunc(samples, func(s sample) bool { return s.ok() && s.sent.Add(s.took).After(back) })
	if served < 0 {
		f.t.Fatal("nothing was served after the return")
	}
	first := samples[served].sent.Add(samples[served].took).Sub(back)
	f.t.Logf("first served %v after the return", first)
	if first > time.Second {
		f.t.Errorf("served again %v after the return of a backend, want within a second", first)
	}
	f.wantAllServed("sent a second after the return", between(samples, back.Add(time.Second), time.Now()), 0)
}

// wantRefusal checks a refusal in an outage.
func (s *sample) wantRefusal(t *testing.T, status int, within time.Duration) {
	t.Helper()
	var body struct {
		Error struct{ Message, Code string }
	}
	after, err := strconv.Atoi(s.retryAfter)
	wellFormed := json.Unmarshal([]byte(s.body), &body) == nil && body.Error.Message != "" && body.Error.Code != ""
	hinted := err == nil && after >= 1 && after <= 10 || status == http.StatusGatewayTimeout && s.retryAfter == ""
	if s.status != status || s.took > within || !wellFormed || !hinted {
		t.Errorf("%d after %v, retry-after %q: %s %v", s.status, s.took, s.retryAfter, s.body, s.err)
	}
}
