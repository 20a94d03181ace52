package relay

import (
	"context"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/proxy"
)

// answer is the answer to one request. While no content was sent, attempts may fail
// and others take their place; the status line of a stream may be out already.
type answer struct {
	*Relay
	w       http.ResponseWriter
	control *http.ResponseController
	request *proxy.Request

	mu      sync.Mutex
	started bool        // the status line of a stream was sent, ahead of content
	ended   bool        // an attempt was committed, or the request failed
	timer   *time.Timer // of the heartbeats while only the status line was sent
}

// Open returns the answer to a request.
func (r *Relay) Open(w http.ResponseWriter, request *proxy.Request) proxy.Answer {
	return &answer{Relay: r, w: w, control: http.NewResponseController(w), request: request}
}

// Deliver sends the response to the caller. It returns with Committed false
// when the response turned out to be an error, no answer, or broken before any
// content was sent. With Broken the caller has a part of it, and the connection
// must be ended by [Relay.Abort]. Whoever calls Deliver closes the body.
func (a *answer) Deliver(ctx context.Context, response *proxy.BackendResponse) proxy.Delivery {
	d := writer{answer: a, ctx: ctx, response: response}
	d.completeType()
	switch {
	case !d.isStream():
		return (&buffered{writer: d}).run()
	case !d.mayBeStream():
		d.refuse("a stream")
		return d.report
	}
	return (&stream{writer: d}).run()
}

// Fail ends with an error what only has its status line.
func (a *answer) Fail(body []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.started || a.ended {
		return false
	}
	a.endStart()
	event := classify.FormatErrorEvent(a.request.Operation.Dialect, interruptedMessage, interruptedCode)
	if body != nil {
		event = classify.ErrorEventOf(a.request.Operation.Dialect, body)
	}
	_, _ = a.w.Write(event)
	_ = a.control.Flush()
	return true
}

// start sends the status line of a stream ahead of its content, once, so that the
// caller and the proxies in front of it wait on. Which backend serves is not known.
func (a *answer) start(mayStart func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started || a.ended || !mayStart() {
		return
	}
	h := a.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	a.w.WriteHeader(http.StatusOK)
	_ = a.control.Flush()
	a.started = true
	if a.Heartbeat > 0 {
		a.timer = time.AfterFunc(a.Heartbeat, a.beat)
	}
}

// beat sends a heartbeat.
func (a *answer) beat() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	_, _ = a.w.Write([]byte(heartbeat)) // it fails when the caller has left
	_ = a.control.Flush()
	a.timer.Reset(a.Heartbeat)
}

// endStart ends the time in which there is only a status line.
func (a *answer) endStart() {
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
