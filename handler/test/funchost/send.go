package funchost

import (
	"context"
	"net/http"
	"time"
)

// The host's rule of retrying (D 31).
const (
	maxAttempts  = 10
	firstPause   = 50 * time.Millisecond
	longestPause = 250 * time.Millisecond
)

// send gets a request to the handler and returns the head of the answer, with
// the connection that its body is to be read from. A request without a body is
// sent again after any failure, one with a body only while the handler cannot
// be connected to: a body is never sent twice.
func (h *Host) send(ctx context.Context, port int, a handlerRequest, progress func()) (*http.Response, *conn, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		response, c, err := h.try(ctx, port, a, progress)
		if err == nil {
			return response, c, nil
		}
		connected := c != nil
		if attempt == maxAttempts || ctx.Err() != nil || (connected && a.body != nil) {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// try is one attempt of send. After a failure the connection is closed, and nil
// when there never was one.
func (h *Host) try(ctx context.Context, port int, a handlerRequest, progress func()) (*http.Response, *conn, error) {
	c, err := h.conns.get(ctx, port)
	if err != nil {
		return nil, nil, err
	}
	progress()
	response, err := c.exchange(a, progress)
	if err != nil {
		c.discard()
		return nil, c, err
	}
	progress()
	return response, c, nil
}
