package relay

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/proxy"
)

// delivery is one answer on its way.
type delivery struct {
	*Relay
	ctx          context.Context
	w            http.ResponseWriter
	control      http.ResponseController
	request      *proxy.Request
	response     *proxy.BackendResponse
	report       proxy.Delivery
	callerLeft   bool  // the caller takes no more
	writingSince int64 // since when the caller has been taking, Unix nanoseconds; 0 = it is not; atomic
}

// commit gives the answer to the caller unless another attempt was first. A
// length below zero is unknown.
func (c *delivery) commit(length int64) bool {
	if !c.response.Hooks.MayCommit() {
		c.response.Cancel(errLost)
		c.report.Outcome = outcome(health.Abandoned, "another attempt won")
		return false
	}
	h := c.w.Header()
	copyHeader(h, c.response.Response.Header)
	if res := c.response.Response; res.StatusCode == http.StatusTooManyRequests {
		// It is the caller's only when no other backend could serve it.
		setRetryAfter(h, classify.Status(res.StatusCode, res.Header, nil, time.Now(), c.policy()).Wait)
	}
	if c.isStream() {
		h.Set("X-Accel-Buffering", "no")
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	c.w.WriteHeader(c.response.Response.StatusCode)
	c.report.Committed, c.report.Spillover = true, spillover(c.response.Response.Header)
	c.response.Hooks.Committed()
	return true
}

// send gives bytes to the caller and sends them on their way at once. After a
// failed write nothing more is sent and the upstream is cancelled.
func (c *delivery) send(p []byte, now time.Time) {
	if c.callerLeft || len(p) == 0 {
		return
	}
	atomic.StoreInt64(&c.writingSince, now.UnixNano())
	n, err := c.w.Write(p)
	if err == nil {
		err = c.control.Flush()
	}
	atomic.StoreInt64(&c.writingSince, 0)
	c.report.Bytes += int64(n)
	if !errors.Is(err, http.ErrNotSupported) {
		c.noteWriteError(err)
	}
}

// write gives bytes to the caller whenever the server sends them.
func (c *delivery) write(p []byte) {
	if c.callerLeft || len(p) == 0 {
		return
	}
	atomic.StoreInt64(&c.writingSince, time.Now().UnixNano())
	n, err := c.w.Write(p)
	atomic.StoreInt64(&c.writingSince, 0)
	c.report.Bytes += int64(n)
	c.noteWriteError(err)
}

// noteWriteError notes that the caller is gone.
func (c *delivery) noteWriteError(err error) {
	if err != nil {
		c.callerLeft = true
		c.response.Cancel(errCallerLeft)
	}
}

// cutStalledCaller cuts the caller off when it has taken nothing for too long. It may be
// called while a write is under way.
func (c *delivery) cutStalledCaller(now time.Time) {
	since := atomic.LoadInt64(&c.writingSince)
	if c.stall() > 0 && since != 0 && now.Sub(time.Unix(0, since)) >= c.stall() {
		_ = c.control.SetWriteDeadline(now)
	}
}

// abandoned reports whether those above us, or the caller, gave the answer up.
func (c *delivery) abandoned() bool { return c.callerLeft || c.ctx.Err() != nil }

// policy is how answers of this backend are judged.
func (c *delivery) policy() classify.Policy {
	p := c.Policy
	p.Provisioned = c.response.Backend != nil && c.response.Backend.Provisioned
	return p
}

// recordAnswer writes down what the answer said of itself.
func (c *delivery) recordAnswer(a *classify.ResponseInfo) {
	c.report.Usage, c.report.FinishReason, c.report.ServiceTier = a.Usage, a.FinishReason, a.ServiceTier
	if c.request.Operation.RecordsID && a.ID != "" {
		c.report.CreatedIDs = append(slices.Clip(a.ItemIDs), a.ID)
	}
}

// reportIDs lets those who listen know what was learned so far: a caller may come
// back with an id as soon as it has it.
func (c *delivery) reportIDs() {
	if c.report.Committed && len(c.report.CreatedIDs) > 0 && c.response.Hooks.Created != nil {
		c.response.Hooks.Created(c.report.CreatedIDs)
	}
}

func outcome(v health.OutcomeClass, why string) health.Outcome {
	return health.Outcome{Class: v, Reason: why, Signals: health.NoSignals()}
}

// breakReason names how an answer broke off, in a closed list of words.
func breakReason(err error) string {
	switch {
	case errors.Is(err, errIdle):
		return "silent"
	case errors.Is(err, errFirstToken):
		return "first token timeout"
	case errors.Is(err, errTruncated):
		return "truncated body"
	case errors.Is(err, errEmpty):
		return "empty stream"
	case errors.Is(err, errTooLarge):
		return "event too large"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	}
	return "broken"
}
