package fleet

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// defaultScenario is 20 instances whose clocks are minutes apart, on a table with
// faults.
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

// runSeeds runs that many seeds of a scenario, those after the given number.
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
	t.Logf("%d probes, %d overlapping (at most %d at once), %d local, %d of suspended senders; %d leases, %d orphaned; %d trips, applied p50 %v p99 %v; %d kills; %d leaks in %d windows, at most %d of one instance; %d table exchanges, %d writes; %d events in %v",
		r.probes, r.overlaps, r.mostAtOnce, r.localProbes, r.suspended, r.leases, r.orphans, r.trips, at(r.staleness, .5), at(r.staleness, .99),
		r.kills, r.leaks, r.windows, r.mostLeaks, r.exchanges, r.writes, r.steps, time.Since(began).Round(time.Millisecond))
}

// skipIfShort skips what takes long and gains nothing from the race detector: one
// coroutine runs at a time.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("simulations are left out of a short run")
	}
}

// soakTime is how long the long form of a test may take; false in an ordinary run.
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

// seededScenario is a scenario, and how many of its seeds make a round of the long
// form. An ordinary run takes an eighth of them, at least one.
type seededScenario struct {
	name     string
	scenario scenario
	seeds    int
}

func seededScenarios() []seededScenario {
	return []seededScenario{
		{"faults", defaultScenario(), 14},
		{"three times the faults", scenarioWith(func(p *scenario) { p.faults = 3 }), 6},
		{"outages and partitions", scenarioWith(func(p *scenario) { p.outages = true }), 6},
		{"processes suspended", scenarioWith(func(p *scenario) { p.pauses = true }), 6},
		{"processes suspended just before a probe leaves", scenarioWith(func(p *scenario) { p.pausesBeforeProbe = true }), 8},
		{"clocks that step", scenarioWith(func(p *scenario) { p.steps = true }), 6},
		{"unreadable records", scenarioWith(func(p *scenario) { p.corruption = true }), 6},
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
	began, enough, share := time.Now(), 0, 8
	limit, long := soakTime(t)
	if long {
		enough, share = 1_000_000, 1
	}
	all, of := result{}, make([]result, len(seededScenarios()))
	for round := 0; round == 0 || probesOf(of) < enough && time.Since(began) < limit; round++ {
		t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) { runRound(t, round, share, of) })
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
	t.Logf("in all %d probes, %d overlapping; %d trips; %d kills", all.probes, all.overlaps, all.trips, all.kills)
	if all.probes < 9_000/share || all.kills < 600/share {
		t.Errorf("%d probes and %d kills, want at least %d and %d", all.probes, all.kills, 9_000/share, 600/share)
	}
}

// runRound runs the seeds of one round, the scenarios in parallel. Each has its share of
// the seeds.
func runRound(t *testing.T, round, share int, of []result) {
	t.Helper()
	for i, c := range seededScenarios() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seeds := max(c.seeds/share, 1)
			p := c.scenario
			if round > 0 { // fewer machines make as many probes in a fraction of the time
				p.machines = 3 + 5*(round%2)
			}
			r := runSeeds(p, round*seeds, seeds)
			for _, v := range r.violations {
				t.Log(v) // checkResult fails for it, much later in a long run
			}
			of[i].add(r)
		})
	}
}

func probesOf(of []result) int {
	n := 0
	for i := range of {
		n += of[i].probes
	}
	return n
}

func summary(of []result) string {
	overlaps, broken := 0, 0
	for i := range of {
		overlaps, broken = overlaps+of[i].overlaps, broken+len(of[i].violations)
	}
	return fmt.Sprintf("%d probes, %d overlapping, %d violations", probesOf(of), overlaps, broken)
}

// checkResult checks the sum of a scenario's runs.
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
	p.duration = 30 * time.Second
	first := simulate(42, p)
	for range 2 {
		if again := simulate(42, p); again.trace != first.trace || again.steps != first.steps {
			t.Fatalf("one seed, two runs: %x in %d events, then %x in %d", first.trace, first.steps, again.trace, again.steps)
		}
	}
	if other := simulate(43, p); other.trace == first.trace {
		t.Error("two seeds, one trace")
	}
}

// A simulation that cannot fail proves nothing: each of these protocols lacks one
// part, and the checker must find it.

func TestSimulationFindsMissingCompareAndSwap(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.noSwap = true }), 0, 1)
	report(t, r, began)
	if r.overlaps < 10 || len(r.violations) == 0 {
		t.Errorf("%d overlapping probes of %d and %d violations, want many", r.overlaps, r.probes, len(r.violations))
	}
}

func TestSimulationFindsLocalClocks(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.localClocks, p.skew, p.slow = true, 8*time.Second, .4 }), 0, 2)
	report(t, r, began)
	if r.overlaps < 3 {
		t.Errorf("%d overlapping probes among %d, want several", r.overlaps, r.probes)
	}
}

func TestSimulationFindsMissingLeaseCheck(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.pausesBeforeProbe, p.noLeaseCheck, p.slow = true, true, .2 }), 0, 5)
	report(t, r, began)
	if r.overlaps < 3 {
		t.Errorf("%d overlapping probes among %d, want several", r.overlaps, r.probes)
	}
}

func TestSimulationFindsMissingNonces(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.noNonce = true }), 0, 2)
	report(t, r, began)
	if r.orphans*100 < r.leases*2 {
		t.Errorf("%d orphaned leases of %d, want more than 2 %%", r.orphans, r.leases)
	}
}
