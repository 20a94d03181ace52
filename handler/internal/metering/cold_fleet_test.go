package metering

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// burst is so many streams of one size, in a second.
func burst(n int, output int64, lasts time.Duration) []arrival {
	all := make([]arrival, n)
	for i := range all {
		all[i] = arrival{at: time.Second + time.Duration(i)*time.Second/time.Duration(n), prompt: 10, output: output, lasts: lasts, stream: true}
	}
	return all
}

// The first minute of instances that have just started, and do not know how many they
// are, comes to the limit and one answer at most, and a burst that waits for the table is
// served in part.
func TestColdFleetKeepsItsFirstMinute(t *testing.T) {
	const limit = 60_000
	for _, output := range []int64{500, 5000, 16_000} {
		for _, requests := range []int{87, 2000} {
			for _, lasts := range []time.Duration{20 * time.Millisecond, 5 * time.Second} {
				for _, n := range []int{1, 5, 20} {
					t.Run(fmt.Sprintf("%d streams of %d tokens, %v, %d instances", requests, output, lasts, n), func(t *testing.T) {
						all := burst(requests, output, lasts)
						one := inOnePlace(all, limit).spent[0]
						var s *spending
						synctest.Test(t, func(t *testing.T) { s = inFleet(t, all, limit, n) })
						t.Logf("first minute %d %% of the limit; in one place %d %%", 100*s.spent[0]/limit, 100*one/limit)
						if most := max(limit*115/100, limit+output); s.spent[0] > most || s.spent[0] < one/5 {
							t.Errorf("%d tokens in a first minute of %d; in one place %d", s.spent[0], limit, one)
						}
					})
				}
			}
		}
	}
}
