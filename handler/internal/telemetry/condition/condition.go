// Package condition is the parts of an instance that may fail while it serves: the
// shared state, credentials, what is recorded. One vocabulary for the log, the
// metrics, /health/ready?verbose, the status page and the alerts. It does not know
// the parts: each says how it is.
package condition

import (
	"sync"
	"time"
)

// State is how a part is. The zero State is OK.
type State uint8

// The states, the worst last.
const (
	OK       State = iota
	Degraded       // it works in part, or on what it knew before
	Failing        // it does not work
)

var names = [...]string{"ok", "degraded", "failing"}

func (s State) String() string { return names[s] }

// Part is a part that may fail.
type Part struct {
	Name  string // stable: alerts and runbooks use it
	Works string // what still works while it fails
	Fix   string // what an operator should check
	// Check returns the state now, and why it is not OK. It is called once a second,
	// and must not block.
	Check func(now time.Time) (State, error)
}

// Status is a part that is not OK, or was until now.
type Status struct {
	Part  *Part
	State State
	Since time.Time // when it ceased to be OK
	Why   string    // the latest reason; "" when it is OK
}

// JSON is a Status as /health/ready and the status page have it.
type JSON struct {
	Part  string    `json:"part"`
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"`
	Works string    `json:"works,omitempty"`
	Fix   string    `json:"fix,omitempty"`
}

// JSON returns the status for programs; of a part that is OK, its name only.
func (s Status) JSON() JSON {
	if s.State == OK {
		return JSON{Part: s.Part.Name, State: OK.String()}
	}
	return JSON{s.Part.Name, s.State.String(), s.Since.UTC(), s.Why, s.Part.Works, s.Part.Fix}
}

// ReminderInterval is the time between two reports of a part: an alert reads the
// last few minutes, and trouble that comes and goes must not fill the log.
const ReminderInterval = time.Minute

// Set checks parts. It is safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	parts []tracked
}

// tracked is a part with what is known of it.
type tracked struct {
	Status
	reportedAt time.Time
	reported   State // of the last report; OK = no report is open
}

// New makes a Set of these parts. All are OK until Check is called.
func New(parts ...Part) *Set {
	s := &Set{parts: make([]tracked, len(parts))}
	for i := range parts {
		s.parts[i].Part = &parts[i]
	}
	return s
}

// Check checks every part, and returns those that are due for a report: at once when
// trouble begins or gets worse, every ReminderInterval while it lasts or comes back,
// and once when it is over.
func (s *Set) Check(now time.Time) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []Status
	for i := range s.parts {
		t := &s.parts[i]
		t.update(now)
		if t.due(now) {
			due = append(due, t.Status)
		}
	}
	return due
}

func (t *tracked) update(now time.Time) {
	state, why := t.Part.Check(now)
	if state != OK && t.State == OK {
		t.Since = now
	}
	t.State, t.Why = state, ""
	if state != OK && why != nil {
		t.Why = why.Error()
	}
}

func (t *tracked) due(now time.Time) bool {
	switch {
	case t.State > t.reported, t.State != OK && now.Sub(t.reportedAt) >= ReminderInterval:
		if t.reported == OK && now.Sub(t.reportedAt) < ReminderInterval && !t.reportedAt.IsZero() {
			return false // it came back: the next reminder tells
		}
		t.reportedAt, t.reported = now, t.State
	case t.State == OK && t.reported != OK:
		t.reported = OK
	default:
		return false
	}
	return true
}

// Troubles returns the parts that are not OK.
func (s *Set) Troubles() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for i := range s.parts {
		if s.parts[i].State != OK {
			all = append(all, s.parts[i].Status)
		}
	}
	return all
}

// All returns every part.
func (s *Set) All() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, len(s.parts))
	for i := range s.parts {
		all[i] = s.parts[i].Status
	}
	return all
}

// Latch is a part that reports its failures, but not when it is well again: it
// counts as degraded for a while after each. The zero Latch is OK. The while is
// shorter than ReminderInterval, so that only failures that go on are reported again:
// alerts rest on that.
type Latch struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// latchTime is how long a failure counts.
const latchTime = ReminderInterval / 2

// Failed records a failure.
func (l *Latch) Failed(now time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at, l.err = now, err
}

// Check is for Part.Check.
func (l *Latch) Check(now time.Time) (State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil || now.Sub(l.at) >= latchTime {
		return OK, nil
	}
	return Degraded, l.err
}
