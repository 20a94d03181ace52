package e2e_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/simulator"
)

// throttleStorm is one time that the PTU refused everybody.
type throttleStorm struct{ from, until time.Time }

// A PTU is throttled again and again under a load at twenty instances: none
// sends more than one request into a throttle window; with few requests most
// instances know of the window before they send one; and all return when it
// ends.
func TestFewRequestsReachAThrottledBackend(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: sized(t, 20, 4), skewed: true, backends: []backend{
		{name: "a", priority: 1, capacity: "provisioned", deployment: simulator.Deployment{SKU: simulator.Provisioned}}, {name: "b", priority: 2},
	}})
	each := float64(len(f.members))
	f.fireFor(4*time.Second, 2*each, f.members...) // the table's clock is known better with each refresh
	t.Run("storm", func(t *testing.T) {
		g := f.under(t)
		storms, samples := g.throttleStorms(sized(t, 4, 1), 8*each)
		g.wantLeaks(storms, len(f.members))
		for i := range storms {
			g.wantReturn(&storms[i], samples)
		}
	})
	t.Run("few requests", func(t *testing.T) {
		g := f.under(t)
		storms, _ := g.throttleStorms(sized(t, 3, 1), 1.5*each)
		g.wantLeaks(storms, sized(t, 15, 4)) // of few instances all may send one
	})
}

// throttleStorms are some windows under one load.
func (f *fleet) throttleStorms(n int, perSecond float64) ([]throttleStorm, []sample) {
	l := f.fire(perSecond, f.members...)
	var all []throttleStorm
	for range n {
		time.Sleep(time.Second)
		all = append(all, f.throttleStorm(2*time.Second))
		time.Sleep(1500 * time.Millisecond)
	}
	samples := l.finish()
	if failed := f.failures(samples); failed > 0 {
		f.t.Errorf("%d of %d requests were not answered 200", failed, len(samples))
	}
	return all, samples
}

func (f *fleet) throttleStorm(d time.Duration) throttleStorm {
	s := throttleStorm{from: time.Now()}
	s.until = s.from.Add(d)
	f.sim.Fault("a", simulator.Fault{Action: "429-ptu", For: d})
	time.Sleep(time.Until(s.until))
	return s
}

// wantLeaks wants at most so many leaks into a window, on average, and none by
// an instance that had read of it.
func (f *fleet) wantLeaks(storms []throttleStorm, most int) {
	f.t.Helper()
	ptu := f.sim.JournalOf("a")
	leaks, knowing := 0, 0
	for i := range storms {
		l, k := f.leaks(&storms[i], ptu)
		leaks, knowing = leaks+l, knowing+k
	}
	if leaks > most*len(storms) || knowing > 0 {
		f.t.Errorf("%d requests leaked into %d windows, %d of them knowingly; want at most %d in each and none", leaks, len(storms), knowing, most)
	}
}

// leaks counts, by the PTU's own journal, what was sent into the window, and
// of that what was sent by an instance that had read of it.
func (f *fleet) leaks(s *throttleStorm, ptu []simulator.Entry) (leaks, knowing int) {
	f.t.Helper()
	const clocks = 250 * time.Millisecond // the table's is known to a tenth of a second
	underway := f.underway()
	early := 0
	knows := f.whenKnown(s, ptu)
	for i := range ptu {
		e := &ptu[i]
		if e.Status != http.StatusTooManyRequests || e.Time.Before(s.from) || e.Time.After(s.until) {
			continue
		}
		switch since := knows[memberOf(e)]; {
		case since.IsZero() || e.Time.Before(since.Add(underway)):
			leaks++
		case s.until.Sub(e.Time) < clocks:
			early++
		default:
			knowing++
			f.t.Logf("%s sent a request %v after it knew, %v ahead of the end", f.members[memberOf(e)].name, e.Time.Sub(since), s.until.Sub(e.Time))
		}
	}
	f.t.Logf("window of %v: %d requests leaked from %d instances, %d sent by one that knew, %d less than %v early",
		s.until.Sub(s.from).Round(time.Millisecond), leaks, len(f.members), knowing, early, clocks)
	return leaks, knowing
}

// whenKnown is when each instance knew of the window: by its own 429, or by
// reading the table.
func (f *fleet) whenKnown(s *throttleStorm, ptu []simulator.Entry) []time.Time {
	knows := make([]time.Time, len(f.members))
	f.seen.mu.Lock()
	c, ok := f.seen.first(s.from, f.column("a"), func(r health.Record) bool {
		return slices.ContainsFunc(r.Windows.ByKind[:], func(t health.ThrottleWindow) bool { return t.Until >= s.until.UnixMilli()-50 })
	})
	for n := range knows {
		if at, listed := f.seen.readAt(n, c.revision); ok && listed && at.Before(s.until) {
			knows[n] = at
		}
	}
	f.seen.mu.Unlock()
	for i := range ptu {
		e := &ptu[i]
		if n := memberOf(e); e.Status == http.StatusTooManyRequests && !e.Time.Before(s.from) && e.Time.Before(s.until) && (knows[n].IsZero() || e.End.Before(knows[n])) {
			knows[n] = e.End
		}
	}
	return knows
}

// wantReturn checks that each instance uses the PTU again when the window has
// ended.
func (f *fleet) wantReturn(s *throttleStorm, samples []sample) {
	f.t.Helper()
	var back []time.Duration
	for _, m := range f.members {
		after := slices.DeleteFunc(between(samples, s.until, s.until.Add(1400*time.Millisecond)), func(x sample) bool { return x.member != m })
		i := slices.IndexFunc(after, func(x sample) bool { return x.backend == "a" })
		if i < 0 {
			f.t.Errorf("%s did not return to the PTU: %d requests since", m.name, len(after))
			continue
		}
		missed := time.Duration(0) // since the last that went elsewhere
		if i > 0 {
			missed = after[i-1].sent.Sub(s.until)
		}
		back = append(back, missed)
	}
	f.t.Logf("all %d instances used the PTU again; last request that still went elsewhere, after the end: %s", len(back), spread(back))
	if late := quantile(back, 1); late > time.Second {
		f.t.Errorf("an instance stayed away for %v after the window", late)
	}
}
