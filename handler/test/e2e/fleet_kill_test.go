package e2e_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/health"
)

// downtime is a time in which an instance was not there.
type downtime struct {
	member   *member
	from, to time.Time
	lease    bool // it had just been given a probe
}

// killInstances ends random instances at random moments, every second one just as
// the table takes its lease of a probe, and starts them again.
func (f *fleet) killInstances(n int, limit time.Duration) []downtime {
	f.t.Helper()
	var all []downtime
	for end := time.Now().Add(limit); len(all) < n && time.Now().Before(end); {
		time.Sleep(rand.N(300 * time.Millisecond))
		a := downtime{member: f.members[rand.IntN(len(f.members))]}
		if rand.IntN(2) == 0 {
			if m := f.nextProbeHolder(time.Second); m != nil {
				a.member, a.lease = m, true
			}
		}
		a.from = time.Now()
		a.member.kill()
		time.Sleep(rand.N(400 * time.Millisecond))
		a.member.start()
		a.to = time.Now()
		all = append(all, a)
	}
	return all
}

// nextProbeHolder is whose lease the table takes next; nil when nobody's soon.
func (f *fleet) nextProbeHolder(soon time.Duration) *member {
	var who *member
	f.seen.mu.Lock()
	from := len(f.seen.commits)
	f.seen.mu.Unlock()
	deadline := time.Now().Add(soon)
	for who == nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
		f.seen.mu.Lock()
		for _, c := range f.seen.commits[from:] {
			for _, r := range c.records {
				if r.Circuit.State == health.HalfOpen && r.Circuit.Lease == r.Circuit.Epoch && c.by < len(f.members) {
					who = f.members[c.by]
				}
			}
		}
		f.seen.mu.Unlock()
	}
	return who
}

// wantSurvived kills instances under load, and wants the others' callers to
// see nothing of it, no lease to outlast its end, and every circuit closed once
// the backends are well.
func wantSurvived(t *testing.T, f *fleet, kills int, limit time.Duration) {
	t.Helper()
	l := f.fire(10*float64(len(f.members)), f.members...)
	absences := f.killInstances(kills, limit)
	for _, b := range f.setup.backends[1:] {
		f.sim.Clear(b.name)
	}
	f.awake(f.members...)
	healed := time.Now()
	f.within(30*time.Second, "every circuit is closed again", f.allClosed())
	t.Logf("%d kills; every circuit closed %v after the backends were well", len(absences), time.Since(healed).Round(time.Millisecond))
	samples := l.finish()
	if len(absences) < kills {
		t.Errorf("%d kills in %v, want %d", len(absences), limit, kills)
	}
	others := slices.DeleteFunc(samples, func(s sample) bool { return duringDowntime(&s, absences) })
	t.Logf("%d requests to instances that were there", len(others))
	if failed := f.failures(others); failed > 0 {
		t.Errorf("%d callers of other instances noticed", failed)
	}
	f.wantLeasesEnd(absences)
}

// duringDowntime reports whether the request was to an instance that was killed while
// it ran or was not there.
func duringDowntime(s *sample, absences []downtime) bool {
	return slices.ContainsFunc(absences, func(a downtime) bool {
		return a.member == s.member && s.sent.Before(a.to) && s.sent.Add(s.took).After(a.from)
	})
}

// allClosed reports whether the last record of each backend is a closed circuit.
func (f *fleet) allClosed() func() bool {
	return func() bool {
		last := map[string]health.Record{}
		for _, c := range f.seen.commits {
			for column, r := range c.records {
				last[column] = r
			}
		}
		for _, r := range last {
			if r.Circuit.State != health.Closed {
				return false
			}
		}
		return true
	}
}

// wantLeasesEnd checks that each lease was followed by another record within a
// refresh after its end. The emulator's clock is this machine's.
func (f *fleet) wantLeasesEnd(absences []downtime) {
	f.t.Helper()
	const slack = 3 * time.Second
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	var over, orphaned []time.Duration
	for i, c := range f.seen.commits {
		for column, r := range c.records {
			if r.Circuit.State != health.HalfOpen {
				continue
			}
			next, ok := f.seen.first(c.at, column, func(n health.Record) bool { return n.Circuit.Epoch != r.Circuit.Epoch })
			if !ok {
				f.t.Errorf("the lease of commit %d was never followed by anything", i)
				continue
			}
			late := next.at.Sub(time.UnixMilli(r.Circuit.Until))
			over = append(over, late)
			if slices.ContainsFunc(absences, func(a downtime) bool { return a.member.n == c.by && a.from.After(c.at) && a.from.Before(next.at) }) {
				orphaned = append(orphaned, late)
			}
			if late > slack {
				f.t.Errorf("a lease by %d that ended at %v was followed %v later", c.by, time.UnixMilli(r.Circuit.Until), late)
			}
		}
	}
	f.t.Logf("%d leases, %d of them of an instance that was killed with it; latest word after a lease's end: %v, after a dead one's: %s", len(over), len(orphaned), quantile(over, 1), spread(orphaned))
}

func TestFleetSurvivesKilledInstances(t *testing.T) {
	soakOnly(t)
	wantSurvived(t, flappingFleet(t, sized(t, 10, 4), sized(t, 3, 2), tableFaults{}), sized(t, 15, 5), 60*time.Second)
}
