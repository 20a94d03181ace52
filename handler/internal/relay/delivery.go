package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
)

// writer is one response being delivered.
type writer struct {
	*answer
	ctx          context.Context
	response     *proxy.BackendResponse
	report       proxy.Delivery
	created      map[operations.Object]bool // that Hooks.Created received
	callerLeft   bool                       // a write to the caller failed
	awaitsUsage  bool                       // only the usage of a stream is missing: it is read although the caller has left
	writingSince int64                      // when the write under way began, Unix nanoseconds; 0 = none is; atomic
}

// commit sends the status line and headers, unless a stream's status line was sent,
// and reports whether it did: not when another attempt won. A length below zero is
// unknown.
func (d *writer) commit(length int64) bool {
	d.mu.Lock()
	if !d.response.Hooks.MayCommit() {
		d.mu.Unlock()
		d.response.Cancel(errLost)
		d.report.Outcome = outcome(health.Abandoned, "another attempt won")
		return false
	}
	d.endStart()
	if !d.started {
		d.writeHeader(length)
	}
	d.mu.Unlock()
	d.report.Committed, d.report.Spillover = true, spillover(d.response.Response.Header)
	d.response.Hooks.Committed()
	return true
}

func (d *writer) writeHeader(length int64) {
	h := d.w.Header()
	copyHeader(h, d.response.Response.Header)
	if res := d.response.Response; res.StatusCode == http.StatusTooManyRequests {
		setRetryAfter(h, classify.Status(res.StatusCode, res.Header, nil, time.Now(), d.policy()).Wait)
	}
	if d.isStream() {
		h.Set("X-Accel-Buffering", "no")
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	d.w.WriteHeader(d.response.Response.StatusCode)
}

// refuse ends the delivery of what is no answer, before anything of it was sent.
func (d *writer) refuse(why string) {
	d.report.Outcome = outcome(health.Failed, why)
	d.response.Cancel(errRefused)
}

// refuseError ends the delivery of an error that came inside a success. data is what
// holds the error.
func (d *writer) refuseError(o *health.Outcome, data []byte) {
	d.report.Outcome = *o
	if o.Class == health.Served || o.Class == health.Misconfigured {
		status, body := classify.Refusal(data)
		h := http.Header{"Content-Type": {"application/json"}}
		d.report.Refusal = &http.Response{
			StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h,
			ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		}
		copyHeader(h, d.response.Response.Header)
	}
	d.response.Cancel(errRefused)
}

// send writes bytes to the caller and flushes them. After a failed write
// nothing more is sent, and the attempt is cancelled.
func (d *writer) send(p []byte, now time.Time) {
	if d.callerLeft || len(p) == 0 {
		return
	}
	atomic.StoreInt64(&d.writingSince, now.UnixNano())
	n, err := d.w.Write(p)
	if err == nil {
		err = d.control.Flush()
	}
	atomic.StoreInt64(&d.writingSince, 0)
	d.report.Bytes += int64(n)
	if !errors.Is(err, http.ErrNotSupported) {
		d.noteWriteError(err)
	}
}

// write writes bytes to the caller without flushing them.
func (d *writer) write(p []byte) {
	if d.callerLeft || len(p) == 0 {
		return
	}
	atomic.StoreInt64(&d.writingSince, time.Now().UnixNano())
	n, err := d.w.Write(p)
	atomic.StoreInt64(&d.writingSince, 0)
	d.report.Bytes += int64(n)
	d.noteWriteError(err)
}

func (d *writer) noteWriteError(err error) {
	if err != nil {
		d.callerLeft = true
		if !d.awaitsUsage {
			d.response.Cancel(errCallerLeft)
		}
	}
}

// cutStalledCaller ends a write that has lasted longer than Stall. It is called
// from a timer, while the write is under way.
func (d *writer) cutStalledCaller(now time.Time) {
	since := atomic.LoadInt64(&d.writingSince)
	if d.stall() > 0 && since != 0 && now.Sub(time.Unix(0, since)) >= d.stall() {
		_ = d.control.SetWriteDeadline(now)
	}
}

// abandoned reports whether the caller left or ctx ended.
func (d *writer) abandoned() bool { return d.callerLeft || d.ctx.Err() != nil }

// abandon records that the delivery ended for no fault of the backend: the caller
// left, or ctx ended for a cause of its own, as when the process stops.
func (d *writer) abandon() {
	d.report.Outcome = outcome(health.Abandoned, "caller left")
	d.report.CallerLeft = d.report.Broken && (d.callerLeft || errors.Is(context.Cause(d.ctx), context.Canceled))
}

// overloaded ends a delivery for which there is no memory, and with it the request:
// another backend's answer would need as much. It is no fault of the backend.
func (d *writer) overloaded() {
	d.report.Outcome = outcome(health.Abandoned, "overloaded")
	if d.request.Cancel != nil && !d.report.Committed {
		d.request.Cancel(overload.ErrOverloaded)
	}
	d.response.Cancel(overload.ErrOverloaded)
}

// policy is how responses of this backend are classified.
func (d *writer) policy() classify.Policy {
	var p classify.Policy
	if b := d.response.Backend; b != nil {
		if b.Index < len(d.Policies) {
			p = d.Policies[b.Index]
		}
		p.Provisioned = b.Provisioned
	}
	return p
}

// recordAnswer copies usage and finish reason into the report. The usage of a stored
// answer is that of the request that made it.
func (d *writer) recordAnswer(a *classify.ResponseInfo) {
	d.report.FinishReason, d.report.ServiceTier, d.report.TextBytes, d.report.LaterText = a.FinishReason, a.ServiceTier, a.TextBytes, a.LaterText()
	if d.request.Operation.Kind == operations.KindResponse {
		d.report.Stored = proxy.Stored{ID: a.ID, Background: a.Background, Ended: a.Ended, Reported: a.HasUsage, Usage: a.Usage}
	}
	if !d.request.Operation.State.Stored() {
		d.report.Usage = a.Usage
	}
}

// reportCreated passes on the ids in an answer, or in an event of it, before it
// is sent: the caller may use an id as soon as it has it.
func (d *writer) reportCreated(answer []byte) {
	made := d.request.Operation.Dialect != operations.Messages || d.request.Parsed.KeepsMessage || classify.NamesCode(answer)
	if d.response.Hooks.Created == nil || !made || !successful(d.response.Response) {
		return
	}
	var fresh []operations.Object
	for _, o := range classify.Created(&d.request.Operation, d.request.Subpath, answer) {
		if !d.created[o] {
			if d.created == nil {
				d.created = map[operations.Object]bool{}
			}
			d.created[o] = true
			fresh = append(fresh, o)
		}
	}
	if len(fresh) > 0 {
		d.response.Hooks.Created(fresh)
	}
}

func outcome(v health.OutcomeClass, why string) health.Outcome {
	return health.Outcome{Class: v, Reason: why, Signals: health.NoSignals()}
}

// breakReason names how a response broke off. The list is closed: logs and
// metrics use it.
func breakReason(err error) string {
	switch {
	case errors.Is(err, errIdle):
		return "silent"
	case errors.Is(err, errTruncated):
		return "truncated body"
	case errors.Is(err, errEmpty):
		return "empty stream"
	case errors.Is(err, errTooLarge):
		return "event too large"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	}
	return "broken"
}
