package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"sort"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/simulator"
)

// flappingFleet is some instances, in a soak half of them with wrong clocks,
// behind faulty table proxies, before backends that fail and recover in
// turn and one that is always well.
func flappingFleet(t *testing.T, members, flapping int, faults tableFaults) *fleet {
	t.Helper()
	s := fleetSetup{
		members: members, skewed: true, faults: faults, env: []string{"SPILLWAY_STATE_REFRESH=250ms"},
		document: map[string]any{"circuitBreaker": map[string]any{"failures": 3, "tripDuration": "300ms", "maxTripDuration": "600ms"}},
		backends: []backend{{name: "well", priority: 2}},
	}
	for i := range flapping {
		s.backends = append(s.backends, backend{name: fmt.Sprintf("f%d", i), priority: 1})
	}
	f := startFleet(t, s)
	for i := range flapping {
		name := s.backends[i+1].name
		f.sim.Fault(name, simulator.Fault{Action: "slow", Probability: .08, Latency: 900 * time.Millisecond})
		f.sim.Fault(name, simulator.Fault{Action: "slow", Probability: .01, Latency: 4 * time.Second}) // longer than a third of a lease
		f.sim.Fault(name, simulator.Fault{Action: "500", Down: 700 * time.Millisecond, Up: 1300 * time.Millisecond, After: time.Duration(i) * 330 * time.Millisecond})
	}
	return f
}

// cycles counts the probe leases that were taken. Called with the lock held.
func (f *fleet) cycles() int {
	type lease struct {
		column string
		epoch  uint64
	}
	leases := map[lease]bool{}
	for i := range f.seen.commits {
		for column, r := range f.seen.commits[i].records {
			if c := r.Circuit; c.State == health.HalfOpen && c.Lease == c.Epoch {
				leases[lease{column, c.Lease}] = true
			}
		}
	}
	return len(leases)
}

// probed is one probe as its backend saw it.
type probed struct {
	backend  string
	member   int
	from, to time.Time
}

// probes joins the instances' log lines with what the backends
// saw of them.
func (f *fleet) probes() []probed {
	journal := map[string]simulator.Entry{} // by request and backend
	for _, e := range f.sim.Journal() {
		journal[e.Header.Get("X-Ms-Client-Request-Id")+" "+e.Resource] = e
	}
	var all []probed
	for _, m := range f.members {
		m.log.mu.Lock()
		for id, backends := range m.log.probes {
			for _, b := range backends {
				if e, ok := journal[id+" "+b]; ok {
					all = append(all, probed{b, memberOf(&e), e.Time, e.End})
				}
			}
		}
		m.log.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b probed) int { return a.from.Compare(b.from) })
	return all
}

// overlapping are the probes that reached a backend while another was still
// with it.
func overlapping(probes []probed) []string {
	last := map[string]probed{}
	var found []string
	for _, p := range probes {
		if l, ok := last[p.backend]; ok && p.from.Before(l.to) {
			found = append(found, fmt.Sprintf("%s: by %d from %v to %v, by %d from %v to %v", p.backend, l.member, l.from, l.to, p.member, p.from, p.to))
		}
		if p.to.After(last[p.backend].to) {
			last[p.backend] = p
		}
	}
	return found
}

// sentAfterKnown counts the requests that were no probes and went to a backend
// although their sender had read long before that its circuit was open, and was
// not served there itself: its own successes weigh more.
func (f *fleet) sentAfterKnown(probes []probed) int {
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	count := 0
	past := map[string][]circuitSince{}
	for _, b := range f.setup.backends {
		past[b.name] = shutTimes(f.seen.of(f.column(b.name)), f.column(b.name))
	}
	journal := f.sim.Journal()
	ended := endedBySender(journal)
	for _, e := range journal {
		is := probed{e.Resource, memberOf(&e), e.Time, e.End}
		if s := shutAt(past[e.Resource], e.Time); s.shut && !slices.Contains(probes, is) {
			listed, ok := f.seen.readAt(is.member, s.since.revision)
			if ok && listed.Before(e.Time.Add(-f.underway())) && !servedLately(ended[sender{is.member, is.backend}], e.Time, f.underway()) {
				count++
				f.t.Logf("%s at %v to %s, told %v before", f.members[is.member].name, e.Time, e.Resource, e.Time.Sub(listed))
			}
		}
	}
	return count
}

// sender is an instance at a backend.
type sender struct {
	member  int
	backend string
}

// endedBySender are the requests that were answered, in the order of their ends.
func endedBySender(journal []simulator.Entry) map[sender][]*simulator.Entry {
	by := map[sender][]*simulator.Entry{}
	for i := range journal {
		if e := &journal[i]; e.Status != 0 { // else it lost to a hedge
			s := sender{memberOf(e), e.Resource}
			by[s] = append(by[s], e)
		}
	}
	for _, all := range by {
		slices.SortFunc(all, func(a, b *simulator.Entry) int { return a.End.Compare(b.End) })
	}
	return by
}

// servedLately reports whether the last outcome of an instance at a backend, when it
// sent a request or as long ago as a decided request takes to arrive, was a success.
func servedLately(ended []*simulator.Entry, sent time.Time, underway time.Duration) bool {
	n := sort.Search(len(ended), func(i int) bool { return ended[i].End.After(sent) })
	for _, e := range slices.Backward(ended[:n]) {
		before := !e.End.After(sent.Add(-underway))
		if before || e.Status == http.StatusOK {
			return e.Status == http.StatusOK
		}
	}
	return false
}

// underway is how long a decided request may take to arrive, longer in short
// forms, which run while other tests do.
func (f *fleet) underway() time.Duration {
	return time.Duration(sized(f.t, 250, 1500)) * time.Millisecond
}

// wantOneProbeAtATime has the fleet open and half-open circuits until it did so
// often enough.
func wantOneProbeAtATime(t *testing.T, f *fleet, enough int, limit time.Duration) {
	t.Helper()
	l := f.fire(8*float64(len(f.members)), f.members...)
	began := time.Now()
	for f.cycles() < enough && time.Since(began) < limit {
		time.Sleep(250 * time.Millisecond)
	}
	took := time.Since(began)
	samples := l.finish()
	time.Sleep(time.Second) // log lines are written shortly after the answers
	probes := f.probes()
	f.seen.mu.Lock()
	cycles, writes := f.cycles(), len(f.seen.commits)
	f.seen.mu.Unlock()
	if cycles < enough {
		t.Errorf("%d cycles within %v, want %d", cycles, limit, enough)
	}
	overlaps := overlapping(probes)
	t.Logf("%d cycles in %v, %d probes sent, %d overlapping; %d writes; faults of the ways: %s", cycles, took.Round(time.Second), len(probes), len(overlaps), writes, f.faultsInjected())
	for _, o := range overlaps {
		t.Errorf("two probes at once at %s", o)
	}
	if failed := f.failures(samples); failed > 0 { // one backend is always well
		t.Errorf("%d of %d requests were not answered 200", failed, len(samples))
	}
	if n := f.sentAfterKnown(probes); n > 0 {
		t.Errorf("%d requests were sent to a circuit that their sender knew to be open", n)
	}
	// The load ceases while some leases wait for their request.
	if len(probes) < cycles*2/3-len(f.setup.backends) {
		t.Errorf("%d probes of %d leases: where did the others go?", len(probes), cycles)
	}
}

// faultsInjected lists how often each fault happened.
func (f *fleet) faultsInjected() string {
	names := [fates]string{"passed", "lost", "answer lost", "answer torn", "false 412", "503", "delayed", "late write", "403"}
	text := ""
	for i, name := range names {
		n := int64(0)
		for _, m := range f.members {
			n += m.way.struck[i].Load()
		}
		text += fmt.Sprintf("%s %d, ", name, n)
	}
	return text[:len(text)-2]
}

// The oracle can fail.
func TestOverlappingProbesAreDetected(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	apart := []probed{{"a", 1, at(0), at(5)}, {"b", 2, at(1), at(9)}, {"a", 2, at(5), at(8)}}
	if found := overlapping(apart); len(found) > 0 {
		t.Errorf("%v do not meet", found)
	}
	if found := overlapping(append(apart, probed{"a", 3, at(7), at(9)}, probed{"b", 3, at(8), at(9)})); len(found) != 2 {
		t.Errorf("found %v, want one at a and one at b", found)
	}
}

func TestFleetProbesOneAtATimeUnderTableFaults(t *testing.T) {
	soakOnly(t)
	f := flappingFleet(t, sized(t, 20, 4), sized(t, 6, 3), defaultFaults())
	wantOneProbeAtATime(t, f, sized(t, 60, 8), 90*time.Second)
}
