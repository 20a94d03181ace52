package health

import (
	"cmp"
	"time"
)

// LimitKind is which limit of the backend was reached. It decides which requests
// may still be sent.
type LimitKind uint8

// The kinds of 429 (docs/azure-openai.md#429-bodies). The zero kind is one that
// could not be classified: no request may be sent.
const (
	LimitUnknown     LimitKind = iota
	LimitTokens                // tokens per minute: small requests may still fit
	LimitRequests              // requests per 1 or 10 seconds
	LimitCapacity              // the service as a whole is short, not our quota
	LimitProvisioned           // a provisioned deployment over 100 %: its wait is exact to the millisecond
)

// limitKinds is the number of kinds.
const limitKinds = int(LimitProvisioned) + 1

func (k LimitKind) String() string {
	switch k {
	case LimitUnknown:
		return "unknown limit"
	case LimitTokens:
		return "tokens"
	case LimitRequests:
		return "requests"
	case LimitCapacity:
		return "capacity"
	case LimitProvisioned:
		return "provisioned"
	}
	return "unknown limit"
}

// Throttle is until when a backend asked not to be used, in this process's
// clock. The zero Throttle throttles nothing.
type Throttle struct {
	Until     time.Time
	Kind      LimitKind
	MaxTokens int64 // with LimitTokens: requests of at most this many tokens may still be sent; 0 = none
}

// ModelThrottles are throttles by model, in lower case. They are never written after
// they were made.
type ModelThrottles map[string]Throttle

// Blocks reports whether a request of about this many tokens would be refused
// at now.
func (t Throttle) Blocks(now time.Time, tokens int64) bool {
	if !now.Before(t.Until) {
		return false
	}
	return t.Kind != LimitTokens || t.MaxTokens <= 0 || tokens > t.MaxTokens
}

// ThrottleWindow is a wait as all instances share it. Until is in Unix milliseconds
// of the table service's clock; MaxTokens is as in [Throttle]. The zero
// ThrottleWindow is none.
type ThrottleWindow struct {
	Until     int64
	MaxTokens int64
}

// merge prefers the later end, and of two that end together the one that admits
// fewer tokens.
func (w ThrottleWindow) merge(o ThrottleWindow) ThrottleWindow {
	if cmp.Or(cmp.Compare(w.Until, o.Until), cmp.Compare(o.MaxTokens, w.MaxTokens)) < 0 {
		return o
	}
	return w
}

// ThrottleWindows are the waits of one slot, one for each kind of limit: a limit of
// one kind does not imply another. The zero ThrottleWindows is none.
type ThrottleWindows struct {
	ByKind [limitKinds]ThrottleWindow
}

// Add returns w with a window of this kind.
func (w ThrottleWindows) Add(kind LimitKind, window ThrottleWindow) ThrottleWindows {
	if int(kind) >= limitKinds {
		kind = LimitUnknown
	}
	w.ByKind[kind] = w.ByKind[kind].merge(window)
	return w
}

// MergeActive returns w with the windows of o that have not ended at now. A
// window that admits fewer tokens than the present one ends at least a
// millisecond after it, because of two windows the later one is kept. When o
// adds nothing, w is returned unchanged.
func (w ThrottleWindows) MergeActive(o ThrottleWindows, now int64) ThrottleWindows {
	for k, next := range o.ByKind {
		old := w.ByKind[k]
		if next.Until <= now || old.Until >= next.Until && (old.MaxTokens <= next.MaxTokens || LimitKind(k) != LimitTokens) {
			continue
		}
		if old.Until > now && LimitKind(k) == LimitTokens {
			next = ThrottleWindow{Until: max(next.Until, old.Until+1), MaxTokens: min(next.MaxTokens, old.MaxTokens)}
		}
		w.ByKind[k] = next
	}
	return w
}

// Combined folds the windows that have not ended into one: a kind that blocks
// every request outweighs one that admits small ones, until it ends. until is 0
// when there is none.
func (w ThrottleWindows) Combined(now int64) (until int64, kind LimitKind, maxTokens int64) {
	for k, window := range w.ByKind {
		if LimitKind(k) == LimitTokens && window.MaxTokens > 0 || window.Until <= max(now, until) {
			continue
		}
		until, kind = window.Until, LimitKind(k)
	}
	if window := w.ByKind[LimitTokens]; until == 0 && window.Until > now {
		return window.Until, LimitTokens, window.MaxTokens
	}
	return until, kind, 0
}
