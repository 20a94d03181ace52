package fleet

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore/memory"
)

// newBenchReplica returns a replica of twenty backends that has read its table.
func newBenchReplica(tb testing.TB) *Replica {
	var slots []string
	for i := range 20 {
		slots = append(slots, fmt.Sprintf("b%02d/gpt", i))
	}
	replica := New(Config{Store: &memory.Store{}, Slots: slots, Instance: "i"})
	replica.readRow(tb.Context())
	return replica
}

// countAdmitted is the health check of one request: the snapshot, and the skip
// reason of twenty backends.
func countAdmitted(replica *Replica, now time.Time) (admitted int) {
	snapshot := replica.Snapshot()
	for n := range health.Slot(20) {
		if snapshot.Of(n).SkipReason(now, 500) == health.NotSkipped {
			admitted++
		}
	}
	return admitted
}

// measureCPU reports the processor time of an operation, which depends less on
// other load than the elapsed time does.
func measureCPU(b *testing.B) func() {
	before := processorTime()
	return func() {
		b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
	}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkSnapshotOfTwentyBackends(b *testing.B) {
	replica := newBenchReplica(b)
	now := time.Now()
	b.ReportAllocs()
	defer measureCPU(b)()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if countAdmitted(replica, now) != 20 {
				b.Fatal("a healthy backend was skipped")
			}
		}
	})
}

func BenchmarkAcquireAndReportOutcome(b *testing.B) {
	replica := newBenchReplica(b)
	o := health.Outcome{Signals: health.NoSignals()}
	b.ReportAllocs()
	defer measureCPU(b)()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			permit, _ := replica.Acquire(7, "")
			replica.ReportOutcome(permit, o)
		}
	})
}

func TestRequestPathDoesNotAllocate(t *testing.T) {
	replica := newBenchReplica(t)
	now := time.Now()
	o := health.Outcome{Signals: health.NoSignals()}
	if got := testing.AllocsPerRun(1000, func() {
		countAdmitted(replica, now)
		replica.RequestProbe(3)
		permit, _ := replica.Acquire(7, "")
		replica.RenewProbe(permit)
		replica.ReportSignals(7, o.Signals)
		replica.ReportOutcome(permit, o)
	}); got != 0 {
		t.Errorf("%v allocations per request, want none", got)
	}
}

// BenchmarkRefresh is one iteration of Run when nothing is wrong.
func BenchmarkRefresh(b *testing.B) {
	for _, n := range []int{20, 200, 3200} {
		b.Run(fmt.Sprintf("%d slots", n), func(b *testing.B) {
			replica := newReplicaOf(b, n)
			b.ReportAllocs()
			defer measureCPU(b)()
			for b.Loop() {
				replica.runOnce(b.Context(), 0, false)
			}
		})
	}
}

// A refresh that finds nothing wrong allocates for the exchange and not for the
// slots.
func TestHealthyRefreshAllocatesNothingForSlots(t *testing.T) {
	replica := newReplicaOf(t, 3200)
	allocations := testing.AllocsPerRun(100, func() { replica.runOnce(t.Context(), 0, false) })
	if allocations > 40 {
		t.Errorf("%v allocations per refresh of 3,200 healthy slots, want a few for the exchange", allocations)
	}
}

func newReplicaOf(tb testing.TB, n int) *Replica {
	tb.Helper()
	var slots []string
	for i := range n {
		slots = append(slots, fmt.Sprintf("b%04d/gpt", i))
	}
	replica := New(Config{Store: &memory.Store{}, Slots: slots, Instance: "i"})
	replica.Snapshot()
	replica.runOnce(tb.Context(), 0, false)
	return replica
}
