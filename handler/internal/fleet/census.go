package fleet

import (
	"context"
	"time"
)

// A fleet counts itself, for no setting says how far the platform may scale it
// out. Each active instance reads the stamps of all now and then: one exchange,
// in the stamps' own partition, so seldom that a large fleet's readings of a
// row for each instance are no more than that partition can take either.
const (
	memberCountInterval    = time.Minute
	memberCountPerInstance = time.Second // … and so much for each instance, when that is longer
)

// countMembers counts the active instances when it is time to. Where it fails, the
// last count stands until the next.
func (r *Replica) countMembers(ctx context.Context) {
	if !r.memberCountDue() {
		return
	}
	rows, now, err := r.listHeartbeats(ctx)
	active := 0
	for _, row := range rows {
		if stamp, ok := decodeHeartbeat(row); ok && r.isActive(stamp, now) {
			active++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.memberCount = active
	}
	r.scheduleMemberCount(max(memberCountInterval, time.Duration(r.memberCount)*memberCountPerInstance))
}

// memberCountDue reports whether a count is due, and the table answers. The first is a stamp's time after
// the start: by then all have said that they are there.
func (r *Replica) memberCountDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nextMemberCount == 0 && r.cfg.HeartbeatInterval > 0 {
		r.scheduleMemberCount(r.cfg.HeartbeatInterval)
	}
	now := r.readClocks().local
	return r.cfg.HeartbeatInterval > 0 && now >= r.nextMemberCount && r.lastError == nil && !r.idle(now)
}

func (r *Replica) scheduleMemberCount(in time.Duration) {
	r.nextMemberCount = r.readClocks().local + in + r.jitter(in/4)
}

// isActive reports whether who stamped at that time still counts as there.
func (r *Replica) isActive(s heartbeat, now time.Time) bool {
	return now.Sub(time.UnixMilli(s.At)) <= heartbeatLifetimes*r.cfg.HeartbeatInterval
}
