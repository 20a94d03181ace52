// Package latency keeps how long backends lately needed to the first content of
// their answers, by backend × model and by kind of request, and derives from it
// when a request that waits is silent rather than slow.
//
// It does not read a clock, and it knows neither HTTP nor circuits.
package latency

import (
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// Kind is what, besides the backend and the model, decides how long the first
// content takes. The zero Kind is a small request without a stream and without
// reasoning.
type Kind uint8

// Effort is the reasoning that a request asks for.
type Effort uint8

// The efforts. The zero Effort is the model's default.
const (
	DefaultEffort Effort = iota
	LowEffort
	MediumEffort
	HighEffort
	efforts
)

const kinds = 4 * int(efforts)

// LargePrompt is from how many bytes on a prompt is large.
const LargePrompt = 16 << 10

// KindOf is the kind of a request.
func KindOf(stream bool, promptBytes int64, effort Effort) Kind {
	k := Kind(min(effort, efforts-1)) << 2
	if stream {
		k |= 1
	}
	if promptBytes >= LargePrompt {
		k |= 2
	}
	return k
}

// Stream reports whether requests of the kind are answered by a stream.
func (k Kind) Stream() bool { return k&1 != 0 }

const (
	minAnswers   = 20               // fewer are no basis for a threshold
	factor       = 3                // how many times the usual time is silence
	unknownPlain = 30 * time.Second // of a model without answers
	unknownEvent = 10 * time.Second // the same, of its streams
)

// LeastSilence is how long an attempt may wait at least, unless its caller leaves sooner.
const LeastSilence = 2 * time.Second

// Tracker is what is known of all slots. It is safe for concurrent use. A nil
// Tracker knows nothing.
type Tracker struct {
	slots  []slot
	models []*histogram
}

type slot struct {
	kinds   [kinds]atomic.Pointer[histogram] // allocated at the first answer
	all     atomic.Pointer[histogram]
	model   atomic.Pointer[histogram]
	overdue atomic.Uint64 // an Overdue, and how many attempts under way are past their threshold since it began
	late    atomic.Bool   // the last answer came after its threshold
}

// New returns a tracker of the slots; models is the index of the model of each.
func New(models []int) *Tracker {
	t := &Tracker{slots: make([]slot, len(models))}
	for i, m := range models {
		t.slots[i].all.Store(new(histogram))
		t.slots[i].model.Store(t.modelOf(m))
	}
	return t
}

func (t *Tracker) modelOf(m int) *histogram {
	for len(t.models) <= m {
		t.models = append(t.models, new(histogram))
	}
	return t.models[m]
}

// Assign makes a slot, which no request uses, one of the model. What is known of the
// slot from, which is of the same deployment, is known of it too; from < 0 = nothing is
// known. No two calls may overlap.
func (t *Tracker) Assign(s, from health.Slot, model int) {
	one, known := t.slot(s), t.slot(from)
	one.model.Store(t.modelOf(model))
	one.overdue.Store(0)
	one.late.Store(false)
	if known != nil {
		one.all.Store(known.all.Load())
	} else {
		one.all.Store(new(histogram))
	}
	for i := range one.kinds {
		one.kinds[i].Store(nil)
		if known != nil {
			one.kinds[i].Store(known.kinds[i].Load())
		}
	}
}

func (t *Tracker) slot(s health.Slot) *slot {
	if t == nil || s < 0 || int(s) >= len(t.slots) {
		return nil
	}
	return &t.slots[s]
}

// Record takes how long an attempt took to its first content.
func (t *Tracker) Record(s health.Slot, k Kind, took time.Duration) {
	one := t.slot(s)
	if one == nil {
		return
	}
	late := took > t.Threshold(s, k)
	if one.late.Load() != late {
		one.late.Store(late)
	}
	if !late {
		one.forgive()
	}
	one.kind(k).record(took)
	one.all.Load().record(took)
	one.model.Load().record(took)
}

func (s *slot) kind(k Kind) *histogram {
	at := &s.kinds[int(k)%kinds]
	if h := at.Load(); h != nil {
		return h
	}
	at.CompareAndSwap(nil, new(histogram))
	return at.Load()
}

// Usual is the 95th percentile of the recent times to first content of the slot;
// 0 = unknown.
func (t *Tracker) Usual(s health.Slot) time.Duration {
	one := t.slot(s)
	if one == nil {
		return 0
	}
	return time.Duration(one.all.Load().p95.Load())
}

// Threshold is how long an attempt may wait for its first content before it
// counts as silent: three times the 95th percentile of its kind at the slot, of the
// slot, or of the model, whichever is the first that is known from 20 answers; at
// least 2 s.
func (t *Tracker) Threshold(s health.Slot, k Kind) time.Duration {
	switch slow, known := t.slow(s, k); {
	case known:
		return max(LeastSilence, slow)
	case k.Stream():
		return unknownEvent
	}
	return unknownPlain
}

// ThresholdWithin is the threshold for a caller that waits no longer than so: at most
// half of that, which leaves another backend as much time, but not less than three
// times what is usual, nor than half a second.
func (t *Tracker) ThresholdWithin(s health.Slot, k Kind, patience time.Duration) time.Duration {
	slow, _ := t.slow(s, k)
	return min(t.Threshold(s, k), max(patience/2, slow, LeastSilence/4))
}

// Patience is after what time a caller who leaves found the slot silent: twice the 95th
// percentile, half a second at least; unknown, the threshold.
func (t *Tracker) Patience(s health.Slot, k Kind) time.Duration {
	if slow, known := t.slow(s, k); known {
		return max(slow*2/factor, LeastSilence/4)
	}
	return t.Threshold(s, k)
}

// Known reports whether the threshold comes from answers.
func (t *Tracker) Known(s health.Slot, k Kind) bool {
	_, known := t.slow(s, k)
	return known
}

// slow is three times the 95th percentile, if that is known.
func (t *Tracker) slow(s health.Slot, k Kind) (slow time.Duration, known bool) {
	one := t.slot(s)
	if one == nil {
		return 0, false
	}
	for _, h := range [...]*histogram{one.kinds[int(k)%kinds].Load(), one.all.Load(), one.model.Load()} {
		if h != nil && h.total.Load() >= minAnswers {
			return factor * time.Duration(h.p95.Load()), true
		}
	}
	return 0, false
}

// Overdue identifies the time between two answers of a slot that came within their
// threshold. The zero Overdue is the first one.
type Overdue uint32

const overdueBits = 32 // of the count

// BeginOverdue counts an attempt that is past its threshold, until EndOverdue or the
// next answer within its threshold: that one's attempt began later, and shows more of
// the slot.
func (t *Tracker) BeginOverdue(s health.Slot) Overdue {
	one := t.slot(s)
	if one == nil {
		return 0
	}
	return Overdue(one.overdue.Add(1) >> overdueBits)
}

// EndOverdue ends what BeginOverdue counted: the attempt was answered, or is over.
func (t *Tracker) EndOverdue(s health.Slot, since Overdue) {
	one := t.slot(s)
	if one == nil {
		return
	}
	for {
		v := one.overdue.Load()
		if Overdue(v>>overdueBits) != since || one.overdue.CompareAndSwap(v, v-1) {
			return
		}
	}
}

// forgive no longer counts the attempts that are past their threshold.
func (s *slot) forgive() {
	for {
		v := s.overdue.Load()
		if uint32(v) == 0 || s.overdue.CompareAndSwap(v, (v>>overdueBits+1)<<overdueBits) {
			return
		}
	}
}

// OnTime reports whether the last answer of the slot came within its threshold, and no
// attempt that is under way has been past its own since. An unknown slot is on time.
func (t *Tracker) OnTime(s health.Slot) bool {
	one := t.slot(s)
	return one == nil || uint32(one.overdue.Load()) == 0 && !one.late.Load()
}
