package fleet

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// usual is the fleet that the simulations run: 20 instances whose clocks are
// minutes apart, over a table with faults.
func usual() plan {
	return plan{machines: 20, slots: 6, lasts: 2 * time.Minute, faults: 1, skew: 5 * time.Minute}
}

func with(change func(*plan)) plan {
	p := usual()
	change(&p)
	return p
}

func everything(p *plan) {
	p.faults = 2
	p.outages, p.pauses, p.hostile, p.steps, p.poison, p.deaths, p.drains = true, true, true, true, true, true, true
}

// sum runs so many seeds of a plan, those after the first ones.
func sum(p plan, after, seeds int) result {
	var all result
	for n := range seeds {
		seed := uint64(after+n) + 1
		r := simulate(seed, p)
		for i, v := range r.violations {
			r.violations[i] = fmt.Sprintf("seed %d, at %s", seed, v)
		}
		all.add(r)
	}
	return all
}

func at(d []time.Duration, share float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(share*float64(len(d)-1))].Round(time.Millisecond)
}

func report(t *testing.T, r result, began time.Time) {
	t.Helper()
	t.Logf("%d probes, %d overlapping (most at once %d), %d alone, %d of suspended senders; %d leases, %d orphaned; %d trips, adopted p50 %v p99 %v; %d deaths; %d leaks in %d windows, at most %d of one instance; %d table exchanges, %d writes; %d events in %v",
		r.probes, r.overlaps, r.most, r.alone, r.suspended, r.leases, r.orphans, r.trips, at(r.staleness, .5), at(r.staleness, .99),
		r.deaths, r.leaks, r.windows, r.mostLeaks, r.exchanges, r.writes, r.steps, time.Since(began).Round(time.Millisecond))
}

// unhurried skips what takes long and gains nothing from the race detector:
// one coroutine runs at a time.
func unhurried(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the simulations are left out of a short run")
	}
}

// soaking is how long the long form of a test may take; false in the short one.
func soaking(t *testing.T) (time.Duration, bool) {
	t.Helper()
	text := os.Getenv("SPILLWAY_SOAK")
	if text == "" {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SPILLWAY_SOAK: %v: write a duration such as 10m", err)
	}
	return d, true
}

// theme is a plan, and how many seeds of it make a round.
type theme struct {
	name  string
	plan  plan
	seeds int
}

func themes() []theme {
	return []theme{
		{"faults", usual(), 14},
		{"three times the faults", with(func(p *plan) { p.faults = 3 }), 6},
		{"outages and partitions", with(func(p *plan) { p.outages = true }), 6},
		{"processes suspended", with(func(p *plan) { p.pauses = true }), 6},
		{"processes suspended just before a probe leaves", with(func(p *plan) { p.hostile = true }), 8},
		{"clocks that step", with(func(p *plan) { p.steps = true }), 6},
		{"records spoilt", with(func(p *plan) { p.poison = true }), 6},
		{"processes killed", with(func(p *plan) { p.deaths = true }), 8},
		{"slow probes", with(func(p *plan) { p.slow = .5 }), 4},
		{"429 windows", with(func(p *plan) { p.throttles = true }), 6},
		{"drains", with(func(p *plan) { p.drains = true }), 4},
		{"thin traffic", with(func(p *plan) { p.thin, p.deaths = true, true }), 4},
		{"everything at once", with(everything), 26},
	}
}

func TestSimulatedFleetKeepsItsPromises(t *testing.T) {
	unhurried(t)
	began, rounds := time.Now(), 1
	limit, long := soaking(t)
	if long {
		rounds = 100 // more than a million probes
	}
	all, of := result{}, make([]result, len(themes()))
	for round := 0; round < rounds && (round == 0 || time.Since(began) < limit); round++ {
		t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) { playRound(t, round, of) })
		if round > 0 {
			t.Logf("after round %d, %v: %s", round+1, time.Since(began).Round(time.Second), soFar(of))
		}
	}
	for i, c := range themes() {
		t.Run(c.name, func(t *testing.T) {
			report(t, of[i], began)
			hold(t, c.plan, of[i])
		})
		all.add(of[i])
	}
	t.Logf("in all %d probes, %d overlapping; %d trips; %d processes killed", all.probes, all.overlaps, all.trips, all.deaths)
	if all.probes < 10_000 || all.deaths < 200 {
		t.Errorf("%d probes and %d deaths: want at least 10,000 and 200 to say anything", all.probes, all.deaths)
	}
}

// playRound runs the seeds of one round, the themes beside each other.
func playRound(t *testing.T, round int, of []result) {
	t.Helper()
	for i, c := range themes() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := sum(c.plan, round*c.seeds, c.seeds)
			for _, v := range r.violations {
				t.Log(v) // hold fails for it, much later in a soak
			}
			of[i].add(r)
		})
	}
}

func soFar(of []result) string {
	probes, overlaps, broken := 0, 0, 0
	for i := range of {
		probes, overlaps, broken = probes+of[i].probes, overlaps+of[i].overlaps, broken+len(of[i].violations)
	}
	return fmt.Sprintf("%d probes, %d overlapping, %d violations", probes, overlaps, broken)
}

// hold holds the sum of a plan's runs to what was promised.
func hold(t *testing.T, p plan, r result) {
	t.Helper()
	if r.overlaps > 0 {
		t.Errorf("I1: %d overlapping probes of %d, want none", r.overlaps, r.probes)
	}
	if r.orphans*100 > r.leases {
		t.Errorf("I10: %d of %d leases orphaned, want less than 1 %%", r.orphans, r.leases)
	}
	if p.throttles && (r.mostLeaks > 1 || r.leaks > 15*r.windows) {
		t.Errorf("%d requests leaked into %d windows, %d of one instance into one; want at most 15 a window and 1 each", r.leaks, r.windows, r.mostLeaks)
	}
	for _, v := range r.violations[:min(len(r.violations), 5)] {
		t.Error(v)
	}
}

func TestOneSeedIsOneRun(t *testing.T) {
	unhurried(t)
	p := with(everything)
	p.lasts = time.Minute
	first := simulate(42, p)
	for range 4 {
		if again := simulate(42, p); again.trace != first.trace || again.steps != first.steps {
			t.Fatalf("the same seed gave another run: %x in %d events, then %x in %d", first.trace, first.steps, again.trace, again.steps)
		}
	}
	if other := simulate(43, p); other.trace == first.trace {
		t.Error("another seed gave the same run: the trace sees nothing")
	}
}
