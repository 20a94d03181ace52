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
	countEvery    = time.Minute
	countEveryOne = time.Second // … and so much for each instance, when that is longer
)

// census counts the active instances when it is time to. Where it fails, the
// last count stands until the next.
func (k *Keeper) census(ctx context.Context) {
	if !k.countsNow() {
		return
	}
	rows, now, err := k.stamps(ctx)
	active := 0
	for _, row := range rows {
		if stamp, ok := readStamp(row); ok && k.active(stamp, now) {
			active++
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.crowd = active
	}
	k.planCount(max(countEvery, time.Duration(k.crowd)*countEveryOne))
}

// countsNow reports whether a count is due, and the table answers. The first is a stamp's time after
// the start: by then all have said that they are there.
func (k *Keeper) countsNow() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.counting == 0 && k.cfg.StampEvery > 0 {
		k.planCount(k.cfg.StampEvery)
	}
	now := k.look().local
	return k.cfg.StampEvery > 0 && now >= k.counting && k.trouble == nil && !k.idle(now)
}

func (k *Keeper) planCount(in time.Duration) {
	k.counting = k.look().local + in + k.chance(in/4)
}

// active reports whether who stamped at that time still counts as there.
func (k *Keeper) active(s wireStamp, now time.Time) bool {
	return now.Sub(time.UnixMilli(s.At)) <= stampLives*k.cfg.StampEvery
}
