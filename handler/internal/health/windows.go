package health

import "cmp"

// limitKinds is how many there are.
const limitKinds = int(LimitProvisioned) + 1

// RetryWindow is a window as all instances share it: Until in Unix milliseconds of the
// table service's clock, and with Tokens the Room that is left in it. The zero
// RetryWindow is none.
type RetryWindow struct {
	Until     int64
	MaxTokens int64
}

// RetryWindows are the terms of one backend × model, one of each kind, for a limit
// of one kind says nothing of the others. The zero RetryWindows is none.
type RetryWindows struct {
	Generation uint64 // an operator's reset begins a new one: all older terms are void
	ByKind     [limitKinds]RetryWindow
}

// Merge is what is known when both are: of each kind the later term. It is
// commutative, associative and idempotent.
func (w RetryWindows) Merge(o RetryWindows) RetryWindows {
	switch cmp.Compare(w.Generation, o.Generation) {
	case 1:
		return w
	case -1:
		return o
	}
	for k := range w.ByKind {
		w.ByKind[k] = w.ByKind[k].merge(o.ByKind[k])
	}
	return w
}

// merge prefers the later term, and of two that end together the one with less room.
func (t RetryWindow) merge(o RetryWindow) RetryWindow {
	if cmp.Or(cmp.Compare(t.Until, o.Until), cmp.Compare(o.MaxTokens, t.MaxTokens)) < 0 {
		return o
	}
	return t
}

// Add notes a term of this kind.
func (w RetryWindows) Add(kind LimitKind, t RetryWindow) RetryWindows {
	if int(kind) >= limitKinds {
		kind = LimitUnknown
	}
	w.ByKind[kind] = w.ByKind[kind].merge(t)
	return w
}

// MergeActive is w with what o says of limits that still hold at now. A term that
// leaves less room than the one that runs ends after it, if only by a
// millisecond, for of two terms the later stands; w is returned unchanged when
// o says nothing new.
func (w RetryWindows) MergeActive(o RetryWindows, now int64) RetryWindows {
	if w.Generation > o.Generation {
		return w
	}
	if w.Generation < o.Generation {
		return o
	}
	for k, t := range o.ByKind {
		old := w.ByKind[k]
		if t.Until <= now || old.Until >= t.Until && (old.MaxTokens <= t.MaxTokens || LimitKind(k) != LimitTokens) {
			continue
		}
		if old.Until > now && LimitKind(k) == LimitTokens {
			t = RetryWindow{Until: max(t.Until, old.Until+1), MaxTokens: min(t.MaxTokens, old.MaxTokens)}
		}
		w.ByKind[k] = t
	}
	return w
}

// Reset begins a new generation without terms.
func (w RetryWindows) Reset() RetryWindows { return RetryWindows{Generation: w.Generation + 1} }

// Combined folds the terms that still run into one: a kind that refuses everybody
// outweighs one that leaves room, until it ends. until is 0 when none runs.
func (w RetryWindows) Combined(now int64) (until int64, kind LimitKind, room int64) {
	for k, t := range w.ByKind {
		if LimitKind(k) == LimitTokens && t.MaxTokens > 0 || t.Until <= max(now, until) {
			continue
		}
		until, kind = t.Until, LimitKind(k)
	}
	if t := w.ByKind[LimitTokens]; until == 0 && t.Until > now {
		return t.Until, LimitTokens, t.MaxTokens
	}
	return until, kind, 0
}
