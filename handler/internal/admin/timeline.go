package admin

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
)

// EventKind is what happened.
type EventKind string

// The kinds of events.
const (
	Tripped          EventKind = "trip"
	Recovered        EventKind = "close"
	ThrottleBegan    EventKind = "throttle"
	DrainBegan       EventKind = "drain"
	DrainEnded       EventKind = "restore"
	WasReset         EventKind = "reset"
	OperationRefused EventKind = "refuse" // by a backend, while others serve it
	LimitMark        EventKind = "budget" // a consumer has used a part of a month's limit
	ConfigChanged    EventKind = "config"
)

// Event is an entry of the timeline. Repeated events of a subject are one, from
// At to Last.
type Event struct {
	At      time.Time `json:"at"`
	Last    time.Time `json:"last"`
	Kind    EventKind `json:"kind"`
	Subject string    `json:"subject"` // a slot, a consumer, or an instance
	Text    string    `json:"text"`
	By      string    `json:"by,omitempty"` // the instance that wrote it
	Times   int       `json:"times"`
}

// maxEvents is how many events an instance keeps; eventRetention is for how long.
const (
	maxEvents      = 300
	eventRetention = 12 * time.Hour
)

// repeatWindow is the time within which the same event of the same subject
// prolongs the last one: a provisioned deployment at its limit throttles many
// times a second.
const repeatWindow = time.Minute

// repeats reports whether next prolongs e.
func (e *Event) repeats(next *Event) bool {
	return e.Subject == next.Subject && e.Kind == next.Kind && e.Text == next.Text && next.At.Sub(e.Last) < repeatWindow
}

// timeline is the latest events, oldest first. The zero timeline is empty. It is
// safe for concurrent use.
type timeline struct {
	mu  sync.Mutex
	all []Event
	n   uint64 // of events that were added
}

func (t *timeline) add(next Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	for i := len(t.all) - 1; i >= 0; i-- {
		if t.all[i].Subject != next.Subject {
			continue
		}
		if last := &t.all[i]; last.repeats(&next) {
			next.Times += last.Times
			if last.At.Before(next.At) {
				next.At = last.At
			}
			if last.Last.After(next.Last) {
				next.Last = last.Last
			}
			t.all = slices.Delete(t.all, i, i+1)
		}
		break
	}
	if len(t.all) == maxEvents {
		t.all = slices.Delete(t.all, 0, 1)
	}
	t.all = append(t.all, next)
}

// since is the events that were not over then, oldest first, and how many were
// ever added.
func (t *timeline) since(from time.Time) ([]Event, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []Event
	for i := range t.all {
		if !t.all[i].Last.Before(from) {
			found = append(found, t.all[i])
		}
	}
	return found, t.n
}

// mergeEvents is the events of several instances, each of which records the
// changes that it applies: the same change is one event. The latest are last.
func mergeEvents(all []Event) []Event {
	slices.SortFunc(all, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Text, b.Text), a.At.Compare(b.At))
	})
	merged := []Event{}
	for i := range all {
		next := &all[i]
		if n := len(merged); n > 0 && merged[n-1].repeats(next) {
			last := &merged[n-1]
			if next.At.After(last.Last) {
				last.Times += next.Times
			} else {
				last.Times = max(last.Times, next.Times)
			}
			if next.Last.After(last.Last) {
				last.Last = next.Last
			}
			continue
		}
		merged = append(merged, *next)
	}
	slices.SortStableFunc(merged, func(a, b Event) int { return a.Last.Compare(b.Last) })
	return merged
}

// troubleSince is since when a slot has been tripped or throttled without
// interruption, by its merged events; zero when they do not tell.
func troubleSince(events []Event, kind EventKind) time.Time {
	const pause = 5 * time.Minute // between throttle windows that belong together
	var since time.Time
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i]
		switch {
		case e.Kind == WasReset, e.Kind == Recovered && kind == Tripped:
			if since.Before(e.Last) && !since.IsZero() {
				return e.Last // it recovered between repeated trips
			}
			return since
		case e.Kind != kind:
		case kind == ThrottleBegan && !since.IsZero() && since.Sub(e.Last) > pause:
			return since
		case since.IsZero() || e.At.Before(since):
			since = e.At
		}
	}
	return since
}

// Changed records a change of a record that this instance applied. It is made for
// fleet.Config.OnChange: it does not block.
func (r *Recent) Changed(slot health.Slot, before, after health.Record) {
	for _, e := range describeChange(&before, &after) {
		e.At, e.By, e.Times = r.instant(e.At), after.LastChange.By, 1
		r.addEvent(slot, e)
	}
}

// maxClockShift is how far the table's clock may be ahead of this process's.
const maxClockShift = time.Minute

// instant is when a change was written, which may be long before this instance
// reads it; now when that is not known. It is the same on every instance, so that the
// change is one event, though it may be a moment ahead of this process's clock.
func (r *Recent) instant(written time.Time) time.Time {
	now := r.now()
	if written.UnixMilli() == 0 || written.After(now.Add(maxClockShift)) {
		return now
	}
	return written
}

func (r *Recent) addEvent(slot health.Slot, e Event) {
	e.Subject, e.Last = slotName(r.names, slot), e.At
	r.events.add(e)
}

// shareSoon has the next row written at once.
func (r *Recent) shareSoon() {
	select {
	case r.alone <- struct{}{}:
	default:
	}
}

// OwnCircuitChanged records a change of a circuit that binds this instance alone.
func (r *Recent) OwnCircuitChanged(slot health.Slot, _ health.CircuitState, after *health.Health) {
	e := Event{At: r.now(), By: r.instance, Times: 1, Kind: Tripped, Text: "circuit opened on " + r.instance + " alone" + withReason(after.Reason)}
	switch after.State {
	case health.HalfOpen:
		return
	case health.Closed:
		e.Kind, e.Text = Recovered, "circuit closed on "+r.instance
	case health.Open:
	}
	r.addEvent(slot, e)
	r.shareSoon()
}

// LimitWarned records that a consumer has used so much of a month's limit. One
// instance calls it for the fleet.
func (r *Recent) LimitWarned(w *quota.Warning) {
	label := limitName(w.Limit)
	if w.Model != "" {
		label += " of " + w.Model
	}
	now := r.now()
	r.events.add(Event{At: now, Last: now, Kind: LimitMark, Subject: w.Consumer, Times: 1, Text: fmt.Sprintf("%g\u00a0%% of the %s used", w.Mark, label)})
}

// describeChange is what happened between two records. Probes are left out: they
// are many, and change nothing for requests.
func describeChange(before, after *health.Record) []Event {
	var events []Event
	note := func(at int64, kind EventKind, text string) {
		events = append(events, Event{At: time.UnixMilli(at), Kind: kind, Text: text})
	}
	if before.Override.Drained != after.Override.Drained {
		kind, text := DrainEnded, "restored by "
		if after.Override.Drained {
			kind, text = DrainBegan, "drained by "
		}
		note(after.Override.At, kind, text+after.Override.Operator)
	}
	switch from, to := before.Circuit.State, after.Circuit.State; {
	case from == to || after.Circuit.ProbeReason(before.Circuit) != "":
	case to == health.Open:
		note(after.Circuit.Since, Tripped, "circuit opened"+withReason(after.LastChange.Reason))
	case after.Circuit.LastObjection > before.Circuit.LastObjection:
		note(after.Circuit.Since, Recovered, "circuit closed: an instance is being served")
	default:
		note(after.Circuit.Since, Recovered, "circuit closed"+withReason(after.LastChange.Reason))
	}
	switch {
	case after.ResetAt > before.ResetAt:
		note(after.ResetAt, WasReset, "reset by an operator")
	case after.Windows != before.Windows && after.Windows != (health.ThrottleWindows{}):
		note(after.LastChange.At, ThrottleBegan, "throttled"+withReason(after.LastChange.Reason))
	}
	return events
}

func withReason(why string) string {
	if why == "" {
		return ""
	}
	return fmt.Sprintf(": %s", why)
}
