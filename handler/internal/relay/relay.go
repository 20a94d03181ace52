// Package relay delivers a backend's response to the caller. It holds a
// response back until it is known to be an answer, so that an error with the
// status 200 can still fail over; after that every byte is sent as it came, and
// a response that breaks off never looks complete.
//
// It does not know how a backend is chosen or reached, and decides nothing
// about its health: it reports what became of the response.
package relay

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/openai/classify"
)

// Relay delivers responses. It is safe for concurrent use; its fields are set
// before the first response and not after. A negative limit is none.
type Relay struct {
	CommitAfter  time.Duration // how long after the first event of a stream its status line is sent, with content or without; 0 = with the content
	Heartbeat    time.Duration // a stream that is silent for this long after its status line gets a comment; 0 = none
	Idle         time.Duration // a response that is silent for this long is broken; 0 = 2 min
	CloseTimeout time.Duration // how long a stream may stay open after its last finish reason; 0 = 5 s
	UsageTimeout time.Duration // how long a stream is read for its usage after its last finish reason when the caller has left; 0 = 2 s
	WriteTimeout time.Duration // a caller that accepts no byte for this long is cut off; 0 = 1 min
	AbortDelay   time.Duration // from the last byte of a broken response to the abort of its connection; 0 = 150 ms

	// Policies are how errors with the status 200 are classified, by
	// balancer.Backend.Index; the zero Policy where it has none. Provisioned is
	// filled in.
	Policies []classify.Policy

	streams sync.Pool // of *[]byte, streamBuffer long
	bodies  sync.Pool // of *[]byte, bodyBuffer long
}

// Why the relay ended a response.
var (
	errIdle       = errors.New("relay: the response fell silent")
	errLinger     = errors.New("relay: the stream is complete but stays open")
	errLost       = errors.New("relay: another attempt won")
	errRefused    = errors.New("relay: the response is an error")
	errCallerLeft = errors.New("relay: the caller left")
)

const (
	defaultIdle       = 2 * time.Minute
	defaultLinger     = 5 * time.Second
	defaultUsage      = 2 * time.Second
	defaultStall      = time.Minute
	defaultAbortDelay = 150 * time.Millisecond
)

func (r *Relay) idle() time.Duration       { return cmp.Or(r.Idle, defaultIdle) }
func (r *Relay) linger() time.Duration     { return cmp.Or(r.CloseTimeout, defaultLinger) }
func (r *Relay) usageLimit() time.Duration { return cmp.Or(r.UsageTimeout, defaultUsage) }
func (r *Relay) stall() time.Duration      { return cmp.Or(r.WriteTimeout, defaultStall) }
func (r *Relay) abortDelay() time.Duration { return cmp.Or(r.AbortDelay, defaultAbortDelay) }

// Abort ends the connection of a broken response by a panic with
// [http.ErrAbortHandler], which every client reports as an error. It first
// waits for AbortDelay, unless ctx ends: a proxy in front discards what it has
// not forwarded yet when the connection is reset
// (docs/functions-host.md#seen-on-the-real-host).
func (r *Relay) Abort(ctx context.Context) {
	if delay := r.abortDelay(); delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	panic(http.ErrAbortHandler)
}
