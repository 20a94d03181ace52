package metering

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Short answers without a bound say nothing of how fast tokens are generated, so one of
// them could be as large as any. They are served up to their limit all the same, also
// where that is smaller than such an answer; on many instances most of them are.
func TestShortAnswersAreServedUnderSmallLimits(t *testing.T) {
	const minutes, each = 4, 30
	for _, limit := range []int64{1000, 2000, 10_000, 60_000} {
		for _, n := range []int{1, 3, 5, 20} {
			t.Run(fmt.Sprintf("%d tokens, %d instances", limit, n), func(t *testing.T) {
				gap := time.Minute * each * 10 / 9 / time.Duration(limit) // nine tenths of the limit
				var all []arrival
				for at := time.Duration(0); at < minutes*time.Minute; at += gap {
					all = append(all, arrival{at: at, prompt: 10, output: 20, lasts: min(200*time.Millisecond, gap/2)})
				}
				var s *spending
				synctest.Test(t, func(t *testing.T) { s = inFleet(t, all, limit, n) })
				f := s.figures(minutes)
				t.Logf("%v", f)
				if most := map[bool]float64{true: 10, false: 1}[n > 5]; f.falsely > most {
					t.Errorf("%.1f %% of the requests were refused at nine tenths of the limit", f.falsely)
				}
			})
		}
	}
}
