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
func (k *Replica) countMembers(ctx context.Context) {
	if !k.memberCountDue() {
		return
	}
	rows, now, err := k.listHeartbeats(ctx)
	active := 0
	for _, row := range rows {
		if stamp, ok := decodeHeartbeat(row); ok && k.isActive(stamp, now) {
			active++
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.memberCount = active
	}
	k.scheduleMemberCount(max(memberCountInterval, time.Duration(k.memberCount)*memberCountPerInstance))
}

// memberCountDue reports whether a count is due, and the table answers. The first is a stamp's time after
// the start: by then all have said that they are there.
func (k *Replica) memberCountDue() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.nextMemberCount == 0 && k.cfg.HeartbeatInterval > 0 {
		k.scheduleMemberCount(k.cfg.HeartbeatInterval)
	}
	now := k.readClocks().local
	return k.cfg.HeartbeatInterval > 0 && now >= k.nextMemberCount && k.lastError == nil && !k.idle(now)
}

func (k *Replica) scheduleMemberCount(in time.Duration) {
	k.nextMemberCount = k.readClocks().local + in + k.jitter(in/4)
}

// isActive reports whether who stamped at that time still counts as there.
func (k *Replica) isActive(s heartbeat, now time.Time) bool {
	return now.Sub(time.UnixMilli(s.At)) <= heartbeatLifetimes*k.cfg.HeartbeatInterval
}
