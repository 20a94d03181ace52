package health

import "cmp"

// kinds is how many there are.
const kinds = int(Provisioned) + 1

// Term is a window as all instances share it: Until in Unix milliseconds of the
// table service's clock, and with Tokens the Room that is left in it. The zero
// Term is none.
type Term struct {
	Until int64
	Room  int64
}

// Windows are the terms of one backend × model, one of each kind, for a limit
// of one kind says nothing of the others. The zero Windows is none.
type Windows struct {
	Generation uint64 // an operator's reset begins a new one: all older terms are void
	By         [kinds]Term
}

// Join is what is known when both are: of each kind the later term. It is
// commutative, associative and idempotent.
func (w Windows) Join(o Windows) Windows {
	switch cmp.Compare(w.Generation, o.Generation) {
	case 1:
		return w
	case -1:
		return o
	}
	for k := range w.By {
		w.By[k] = w.By[k].join(o.By[k])
	}
	return w
}

// join prefers the later term, and of two that end together the one with less room.
func (t Term) join(o Term) Term {
	if cmp.Or(cmp.Compare(t.Until, o.Until), cmp.Compare(o.Room, t.Room)) < 0 {
		return o
	}
	return t
}

// With notes a term of this kind.
func (w Windows) With(kind LimitKind, t Term) Windows {
	if int(kind) >= kinds {
		kind = Unknown
	}
	w.By[kind] = w.By[kind].join(t)
	return w
}

// Told is w with what o says of limits that still hold at now. A term that
// leaves less room than the one that runs ends after it, if only by a
// millisecond, for of two terms the later stands; w is returned unchanged when
// o says nothing new.
func (w Windows) Told(o Windows, now int64) Windows {
	if w.Generation > o.Generation {
		return w
	}
	if w.Generation < o.Generation {
		return o
	}
	for k, t := range o.By {
		old := w.By[k]
		if t.Until <= now || old.Until >= t.Until && (old.Room <= t.Room || LimitKind(k) != Tokens) {
			continue
		}
		if old.Until > now && LimitKind(k) == Tokens {
			t = Term{Until: max(t.Until, old.Until+1), Room: min(t.Room, old.Room)}
		}
		w.By[k] = t
	}
	return w
}

// Void begins a new generation without terms.
func (w Windows) Void() Windows { return Windows{Generation: w.Generation + 1} }

// Sum folds the terms that still run into one: a kind that refuses everybody
// outweighs one that leaves room, until it ends. until is 0 when none runs.
func (w Windows) Sum(now int64) (until int64, kind LimitKind, room int64) {
	for k, t := range w.By {
		if LimitKind(k) == Tokens && t.Room > 0 || t.Until <= max(now, until) {
			continue
		}
		until, kind = t.Until, LimitKind(k)
	}
	if t := w.By[Tokens]; until == 0 && t.Until > now {
		return t.Until, Tokens, t.Room
	}
	return until, kind, 0
}
