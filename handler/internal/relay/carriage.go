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

// carriage is one answer on its way.
type carriage struct {
	*Relay
	ctx      context.Context
	w        http.ResponseWriter
	control  http.ResponseController
	request  *proxy.Request
	answer   *proxy.Answer
	delivery proxy.Delivery
	gone     bool  // the caller takes no more
	busy     int64 // since when the caller has been taking, Unix nanoseconds; 0 = it is not; atomic
}

// commit gives the answer to the caller unless another attempt was first. A
// length below zero is unknown.
func (c *carriage) commit(length int64) bool {
	if !c.answer.Gate() {
		c.answer.Cancel(errLost)
		c.delivery.Outcome = says(health.Abandoned, "another attempt won")
		return false
	}
	h := c.w.Header()
	copyHeader(h, c.answer.Response.Header)
	if res := c.answer.Response; res.StatusCode == http.StatusTooManyRequests {
		// It is the caller's only when no other backend could serve it.
		tellWait(h, classify.Status(res.StatusCode, res.Header, nil, time.Now(), c.policy()).Wait)
	}
	if c.isStream() {
		h.Set("X-Accel-Buffering", "no")
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	c.w.WriteHeader(c.answer.Response.StatusCode)
	c.delivery.Committed, c.delivery.Spill = true, spilled(c.answer.Response.Header)
	c.answer.Committed()
	return true
}

// send gives bytes to the caller and sends them on their way at once. After a
// failed write nothing more is sent and the upstream is cancelled.
func (c *carriage) send(p []byte, now time.Time) {
	if c.gone || len(p) == 0 {
		return
	}
	atomic.StoreInt64(&c.busy, now.UnixNano())
	n, err := c.w.Write(p)
	if err == nil {
		err = c.control.Flush()
	}
	atomic.StoreInt64(&c.busy, 0)
	c.delivery.Bytes += int64(n)
	if !errors.Is(err, http.ErrNotSupported) {
		c.lose(err)
	}
}

// write gives bytes to the caller whenever the server sends them.
func (c *carriage) write(p []byte) {
	if c.gone || len(p) == 0 {
		return
	}
	atomic.StoreInt64(&c.busy, time.Now().UnixNano())
	n, err := c.w.Write(p)
	atomic.StoreInt64(&c.busy, 0)
	c.delivery.Bytes += int64(n)
	c.lose(err)
}

// lose notes that the caller is gone.
func (c *carriage) lose(err error) {
	if err != nil {
		c.gone = true
		c.answer.Cancel(errCaller)
	}
}

// stuck cuts the caller off when it has taken nothing for too long. It may be
// called while a write is under way.
func (c *carriage) stuck(now time.Time) {
	since := atomic.LoadInt64(&c.busy)
	if c.stall() > 0 && since != 0 && now.Sub(time.Unix(0, since)) >= c.stall() {
		_ = c.control.SetWriteDeadline(now)
	}
}

// abandoned reports whether those above us, or the caller, gave the answer up.
func (c *carriage) abandoned() bool { return c.gone || c.ctx.Err() != nil }

// policy is how answers of this backend are judged.
func (c *carriage) policy() classify.Policy {
	p := c.Policy
	p.Provisioned = c.answer.Backend != nil && c.answer.Backend.Provisioned
	return p
}

// learned writes down what the answer said of itself.
func (c *carriage) learned(a *classify.Answer) {
	c.delivery.Usage, c.delivery.Finish, c.delivery.Tier = a.Usage, a.Finish, a.Tier
	if c.request.Operation.Learns && a.ID != "" {
		c.delivery.Made = append(slices.Clip(a.Items), a.ID)
	}
}

// tell lets those who listen know what was learned so far: a caller may come
// back with an id as soon as it has it.
func (c *carriage) tell() {
	if c.delivery.Committed && len(c.delivery.Made) > 0 && c.answer.Learned != nil {
		c.answer.Learned(c.delivery.Made)
	}
}

func says(v health.Verdict, why string) health.Outcome {
	return health.Outcome{Verdict: v, Why: why, Signals: health.NoSignals()}
}

// broken names how an answer broke off, in a closed list of words.
func broken(err error) string {
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
