package metering

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// atTheEdge is tiny answers all the time, and large ones that are started in the last
// second of a minute, and again in the first of the next.
func atTheEdge(lasts time.Duration) []arrival {
	var all []arrival
	for second := range 4 * 60 {
		at := time.Duration(second) * time.Second
		all = append(all, arrival{at: at, prompt: 10, output: 1, lasts: 100 * time.Millisecond})
		if edge := second % 60; second > 30 && (edge == 59 || edge == 0) {
			for range 200 {
				all = append(all, arrival{at: at + 500*time.Millisecond, prompt: 10, output: 16_000, lasts: lasts, stream: true})
			}
		}
	}
	return all
}

// Large answers at the edge of a minute get no more than those in the middle.
func TestTheEdgeOfAMinuteIsWorthNothing(t *testing.T) {
	const limit = 60_000
	for _, lasts := range []time.Duration{20 * time.Millisecond, 2 * time.Second, 70 * time.Second} {
		for _, n := range []int{1, 5, 20} {
			t.Run(fmt.Sprintf("%v, %d instances", lasts, n), func(t *testing.T) {
				var s *spending
				synctest.Test(t, func(t *testing.T) { s = inFleet(t, atTheEdge(lasts), limit, n) })
				sum := int64(0)
				for m := range 6 {
					sum += s.spent[m]
					if s.spent[m] > 2*limit || sum > int64(m+2)*limit {
						t.Errorf("minute %d came to %d %% of the limit, all so far to %d", m, 100*s.spent[m]/limit, 100*sum/limit)
					}
				}
				t.Logf("%v", s.figures(6))
			})
		}
	}
}

// Choices of one request count each, whatever the requests before had.
func TestManyChoicesAreManyAnswers(t *testing.T) {
	const limit = 60_000
	for _, n := range []int{1, 5, 20} {
		t.Run(fmt.Sprintf("%d instances", n), func(t *testing.T) {
			all := attack(false, 5*time.Second, 0)
			for i := range all {
				if all[i].output > 1 {
					all[i].output, all[i].choices, all[i].bound = 16_000, 16, 1000
				}
			}
			var s *spending
			synctest.Test(t, func(t *testing.T) { s = inFleet(t, all, limit, n) })
			for m := range 4 {
				t.Logf("minute %d: %d %% of the limit", m, 100*s.spent[m]/limit)
				if s.spent[m] > 2*limit {
					t.Errorf("minute %d came to %d %% of the limit", m, 100*s.spent[m]/limit)
				}
			}
		})
	}
}
