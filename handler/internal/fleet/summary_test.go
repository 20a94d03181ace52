package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
)

// What opened a circuit is in its record, for all instances: which failures of how many
// outcomes where one instance saw enough, and which instances where thin traffic adds up.
func TestTheRecordHasWhatOpenedTheCircuit(t *testing.T) {
	reset := health.Outcome{Class: health.Failed, Reason: "connection reset", Signals: health.NoSignals()}
	for name, c := range map[string]struct {
		outcomes func(fleet []*Replica)
		want     string
	}{
		"one instance": {func(fleet []*Replica) {
			for _, o := range []health.Outcome{served, served, failed, failed, reset, failed, failed} {
				request(fleet[2], 0, o)
				time.Sleep(200 * time.Millisecond)
			}
		}, "5 of 7 within 800ms: 503 (4), connection reset (1)"},
		"thin traffic": {func(fleet []*Replica) {
			for _, replica := range fleet {
				request(replica, 0, failed)
			}
		}, "5 at 5 instances: i000 (1), i001 (1), i002 (1), i003 (1), 1 more"},
	} {
		synctest.Test(t, func(t *testing.T) {
			fleet := startFleet(t, 5, Config{Store: &slowTable{}})
			for range 40 { // until each knows the names of the others
				time.Sleep(time.Second)
				snapshotAll(fleet)
			}
			c.outcomes(fleet)
			time.Sleep(3 * time.Second)
			for i, replica := range fleet {
				if h := replica.Snapshot().Of(0); h.State != health.Open || h.Evidence != c.want {
					t.Errorf("%s, instance %d: %v, %q, want open by %q", name, i, h.State, h.Evidence, c.want)
				}
			}
		})
	}
}
