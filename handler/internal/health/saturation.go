package health

import (
	"cmp"
	"time"
)

// Saturation is how nearly full a backend is, as all instances share it. The
// zero Saturation is a backend with capacity left.
type Saturation struct {
	At    int64 // when it was seen, Unix milliseconds of the table service's clock
	Level SaturationLevel
}

// SaturationLevel is coarse, so that only a change of level is published.
type SaturationLevel uint8

// The levels.
const (
	Unsaturated SaturationLevel = iota
	NearLimit                   // at LeaveAt
	AtLimit                     // at or over the limit
)

// A level is published again after minRepublish at the earliest, and expires
// after saturationTTL: a leaky bucket drains, and a counter is reset each minute
// (docs/azure-openai.md#how-limits-count).
const (
	minRepublish  = time.Second
	saturationTTL = 5 * time.Second
)

// Merge returns the later one. It is commutative, associative and idempotent.
func (s Saturation) Merge(o Saturation) Saturation {
	if cmp.Or(cmp.Compare(s.At, o.At), cmp.Compare(s.Level, o.Level)) < 0 {
		return o
	}
	return s
}

// Level classifies what a response's headers reported. A negative number is
// unknown; so are limits of 0 and less, and what remains of them
// (docs/azure-openai.md#rate-limit-headers). ok is false when nothing is known.
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

// WorthPublishing reports whether other instances need seen: it is a change of
// level, or keeps a level from expiring.
func (s Saturation) WorthPublishing(seen Saturation) bool {
	if seen.Level == s.Level {
		return seen.Level != Unsaturated && seen.At >= s.At+saturationTTL.Milliseconds()/2
	}
	if seen.Level == Unsaturated && !s.current(seen.At) {
		return false
	}
	return seen.At >= s.At+minRepublish.Milliseconds()
}

func (s Saturation) current(now int64) bool { return now < s.At+saturationTTL.Milliseconds() }

// Share is how much of its normal traffic a saturated backend gets, in percent;
// 0 = all of it. It is a weight and never excludes the backend.
func (s Saturation) Share(now int64) uint8 {
	if !s.current(now) {
		return 0
	}
	switch s.Level {
	case NearLimit:
		return 50
	case AtLimit:
		return 10
	case Unsaturated:
	}
	return 0
}
