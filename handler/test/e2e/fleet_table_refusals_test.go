package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// status reads a member of the status that an instance reports of its table.
func (m *member) status(name string) any {
	m.t.Helper()
	var status struct {
		State map[string]any `json:"state"`
	}
	a := ask(m.t.Context(), m.t, http.MethodGet, m.url("/ops/api/status"), "")
	if err := json.Unmarshal([]byte(a.body), &status); err != nil {
		m.t.Fatalf("%v: %s", err, a.body)
	}
	return status.State[name]
}

func TestTableInTroubleRefusesNobody(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]func(f *fleet){ // each of its own: what an instance saw it may write much later
		"it can be read and not written": (*fleet).wantReadOnlyShown,
		"it is away and comes back":      (*fleet).wantOldFailuresVoid,
	} {
		t.Run(name, func(t *testing.T) { want(startFleet(t, fleetSetup{members: 1, backends: twoBackends()})) })
	}
}

// A credential that may read the table and not write it: callers notice nothing, the
// table is asked no more than otherwise, and the instance shows it.
func (f *fleet) wantReadOnlyShown() {
	t, m := f.t, f.members[0]
	m.way.set(tableFaults{readOnly: true})
	f.sim.Fault("a", simulator.Fault{Action: "500"})
	l := f.fire(20, m)
	defer l.finish()
	eventually(t, "the instance shows that it cannot write", func() bool { return m.status("readOnly") == true })
	before, began := f.counted(f.members), time.Now()
	time.Sleep(1500 * time.Millisecond)
	made := f.counted(f.members).plus(before, -1)
	perSecond := float64(made.sum()) / time.Since(began).Seconds()
	f.sim.Clear("a")
	samples := l.finish()
	t.Logf("%s; %.1f exchanges a second (%+v); logged: %s", got(samples), perSecond, made, m.log.troubles())
	if failed := f.failures(samples); failed > 0 {
		t.Errorf("%d of %d were refused though b serves", failed, len(samples))
	}
	if perSecond > 16 || made.writes > 3 { // within 5 s after any change it reads ten times a second
		t.Errorf("%.1f exchanges a second, %d writes; want ten reads a second at most, and fewer writes each time", perSecond, made.writes)
	}
	m.way.set(tableFaults{})
	eventually(t, "the instance can write again", func() bool {
		m.send()
		return m.status("readOnly") != true
	})
}

// More failures than 64 are needed to open a circuit, and they do.
func TestManyFailuresOpenTheFleetsCircuit(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{members: 2, backends: twoBackends(), document: map[string]any{"circuitBreaker": map[string]any{"failures": 100}}})
	f.sim.Fault("a", simulator.Fault{Action: "500"})
	began := time.Now()
	for range 20 {
		if failed := f.failures(f.atOnce(20)); failed > 0 {
			t.Errorf("%d of 20 were refused though b serves", failed)
		}
		f.seen.mu.Lock()
		_, open := f.seen.first(began, f.column("a"), tripped)
		f.seen.mu.Unlock()
		if open {
			break
		}
	}
	f.within(10*time.Second, "the fleet's circuit is open", func() bool {
		_, ok := f.seen.first(began, f.column("a"), tripped)
		return ok
	})
	t.Logf("a was sent %d requests", len(f.sim.JournalOf("a")))
	if n := len(f.sim.JournalOf("a")); n < 100 {
		t.Errorf("it opened after %d failures, want 100", n)
	}
	f.obedience(t.Context(), began, "a", "b", tripped)
}

// Failures from before and during an outage of the table say nothing of a backend
// that serves when the table is back.
func (f *fleet) wantOldFailuresVoid() {
	t, m := f.t, f.members[0]
	f.wantServed(10, "a")
	f.seen.await(t.Context(), func() bool { return f.seen.counts[0].answered > 1 })
	m.way.refuse()
	f.sim.Fault("a", simulator.Fault{Action: "500", Count: 4})
	for range 4 {
		if s := m.send(); !s.ok() || s.backend != "b" {
			t.Errorf("%d by %q, want 200 by b: %v", s.status, s.backend, s.err)
		}
	}
	f.wantServed(1, "a")
	back := f.seen.mark()
	m.way.accept()
	samples := []sample{}
	eventually(t, "the instance reads the table again", func() bool {
		samples = append(samples, m.send())
		f.seen.mu.Lock()
		defer f.seen.mu.Unlock()
		return !f.seen.again[0].IsZero()
	})
	samples = append(samples, f.fireFor(time.Second, 20, m)...)
	t.Logf("after the table's return: %s", got(samples))
	elsewhere := slices.DeleteFunc(samples, func(s sample) bool { return s.ok() && s.backend == "a" })
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	if _, open := f.seen.first(back, f.column("a"), tripped); open || len(elsewhere) > 0 {
		t.Errorf("the fleet's circuit opened: %v; %d of %d requests left a", open, len(elsewhere), len(samples))
	}
}

// The models of 64 slots are renamed a few times, each time with trouble at all of
// them: what one instance sees of a new one reaches the other, and the row ends empty.
func TestRenamedModelsStillAgree(t *testing.T) {
	soakOnly(t)
	const slots, renamed = 64, 4
	var names []string
	for i := range slots * renamed {
		names = append(names, fmt.Sprintf("model-%03d", i))
	}
	all := []backend{{name: "a", priority: 1, models: names}}
	f := startFleet(t, fleetSetup{members: 2, backends: all})
	f.sim.Fault("a", simulator.Fault{Action: "429-token", RetryAfter: 20 * time.Second})
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	paced(ctx, &ended, 1, func(int) { f.awake(f.members...) }) // an idle instance does not read
	most := 0
	for round := range renamed {
		f.setup.backends[0].models = names[round*slots : (round+1)*slots]
		for _, m := range f.members {
			m.kill()
			m.env[0] = "SPILLWAY_CONFIG=" + f.document()
			m.start()
		}
		began := time.Now()
		for _, name := range f.setup.backends[0].models {
			ask(t.Context(), t, http.MethodPost, f.members[0].url(chatPath), strings.Replace(hello, "gpt-4o", name, 1))
		}
		f.awake(f.members...)
		last := columnOfModel(f.endpoint("a"), f.setup.backends[0].models[slots-1])
		f.within(20*time.Second, "the other instance has read of the last model", func() bool {
			c, ok := f.seen.first(began, last, shut)
			_, read := f.seen.readAt(1, c.revision)
			return ok && read
		})
		eventually(t, "the other instance obeys", func() bool {
			asked := len(f.sim.Journal())
			a := ask(t.Context(), t, http.MethodPost, f.members[1].url(chatPath), strings.Replace(hello, "gpt-4o", f.setup.backends[0].models[slots-1], 1))
			return a.status == http.StatusTooManyRequests && len(f.sim.Journal()) == asked
		})
		f.seen.mu.Lock()
		most = max(most, len(f.seen.commits[len(f.seen.commits)-1].row))
		f.seen.mu.Unlock()
		f.within(2*time.Minute, "the records of former names are removed", func() bool {
			return len(f.seen.commits[len(f.seen.commits)-1].row) <= 2*slots
		})
	}
	f.sim.Clear("a")
	f.within(2*time.Minute, "the row is empty again", func() bool {
		return len(f.seen.commits[len(f.seen.commits)-1].row) == 0
	})
	t.Logf("%d slots renamed %d times: at most %d records in the row, then none", slots, renamed, most)
}

// An instance that was idle for longer than a minute remembers a throttle that the
// fleet has ended since: its first request is served.
func TestFirstRequestAfterAnIdleMinuteIsServed(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: 2, backends: []backend{{name: "a", priority: 1}}})
	f.sim.Next("a", simulator.Fault{Action: "429-token", RetryAfter: 4 * time.Minute})
	idle, busy := f.members[0], f.members[1]
	if s := idle.send(); s.status != http.StatusTooManyRequests {
		t.Fatalf("%d, %v; want 429", s.status, s.err)
	}
	f.within(10*time.Second, "the other has read it", func() bool {
		c, ok := f.seen.first(time.Time{}, f.column("a"), shut)
		_, read := f.seen.readAt(busy.n, c.revision)
		return ok && read
	})
	time.Sleep(65 * time.Second)
	f.seen.mu.Lock()
	asked := f.seen.counts[idle.n].sum()
	f.seen.mu.Unlock()
	time.Sleep(3 * time.Second)
	f.seen.mu.Lock()
	idled := f.seen.counts[idle.n].sum() == asked
	f.seen.mu.Unlock()
	f.backends("reset", "a")
	first := idle.send()
	t.Logf("it was idle: %v; its first request: %d after %v", idled, first.status, first.took)
	if !first.ok() || !idled {
		t.Errorf("%d, %v; want 200 of an instance that was idle (%v)", first.status, first.err, idled)
	}
}
