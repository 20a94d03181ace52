package laws_test

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// law is a promise: check lets a world live and returns what it breaks. Its mutant is
// a defect that check finds in the setup broken.
type law struct {
	name   string
	setups func() []setup
	check  func(w *world) error
	mutant mutant
	broken setup
}

// TestLaws lets each law's worlds live with one seed; in the longer form, which takes
// SPILLWAY_SOAK in all on an idle machine, with further seeds while its share of the time
// lasts.
func TestLaws(t *testing.T) {
	if testing.Short() {
		t.Skip("a simulation of many fleets")
	}
	share := soak(t) / time.Duration(len(laws))
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			began, worlds := time.Now(), 0
			for seed := uint64(1); seed == 1 || time.Since(began) < share; seed++ {
				for _, s := range l.setups() {
					if seed > 1 && time.Since(began) >= share {
						break
					}
					s.seed = seed
					worlds++
					if err := l.check(newWorld(t, s)); err != nil {
						t.Errorf("%v: %v", s, err)
					}
				}
			}
			t.Logf("%d worlds in %v", worlds, time.Since(began).Round(time.Millisecond))
		})
	}
}

// soak is how long the longer form may take; 0 in the ordinary one.
func soak(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SPILLWAY_SOAK")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SPILLWAY_SOAK: %v: write a duration such as 10m", err)
	}
	return d
}

func TestLawsFindTheirMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("a simulation of many fleets")
	}
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			s := l.broken
			s.mutant, s.seed = l.mutant, 1
			err := l.check(newWorld(t, s))
			if err == nil {
				t.Errorf("%v: the law holds in spite of the defect %d", s, l.mutant)
			}
			t.Log(err)
		})
	}
}

var laws = []law{
	{"background failures refuse nobody and move no traffic", everyKindOfAnswer, backgroundFailures, countsWithoutShare, fleetOf(5, 2, 40)},
	{"a cold start with slow answers moves no traffic", slowAnswers, coldStart, ignoresUnderWay, slow(fleetOf(5, 2, 40))},
	{"provisioned capacity spills no more than it fails", provisioned, provisionedSpills, countsWithoutShare, ptu(fleetOf(1, 2, 100))},
	{"a backend that fails is left", severalBackends, failingBackend, neverLeaves, fleetOf(5, 2, 5)},
	{"a backend whose answers break off is left, and one where few do is not", severalBackends, breakingBackend, neverLeaves, fleetOf(5, 2, 5)},
	{"a backend that never answers is left", severalBackends, silentBackend, deafToSilence, fleetOf(5, 2, 5)},
	{"a backend that hangs at times makes nobody wait for the timeout", severalBackends, partlySilentBackend, noHedges, fleetOf(5, 2, 5)},
	{"the end of a silence of everything is seen at once", busyPairs, silentOutage, noHedges, fleetOf(5, 2, 5)},
	{"a silent backend next to an open circuit makes nobody wait for the timeout", busyPairs, silentBesideOpen, noTrials, fleetOf(5, 2, 5)},
	{"instances with a broken path harm themselves alone", thickFleets, brokenPaths, obedient, fleetOf(20, 2, 5)},
	{"nobody is refused without an attempt, and recovery is seen at once", everyFleet, totalOutage, noTrials, fleetOf(5, 2, 5)},
	{"slow answers refuse nobody", everyFleet, slowness, noTrials, fleetOf(5, 2, 5)},
	{"a single refusal is one detour", severalBackends, singleRefusal, publishesRefusals, fleetOf(5, 2, 5)},
	{"the row is empty again after a recovery", severalBackends, emptyRow, neverHeals, fleetOf(5, 2, 5)},
	{"a consumer whose requests fail refuses nobody else", pairs, consumerThatFails, oneConsumer, fleetOf(5, 1, 5)},
	{"a consumer whose requests hang refuses nobody else", pairs, consumerThatHangs, noTrials, fleetOf(5, 1, 5)},
	{"a consumer that floods a throttled pool refuses nobody else", floods, consumerThatFloods, oneConsumer, fleetOf(1, 1, 5)},
	{"a consumer of huge requests refuses nobody else", pairs, consumerOfHugeRequests, sizeless, fleetOf(5, 1, 5)},
	{"apps share no verdict on different deployments", apps, ownVerdicts, sharesByName, fleetOf(6, 1, 5)},
	{"a table in trouble is asked no more, and shown", thinPairs, tableTrouble, troubleIsConflict, fleetOf(5, 3, 5)},
	{"instances that start in an outage learn of it first", fewFleets, freshInstances, neverReads, fleetOf(5, 2, 5)},
	{"readiness never starves the way back", thinPairs, readiness, countsOldFailures, fleetOf(5, 3, 5)},
	{"a suspended instance publishes nothing wrong", severalBackends, suspension, noStalls, fleetOf(5, 2, 200)},
}

// One seed is one run, to the last request.
func TestSeedDecidesEverything(t *testing.T) {
	var runs [2]string
	for i := range runs {
		w := newWorld(t, fleetOf(5, 2, 20))
		w.deployed[0].fails, w.deployed[1].hangs = .6, .3
		for _, c := range w.pass(20 * time.Second) {
			runs[i] += fmt.Sprint(c.began, c.took, c.err, len(c.tries), " ")
		}
	}
	if runs[0] != runs[1] {
		t.Error("two runs of one seed differ")
	}
}
