package fleet

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// defaultScenario is the fleet that the simulations run: 20 instances whose clocks are
// minutes apart, over a table with faults.
func defaultScenario() scenario {
	return scenario{machines: 20, slots: 6, duration: 2 * time.Minute, faults: 1, skew: 5 * time.Minute}
}

func scenarioWith(change func(*scenario)) scenario {
	p := defaultScenario()
	change(&p)
	return p
}

func everything(p *scenario) {
	p.faults = 2
	p.outages, p.pauses, p.pausesBeforeProbe, p.steps, p.corruption, p.kills, p.drains = true, true, true, true, true, true, true
}

// runSeeds runs so many seeds of a plan, those after the first ones.
func runSeeds(p scenario, after, seeds int) result {
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
		r.probes, r.overlaps, r.mostAtOnce, r.localProbes, r.suspended, r.leases, r.orphans, r.trips, at(r.staleness, .5), at(r.staleness, .99),
		r.kills, r.leaks, r.windows, r.mostLeaks, r.exchanges, r.writes, r.steps, time.Since(began).Round(time.Millisecond))
}

// skipIfShort skips what takes long and gains nothing from the race detector:
// one coroutine runs at a time.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the simulations are left out of a short run")
	}
}

// soakTime is how long the long form of a test may take; false in the short one.
func soakTime(t *testing.T) (time.Duration, bool) {
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

// seededScenario is a plan, and how many seeds of it make a round.
type seededScenario struct {
	name  string
	scenario  scenario
	seeds int
}

func seededScenarios() []seededScenario {
	return []seededScenario{
		{"faults", defaultScenario(), 14},
		{"three times the faults", scenarioWith(func(p *scenario) { p.faults = 3 }), 6},
		{"outages and partitions", scenarioWith(func(p *scenario) { p.outages = true }), 6},
		{"processes suspended", scenarioWith(func(p *scenario) { p.pauses = true }), 6},
		{"processes suspended just before a probe leaves", scenarioWith(func(p *scenario) { p.pausesBeforeProbe = true }), 8},
		{"clocks that step", scenarioWith(func(p *scenario) { p.steps = true }), 6},
		{"records spoilt", scenarioWith(func(p *scenario) { p.corruption = true }), 6},
		{"processes killed", scenarioWith(func(p *scenario) { p.kills = true }), 8},
		{"slow probes", scenarioWith(func(p *scenario) { p.slow = .5 }), 4},
		{"429 windows", scenarioWith(func(p *scenario) { p.throttles = true }), 6},
		{"drains", scenarioWith(func(p *scenario) { p.drains = true }), 4},
		{"thin traffic", scenarioWith(func(p *scenario) { p.thin, p.kills = true, true }), 4},
		{"everything at once", scenarioWith(everything), 26},
	}
}

func TestSimulationHoldsInvariants(t *testing.T) {
	skipIfShort(t)
	began, rounds := time.Now(), 1
	limit, long := soakTime(t)
	if long {
		rounds = 100 // more than a million probes
	}
	all, of := result{}, make([]result, len(seededScenarios()))
	for round := 0; round < rounds && (round == 0 || time.Since(began) < limit); round++ {
		t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) { runRound(t, round, of) })
		if round > 0 {
			t.Logf("after round %d, %v: %s", round+1, time.Since(began).Round(time.Second), summary(of))
		}
	}
	for i, c := range seededScenarios() {
		t.Run(c.name, func(t *testing.T) {
			report(t, of[i], began)
			checkResult(t, c.scenario, of[i])
		})
		all.add(of[i])
	}
	t.Logf("in all %d probes, %d overlapping; %d trips; %d processes killed", all.probes, all.overlaps, all.trips, all.kills)
	if all.probes < 10_000 || all.kills < 200 {
		t.Errorf("%d probes and %d deaths: want at least 10,000 and 200 to say anything", all.probes, all.kills)
	}
}

// runRound runs the seeds of one round, the themes beside each other.
func runRound(t *testing.T, round int, of []result) {
	t.Helper()
	for i, c := range seededScenarios() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := runSeeds(c.scenario, round*c.seeds, c.seeds)
			for _, v := range r.violations {
				t.Log(v) // hold fails for it, much later in a soak
			}
			of[i].add(r)
		})
	}
}

func summary(of []result) string {
	probes, overlaps, broken := 0, 0, 0
	for i := range of {
		probes, overlaps, broken = probes+of[i].probes, overlaps+of[i].overlaps, broken+len(of[i].violations)
	}
	return fmt.Sprintf("%d probes, %d overlapping, %d violations", probes, overlaps, broken)
}

// checkResult holds the sum of a plan's runs to what was promised.
func checkResult(t *testing.T, p scenario, r result) {
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

func TestSimulationIsDeterministic(t *testing.T) {
	skipIfShort(t)
	p := scenarioWith(everything)
	p.duration = time.Minute
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
