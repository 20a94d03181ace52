package e2e_test

import (
	"net/http"
	"testing"
	"time"
)

// The long forms of the fleet's tests. Each has a share of SPILLWAY_SOAK; what
// they must reach is meant for ten minutes and more, and is in proportion less
// for a shorter soak.

// share is a part of the soak, and what part of the full count is wanted in it.
func share(t *testing.T, percent int) (time.Duration, float64) {
	t.Helper()
	whole, ok := soaking(t)
	if !ok {
		t.Skip("a long one: make soak, or SPILLWAY_SOAK=10m go test -run ^TestSoakFleet ./handler/test/e2e")
	}
	return whole * time.Duration(percent) / 100, min(1, whole.Minutes()/10)
}

func TestSoakFleetThousandProbes(t *testing.T) {
	limit, part := share(t, 100)
	wantOneProbeAtATime(t, flappingFleet(t, 20, 6, defaultFaults()), max(60, int(1000*part)), limit)
}

func TestSoakFleetSurvivesTwoHundredKills(t *testing.T) {
	limit, part := share(t, 100)
	wantSurvived(t, flappingFleet(t, 10, 3, tableFaults{}), max(15, int(200*part)), limit)
}

func TestSoakFleetServesAMinuteWithoutTheTable(t *testing.T) {
	_, part := share(t, 10)
	wantNoNeedOfTheTable(t, 10, max(10*time.Second, time.Duration(part*float64(time.Minute))))
}

func TestSoakFleetAgreesWithinTheBound(t *testing.T) {
	limit, _ := share(t, 15)
	f := startFleet(t, fleetSetup{members: 20, backends: twoBackends(), skewed: true})
	f.wantTrips(max(30, int(limit/(5*time.Second))))
}

// An instance without requests reads nothing from the table, however often a
// load balancer probes its readiness.
func TestSoakIdleFleetReadsNothing(t *testing.T) {
	share(t, 10)
	f := startFleet(t, fleetSetup{members: 5, backends: twoBackends()})
	f.members[0].send()
	polled := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
			for _, m := range f.members {
				if a := ask(t.Context(), t, http.MethodGet, m.url("/health/ready"), ""); a.status != http.StatusOK {
					t.Errorf("%s is not ready: %d %s", m.name, a.status, a.body)
				}
			}
		}
	}
	polled(65 * time.Second)
	before := f.counted(f.members)
	polled(15 * time.Second)
	if asked := f.counted(f.members).sum() - before.sum(); asked > 0 {
		t.Errorf("%d exchanges in 15 s by instances without requests", asked)
	}
	if s := f.members[0].send(); !s.ok() {
		t.Errorf("the first request after the silence: %d, %v", s.status, s.err)
	}
}
