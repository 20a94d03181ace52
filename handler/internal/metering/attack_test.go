package metering

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// attack is an expectation that is trained with sixty small answers and then used
// for two thousand large ones, with a pause after each.
func attack(stream bool, lasts, pause time.Duration) []arrival {
	var all []arrival
	for i := range 60 {
		all = append(all, arrival{at: time.Duration(i) * 900 * time.Millisecond, prompt: 10, output: 1, lasts: 100 * time.Millisecond, stream: stream})
	}
	for i := range 2000 {
		all = append(all, arrival{at: time.Minute + time.Second + time.Duration(i)*pause, prompt: 10, output: 16_000, lasts: lasts, stream: stream})
	}
	for i := range 240 { // and more of them in the next minutes
		all = append(all, arrival{at: 2*time.Minute + time.Duration(i)*time.Second, prompt: 10, output: 16_000, lasts: lasts, stream: stream})
	}
	return all
}

// Whoever trains the expectation to be wrong gets twice the limit in one minute at
// most, and pays it back in the next.
func TestTrainedExpectationGetsTwiceTheLimitAtMost(t *testing.T) {
	const limit = 60_000
	for _, lasts := range []time.Duration{20 * time.Millisecond, 5 * time.Second, 40 * time.Second} {
		for _, stream := range []bool{false, true} {
			for _, pause := range []time.Duration{0, 10 * time.Millisecond} {
				for _, n := range []int{1, 5, 20} {
					t.Run(fmt.Sprintf("%v, stream %t, one each %v, %d instances", lasts, stream, pause, n), func(t *testing.T) {
						var s *spending
						synctest.Test(t, func(t *testing.T) { s = inFleet(t, attack(stream, lasts, pause), limit, n) })
						sum := int64(0)
						for m := range 6 {
							t.Logf("minute %d: %d %% of the limit", m, 100*s.spent[m]/limit)
							if s.spent[m] > 2*limit {
								t.Errorf("minute %d came to %d %% of the limit", m, 100*s.spent[m]/limit)
							}
							if sum += s.spent[m]; m > 1 && sum > int64(m+1)*limit+2*16_010 {
								t.Errorf("the first %d minutes came to %d %% of a minute's limit", m+1, 100*sum/limit)
							}
						}
					})
				}
			}
		}
	}
}
