// Package relay carries a backend's answer to the caller. It holds an answer
// back until it is worth something, so that a refusal in disguise costs the
// caller nothing; from then on every byte goes out as it came, and an answer
// that breaks off never looks like one that ended.
//
// It knows nothing of how the backend was chosen or reached, and decides
// nothing about it: it reports what became of the answer.
package relay

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/proxy"
)

// Relay is how answers are carried. It is safe for concurrent use; its fields
// are set before the first answer and not after. A negative limit is none.
type Relay struct {
	FirstToken  time.Duration   // from the attempt's beginning to the first meaningful event; a pool's own goes ahead; 0 = none
	CommitAfter time.Duration   // longest time the first events of a stream are held back; 0 = none
	Heartbeat   time.Duration   // a comment is sent after this much silence of a committed stream; 0 = none
	Idle        time.Duration   // an answer that is silent for this long is broken; 0 = 2 min
	Linger      time.Duration   // how long a stream may be silent behind its last finish reason; 0 = 5 s
	Stall       time.Duration   // a caller that takes nothing for this long is gone; 0 = 1 min
	Policy      classify.Policy // how errors in the disguise of a 200 are judged; Provisioned is filled in

	streams sync.Pool // of *[]byte, streamBuffer long
	bodies  sync.Pool // of *[]byte, bodyBuffer long
}

// Why an answer was given up by us.
var (
	errFirstToken = errors.New("relay: no meaningful event within the first token limit")
	errIdle       = errors.New("relay: the answer fell silent")
	errLinger     = errors.New("relay: the stream is complete but stays open")
	errLost       = errors.New("relay: another attempt won")
	errRefused    = errors.New("relay: the answer is a refusal")
	errCallerLeft = errors.New("relay: the caller is gone")
)

const (
	defaultIdle   = 2 * time.Minute
	defaultLinger = 5 * time.Second
	defaultStall  = time.Minute
)

func (r *Relay) idle() time.Duration   { return cmp.Or(r.Idle, defaultIdle) }
func (r *Relay) linger() time.Duration { return cmp.Or(r.Linger, defaultLinger) }
func (r *Relay) stall() time.Duration  { return cmp.Or(r.Stall, defaultStall) }

// Deliver takes the answer to the caller. It returns with Committed false when
// it turned out to be a refusal, or to be broken, before anything was sent;
// then w is untouched. With Broken the caller has part of an answer and the
// connection must be aborted. The body is left for the caller of Deliver to
// close.
func (r *Relay) Deliver(ctx context.Context, w http.ResponseWriter, request *proxy.Request, a *proxy.BackendResponse) proxy.Delivery {
	c := delivery{Relay: r, ctx: ctx, w: w, control: *http.NewResponseController(w), request: request, response: a}
	if c.isStream() {
		return (&stream{delivery: c}).run()
	}
	return (&buffered{delivery: c}).run()
}
