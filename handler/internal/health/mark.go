package health

import (
	"cmp"
	"time"
)

// Mark says that a backend is nearly full, as all instances share it. The zero
// Mark is a backend with room.
type Mark struct {
	At    int64 // when it was seen, Unix milliseconds of the table service's clock
	Level Level
}

// Level is how nearly full. It is coarse, so that only crossing a mark is news.
type Level uint8

// The levels.
const (
	Roomy  Level = iota
	Tight        // at the mark
	Filled       // at or over the limit
)

// A mark is news again after freshen, at the earliest, and is forgotten after
// lasts: a leaky bucket drains, and a counter is reset each minute
// (facts/azure-openai.md §3.1, §3.5).
const (
	freshen = time.Second
	lasts   = 5 * time.Second
)

// Join is the later mark. It is commutative, associative and idempotent.
func (m Mark) Join(o Mark) Mark {
	if cmp.Or(cmp.Compare(m.At, o.At), cmp.Compare(m.Level, o.Level)) < 0 {
		return o
	}
	return m
}

// LevelOf judges what an answer's headers said. A negative number is unknown;
// so are limits of 0 and less, and what remains of them (facts/azure-openai.md
// §3.3, §3.4). ok is false when there is nothing to judge.
func (l LeaveAt) LevelOf(utilization float64, remaining, limit int64) (level Level, ok bool) {
	if l.Utilization > 0 && utilization >= 0 {
		ok = true
		switch {
		case utilization >= 100:
			level = Filled
		case utilization >= l.Utilization:
			level = Tight
		}
	}
	if l.RemainingTokens > 0 && limit > 0 && remaining >= 0 {
		ok = true
		switch left := float64(remaining) / float64(limit); {
		case left == 0:
			level = Filled
		case left <= l.RemainingTokens:
			level = max(level, Tight)
		}
	}
	return level, ok
}

// News reports whether seeing the level at now is worth telling the others:
// it crosses a mark, or says that a mark about to be forgotten still stands.
func (m Mark) News(seen Mark) bool {
	if seen.Level == m.Level {
		return seen.Level != Roomy && seen.At >= m.At+lasts.Milliseconds()/2
	}
	if seen.Level == Roomy && !m.stands(seen.At) {
		return false
	}
	return seen.At >= m.At+freshen.Milliseconds()
}

func (m Mark) stands(now int64) bool { return now < m.At+lasts.Milliseconds() }

// Share is how much of its normal traffic a marked backend should get, in
// percent; 0 = all of it. It is a weight, never a refusal.
func (m Mark) Share(now int64) uint8 {
	if !m.stands(now) {
		return 0
	}
	switch m.Level {
	case Tight:
		return 50
	case Filled:
		return 10
	case Roomy:
	}
	return 0
}
