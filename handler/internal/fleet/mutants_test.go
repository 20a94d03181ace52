package fleet

import (
	"testing"
	"time"
)

// Simulations that cannot fail prove nothing: each of these protocols lacks
// one part, and the oracle must see it.

func TestSimulationFindsMissingCompareAndSwap(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.noSwap = true }), 0, 4)
	report(t, r, began)
	if r.overlaps < 10 || len(r.violations) == 0 {
		t.Errorf("%d overlapping probes of %d and %d violations, want many", r.overlaps, r.probes, len(r.violations))
	}
}

func TestSimulationFindsLocalClocks(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.localClocks, p.skew, p.slow = true, 8*time.Second, .4 }), 0, 4)
	report(t, r, began)
	if r.overlaps < 3 {
		t.Errorf("%d overlapping probes among %d, want several", r.overlaps, r.probes)
	}
}

func TestSimulationFindsMissingLeaseCheck(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.pausesBeforeProbe, p.noLeaseCheck, p.slow = true, true, .2 }), 0, 10)
	report(t, r, began)
	if r.overlaps < 3 {
		t.Errorf("%d overlapping probes among %d, want several", r.overlaps, r.probes)
	}
}

func TestSimulationFindsMissingNonces(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	began := time.Now()
	r := runSeeds(scenarioWith(func(p *scenario) { p.noNonce = true }), 0, 6)
	report(t, r, began)
	if r.orphans*100 < r.leases*2 {
		t.Errorf("%d orphaned leases of %d, want more than 2 %%", r.orphans, r.leases)
	}
}
