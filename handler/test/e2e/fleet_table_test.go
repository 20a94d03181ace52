package e2e_test

import (
	"math"
	"testing"
	"time"
)

// A table that takes connections and never answers, from before the start:
// neither the start nor the first request nor any other is slower than with no
// table at all.
func TestRequestNeverWaitsForTheTable(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{members: 1, backends: twoBackends()})
	hole := openTableProxy(t, f.seen, 0, f.members[0].way.upstream)
	hole.swallowing.Store(true)
	starts, firsts := map[bool][]time.Duration{}, map[bool][]time.Duration{}
	last := map[bool]*member{}
	for i := range 12 {
		swallowed := i%2 == 0
		m := f.newMember(0, hole)
		if !swallowed {
			m.env = append(m.env, "SPILLWAY_STATE=")
		}
		began := time.Now()
		m.start()
		starts[swallowed] = append(starts[swallowed], time.Since(began))
		s := m.send()
		firsts[swallowed] = append(firsts[swallowed], s.took)
		if !s.ok() {
			t.Errorf("first request: %d, %v", s.status, s.err)
		}
		last[swallowed] = m
	}
	samples := f.fireFor(4*time.Second, 100, last[true], last[false])
	under := map[bool][]time.Duration{}
	for i := range samples {
		under[samples[i].member == last[true]] = append(under[samples[i].member == last[true]], samples[i].took)
	}
	if failed := f.failures(samples); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	for name, of := range map[string]map[bool][]time.Duration{"exec to listening": starts, "first request": firsts, "under load": under} {
		t.Logf("%-18s table swallows: %s", name, spread(of[true]))
		t.Logf("%-18s no table:       %s", name, spread(of[false]))
		// One exchange that is waited for is a second.
		if added := quantile(of[true], .5) - quantile(of[false], .5); added > 200*time.Millisecond || quantile(of[true], 1) > quantile(of[false], 1)+900*time.Millisecond {
			t.Errorf("%s: %v longer where the table never answers", name, added)
		}
	}
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	if f.seen.counts[0].sum() < 6 {
		t.Error("the table was never asked: nothing was tried")
	}
}

// fireFor is a load for a while.
func (f *fleet) fireFor(d time.Duration, perSecond float64, members ...*member) []sample {
	l := f.fire(perSecond, members...)
	time.Sleep(d)
	return l.finish()
}

// What the table is asked depends on the number of instances alone, not on
// that of requests.
func TestTableTrafficMatchesPublishedCost(t *testing.T) {
	soakOnly(t)
	const refresh = 2 // a second
	f := startFleet(t, fleetSetup{members: sized(t, 20, 4), backends: twoBackends()})
	time.Sleep(time.Second) // the first stamps are written
	each := time.Duration(sized(t, 5, 3)) * time.Second
	few, _ := f.exchanges(each, 5, f.members[:1]...)
	many, _ := f.exchanges(each, 120, f.members[:1]...)
	t.Logf("1 instance, 5 requests a second: %.2f exchanges a second; 120 requests a second: %.2f", few, many)
	if _, long := soaking(t); long {
		three, _ := f.exchanges(15*time.Second, 18, f.members[:3]...)
		t.Logf("3 instances: %.2f exchanges a second", three)
	}
	if many > refresh*1.6 || few > refresh*1.6 || math.Abs(many-few) > refresh*.6 {
		t.Errorf("%.2f exchanges a second at 5 requests a second, %.2f at 120; want about %d either way", few, many, refresh)
	}
	// In a short time the stamp and the count of each weigh more.
	if each, most := f.price(), refresh*float64(sized(t, 125, 160))/100; each > most || each < refresh*.5 {
		t.Errorf("%.2f exchanges a second for each of %d instances, want about %d", each, len(f.members), refresh)
	}
}

// Quotas that are exact across instances cost their own exchanges: one read of
// their change feed with each refresh, and those of each busy limit.
func TestQuotaTrafficMatchesPublishedCost(t *testing.T) {
	soakOnly(t)
	team := map[string]any{"name": "team", "keySetting": "TEAM_KEY", "tokensPerMinute": 10_000_000, "tokensPerMonth": 1_000_000_000}
	f := startFleet(t, fleetSetup{
		members: sized(t, 20, 4), backends: twoBackends(), env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=" + teamKey},
		document: map[string]any{"consumers": []map[string]any{team}},
	})
	// Few instances need more each, for each has a larger part of the traffic.
	if each, most := f.price(), float64(sized(t, 10, 20)); each > most {
		t.Errorf("%.2f exchanges a second for each instance with one busy consumer of two limits, want at most %.0f", each, most)
	}
}

// price logs what the fleet costs under a load, and returns how many exchanges
// a second each instance makes.
func (f *fleet) price() float64 {
	perSecond := 6 * float64(len(f.members))
	took := time.Duration(sized(f.t, 15, 5)) * time.Second // 15 s is as long as it takes all to stamp what they agreed to
	all, kinds := f.exchanges(took, perSecond, f.members...)
	each := all / float64(len(f.members))
	f.t.Logf("%d instances, %.0f requests a second: %.1f exchanges a second, %.2f each (in %v: %+v)", len(f.members), perSecond, all, each, took, kinds)
	for _, n := range []float64{1, 20, 200, 1000} {
		of := n * each * min(1, 500/n) // a larger fleet refreshes less often
		f.t.Logf("%5.0f instances busy all month: %7.1f exchanges a second, %7.2f USD a month", n, of, monthly(of))
	}
	return each
}

// monthly is the price of so many exchanges a second: 0.00036 USD for 10,000
// of any kind (docs/shared-state.md#limits-and-cost).
func monthly(perSecond float64) float64 { return perSecond * 2.63e6 * 0.00036 / 10_000 }

// exchanges are those with the table that the instances make in a second, under
// a load.
func (f *fleet) exchanges(d time.Duration, perSecond float64, members ...*member) (float64, requestCounts) {
	l := f.fire(perSecond, members...)
	defer l.finish()
	time.Sleep(time.Second)
	before, began := f.counted(members), time.Now()
	time.Sleep(d)
	made := f.counted(members).plus(before, -1)
	return float64(made.sum()) / time.Since(began).Seconds(), made
}

// counted is the sum over some instances.
func (f *fleet) counted(members []*member) (sum requestCounts) {
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	for _, m := range members {
		sum = sum.plus(f.seen.counts[m.n], 1)
	}
	return sum
}
