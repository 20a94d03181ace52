package funchost

import "time"

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
