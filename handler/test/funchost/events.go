package funchost

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is the kind of an event.
type Kind string

// The events of a host's life.
const (
	// Listening: the host takes requests; Detail is its address.
	Listening Kind = "listening"
	// FunctionRefused: the host leaves a function out; Detail has the reason.
	FunctionRefused Kind = "function refused"
	// Started: a process of the handler runs.
	Started Kind = "started"
	// StartFailed: the program could not be executed. Requests hang until the
	// host ends (docs/functions-host.md#start-and-readiness).
	StartFailed Kind = "start failed"
	// Ready: the handler answered its ping.
	Ready Kind = "ready"
	// ReadyTimedOut: the handler did not answer its ping in time.
	ReadyTimedOut Kind = "ready timed out"
	// Exited: the process ended, with Code; 128 + the signal when one ended it.
	Exited Kind = "exited"
	// FunctionTimedOut: one call exceeded the function timeout; the process is
	// killed after the grace.
	FunctionTimedOut Kind = "function timed out"
	// CallFailed: a call got a 500 or a reset connection; Detail has the reason.
	CallFailed Kind = "call failed"
	// ClientDisconnected: a client left while the handler served its request.
	ClientDisconnected Kind = "client left"
	// HostStopped: the host stopped by itself; Detail has the reason.
	HostStopped Kind = "host stopped"
)

// Event is one event of a host. PID and Port are those of the handler's
// process, or 0.
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

// The levels that a line of output can get.
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

// lineLevel is the level that the host logs a line with
// (docs/functions-host.md#logs). The level inside a JSON record has no effect.
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
	for _, mark := range []string{"error", "fail", "severe", "unhandled exception"} {
		if strings.Contains(lower, mark) {
			return Error
		}
	}
	return Information
}

// lineWriter splits what is written to it into lines. Its owner calls flush
// after the last write, for a last line without an end.
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

// eventLog is a list that only grows. wait blocks for a certain item.
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
