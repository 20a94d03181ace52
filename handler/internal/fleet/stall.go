package fleet

import (
	"context"
	"time"

	"spillway/handler/internal/health"
)

// A process that was suspended, or that its own garbage collector held up, finds
// its attempts failed and late for reasons of its own.
const (
	tickEvery  = 250 * time.Millisecond
	stalledFor = time.Second // without a tick
)

// WatchStalls calls Tick until ctx is done.
func (r *Replica) WatchStalls(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		r.Tick()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Tick notes that the process runs. Called every quarter of a second, it lets the
// replica tell a stall of this process from failures of the backends.
func (r *Replica) Tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks().local
	r.noticeStall(now)
	r.tick.Store(int64(max(now, 1)))
}

// noticeStall notes a stall that has just ended. The caller holds the lock.
func (r *Replica) noticeStall(now time.Duration) {
	if last := time.Duration(r.tick.Load()); last > 0 && now-last > stalledFor {
		r.stallEnded = now
		r.counters.Stalls++
		r.tick.Store(int64(now))
	}
}

// stalled reports whether the attempt began before a stall of this process ended:
// its failure says nothing about the backend.
func (r *Replica) stalled(t health.Permit, now time.Duration) bool {
	r.noticeStall(now)
	return r.stallEnded > 0 && t.Began.Sub(r.base) < r.stallEnded
}
