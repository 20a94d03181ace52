package fleet

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// What objections cost a large fleet in which a tenth of all requests fail, thin
// enough that a single failure is a suspicion; and that nobody loses the backend
// for longer than its own evidence says.
func TestObjectionsOfALargeFleet(t *testing.T) {
	skipIfShort(t)
	sizes := []int{200}
	if _, long := soakTime(t); long {
		sizes = []int{200, 1000}
	}
	for _, n := range sizes {
		for _, every := range []time.Duration{time.Second, 10 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				store := &slowTable{}
				fleet := startAtOnce(t, n, Config{Store: store, MaxInstances: n, Slots: []string{"x/gpt"}})
				time.Sleep(5 * time.Second)
				writes, conflicts := store.replaces.Load(), store.conflicts.Load()
				sent, skipped := 0, 0
				random := rand.New(rand.NewPCG(1, uint64(n)))
				step := every / time.Duration(n)
				for range time.Minute / step {
					time.Sleep(step)
					o := served
					if random.IntN(10) == 0 {
						o = failed
					}
					if request(fleet[random.IntN(n)], 0, o) {
						sent++
					} else {
						skipped++
					}
				}
				writes, conflicts = store.replaces.Load()-writes, store.conflicts.Load()-conflicts
				var trips, own uint64
				for _, replica := range fleet {
					c := replica.Counters()
					trips, own = max(trips, c.Trips), own+c.OwnTrips
				}
				const seconds = 60.0
				t.Logf("%d instances, a request each %v, 10 %% fail: %.1f writes/s, %.1f lost swaps/s; %d trips of the fleet, %d own; %d of %d requests skipped",
					n, every, float64(writes)/seconds, float64(conflicts)/seconds, trips, own, skipped, sent+skipped)
				if perSecond := float64(writes) / seconds; perSecond > 40 {
					t.Errorf("%d instances write %.1f times a second about background errors", n, perSecond)
				}
				if share := float64(skipped) / float64(sent+skipped); share > .05 {
					t.Errorf("%d instances skip %.1f %% of their requests to a backend that fails a tenth", n, 100*share)
				}
			})
		}
	}
}
