package health

import (
	"cmp"
	"time"
)

// Saturation says that a backend is nearly full, as all instances share it. The zero
// Saturation is a backend with room.
type Saturation struct {
	At    int64 // when it was seen, Unix milliseconds of the table service's clock
	Level SaturationLevel
}

// SaturationLevel is how nearly full. It is coarse, so that only crossing a mark is news.
type SaturationLevel uint8

// The levels.
const (
	Unsaturated SaturationLevel = iota
	NearLimit                   // at the mark
	AtLimit                     // at or over the limit
)

// A mark is news again after minRepublish, at the earliest, and is forgotten after
// saturationTTL: a leaky bucket drains, and a counter is reset each minute
// (facts/azure-openai.md §3.1, §3.5).
const (
	minRepublish  = time.Second
	saturationTTL = 5 * time.Second
)

// Merge is the later mark. It is commutative, associative and idempotent.
func (m Saturation) Merge(o Saturation) Saturation {
	if cmp.Or(cmp.Compare(m.At, o.At), cmp.Compare(m.Level, o.Level)) < 0 {
		return o
	}
	return m
}

// Level judges what an answer's headers said. A negative number is unknown;
// so are limits of 0 and less, and what remains of them (facts/azure-openai.md
// §3.3, §3.4). ok is false when there is nothing to judge.
func (l LeaveAt) Level(utilization float64, remaining, limit int64) (level SaturationLevel, ok bool) {
	if l.Utilization > 0 && utilization >= 0 {
		ok = true
		switch {
		case utilization >= 100:
			level = AtLimit
		case utilization >= l.Utilization:
			level = NearLimit
		}
	}
	if l.RemainingTokens > 0 && limit > 0 && remaining >= 0 {
		ok = true
		switch left := float64(remaining) / float64(limit); {
		case left == 0:
			level = AtLimit
		case left <= l.RemainingTokens:
			level = max(level, NearLimit)
		}
	}
	return level, ok
}

// WorthPublishing reports whether seeing the level at now is worth telling the others:
// it crosses a mark, or says that a mark about to be forgotten still stands.
func (m Saturation) WorthPublishing(seen Saturation) bool {
	if seen.Level == m.Level {
		return seen.Level != Unsaturated && seen.At >= m.At+saturationTTL.Milliseconds()/2
	}
	if seen.Level == Unsaturated && !m.current(seen.At) {
		return false
	}
	return seen.At >= m.At+minRepublish.Milliseconds()
}

func (m Saturation) current(now int64) bool { return now < m.At+saturationTTL.Milliseconds() }

// Share is how much of its normal traffic a marked backend should get, in
// percent; 0 = all of it. It is a weight, never a refusal.
func (m Saturation) Share(now int64) uint8 {
	if !m.current(now) {
		return 0
	}
	switch m.Level {
	case NearLimit:
		return 50
	case AtLimit:
		return 10
	case Unsaturated:
	}
	return 0
}
