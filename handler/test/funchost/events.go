package funchost

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what happened to a host or its handler.
type Kind string

// The events of a host's life.
const (
	// Listening: the host takes requests; Detail is its address.
	Listening Kind = "listening"
	// FunctionRefused: the host leaves a function out; Detail says which and why.
	FunctionRefused Kind = "function refused"
	// Started: a process of the handler runs.
	Started Kind = "started"
	// StartFailed: the program could not be executed; nothing follows but a hang
	// and the host's end (facts/azure-functions-host.md §2.3).
	StartFailed Kind = "start failed"
	// Ready: the handler answered its ping.
	Ready Kind = "ready"
	// ReadyTimedOut: it did not in time.
	ReadyTimedOut Kind = "ready timed out"
	// Exited: the process ended, with Code; 128 + the signal when one ended it.
	Exited Kind = "exited"
	// FunctionTimedOut: one call lasted too long; the process is killed for it.
	FunctionTimedOut Kind = "function timed out"
	// CallFailed: a call got a 500 or an aborted connection; Detail says why.
	CallFailed Kind = "call failed"
	// ClientDisconnected: a caller disconnected while the handler worked.
	ClientDisconnected Kind = "caller left"
	// HostStopped: the host gave up by itself; Detail says why.
	HostStopped Kind = "host stopped"
)

// Event is one thing that happened. PID and Port are those of the handler's
// process where there is one.
type Event struct {
	At     time.Time
	Kind   Kind
	PID    int
	Port   int
	Code   int
	Detail string
}

// Level is the level that the host logs a line of the handler with.
type Level string

// The levels that a line of output can get (D 42).
const (
	Information Level = "Information"
	Warning     Level = "Warning"
	Error       Level = "Error"
)

// Line is one line that the handler printed, without its end.
type Line struct {
	At     time.Time
	Stream string // "stdout" or "stderr"
	Level  Level
	Text   string
}

// lineLevel is the host's verdict on a line (facts/azure-functions-host.md
// §2.4): what a JSON record says of its own level is lost.
func lineLevel(stream, text string, errorsOnly bool) Level {
	lower := strings.ToLower(text)
	switch {
	case stream == "stdout":
		return Information
	case errorsOnly && strings.Contains(lower, "warn"):
		return Warning
	case errorsOnly:
		return Error
	}
	for _, word := range []string{"error", "fail", "severe", "unhandled exception"} {
		if strings.Contains(lower, word) {
			return Error
		}
	}
	return Information
}

// lineWriter cuts what is written to it into lines. The owner calls rest when
// nothing more will come, for a last line without an end.
type lineWriter struct {
	mu      sync.Mutex
	pending []byte
	emit    func(string)
}

func (w *lineWriter) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(w.pending, text...)
	for {
		line, after, found := bytes.Cut(w.pending, []byte("\n"))
		if !found {
			return len(text), nil
		}
		w.emit(strings.TrimSuffix(string(line), "\r"))
		w.pending = after
	}
}

func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) > 0 {
		w.emit(string(w.pending))
		w.pending = nil
	}
}

// eventLog is a list that only grows, and that one can wait on.
type eventLog[T any] struct {
	mu    sync.Mutex
	items []T
	grown chan struct{} // closed and replaced when an item comes
}

func (r *eventLog[T]) add(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items = append(r.items, item)
	if r.grown != nil {
		close(r.grown)
		r.grown = nil
	}
}

// all is a copy of the list as it is now.
func (r *eventLog[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.items)
}

// wait returns the nth item, counted from one, that wanted accepts, as soon as
// it is there, or the error of ctx.
func (r *eventLog[T]) wait(ctx context.Context, nth int, wanted func(T) bool) (T, error) {
	next := 0
	for {
		r.mu.Lock()
		for ; next < len(r.items); next++ {
			if !wanted(r.items[next]) {
				continue
			}
			if nth--; nth == 0 {
				defer r.mu.Unlock()
				return r.items[next], nil
			}
		}
		if r.grown == nil {
			r.grown = make(chan struct{})
		}
		grown := r.grown
		r.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}
