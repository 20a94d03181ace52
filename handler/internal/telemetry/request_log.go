// Package telemetry is the log, the metrics and the traces of the gateway
// (docs/observability.md). It observes requests that have ended and reads the
// state of other packages; it decides nothing. No request waits for it: what
// cannot be written in time is dropped and counted.
package telemetry

import (
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

var _ api.Observer = (*RequestLog)(nil)

// RequestLog writes one JSON line for each request, which explains why the
// request went where it went. It holds no secret and no prompt: names come from
// configuration, reasons from a fixed vocabulary.
type RequestLog struct {
	Out      *LogWriter
	Instance string
	Level    slog.Level // lines below it are not written; at debug each has the whole order of candidates

	// RejectionsPerSecond is how many requests that were rejected before any
	// backend was considered have a line in one second, so that a flood of them
	// does not flood the log. The others are counted. 0 = all have one.
	RejectionsPerSecond int64

	second  atomic.Int64 // Unix, of the two counts
	written atomic.Int64
	omitted atomic.Int64
}

var lineBuffers = sync.Pool{New: func() any { return new([]byte) }}

// RequestDone writes the line of a request that has ended.
func (l *RequestLog) RequestDone(x *api.RequestRecord) {
	level := levelOf(x)
	if level < l.Level || !l.allow(x) {
		return
	}
	buffer := lineBuffers.Get().(*[]byte)
	line := newJSONLine(*buffer, x.Start, level, "request")
	line.caller(x, l.Instance)
	line.request(x)
	if x.Result != nil {
		line.result(x)
		if l.Level <= slog.LevelDebug {
			line.order(x.Result)
		}
	}
	line.millis("total_ms", x.Duration)
	if x.Cause != nil {
		line.text("cause", truncate(x.Cause.Error()))
	}
	*buffer = line.end()
	l.Out.write(*buffer, level)
	lineBuffers.Put(buffer)
}

// maxErrorText is how much of an error goes into a line.
const maxErrorText = 500

// levelOf is ERROR where the caller got an error or a part of an answer through no
// fault of its own, WARN for want of capacity and where another backend stood in
// for one that refuses the gateway. A caller that left, or that every backend
// refused alike for what it asked, concerns no operator.
func levelOf(x *api.RequestRecord) slog.Level {
	r := x.Result
	switch {
	case x.Status >= http.StatusInternalServerError, endingOf(r) == brokenOff, r != nil && r.OurFault():
		return slog.LevelError
	case x.Status == http.StatusTooManyRequests, r != nil && x.Status < http.StatusBadRequest && misconfigured(r):
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// misconfigured reports whether a backend refused the gateway's own credential, or
// lacks the deployment.
func misconfigured(r *proxy.Result) bool {
	return slices.ContainsFunc(r.Attempts, func(a proxy.Attempt) bool { return a.Outcome.Class == health.Misconfigured })
}

// allow reports whether the request may have a line of its own.
func (l *RequestLog) allow(x *api.RequestRecord) bool {
	if l.RejectionsPerSecond <= 0 || x.Result != nil {
		return true
	}
	l.Flush(x.Start.Add(x.Duration))
	if l.written.Add(1) <= l.RejectionsPerSecond {
		return true
	}
	l.omitted.Add(1)
	return false
}

// Flush writes how many rejections of an earlier second had no line. It is
// called once a second.
func (l *RequestLog) Flush(now time.Time) {
	second, was := now.Unix(), l.second.Load()
	if second <= was || !l.second.CompareAndSwap(was, second) {
		return
	}
	l.written.Store(0)
	lost := l.omitted.Swap(0)
	if lost == 0 {
		return
	}
	line := newJSONLine(nil, now, slog.LevelWarn, "refusals without a line of their own")
	line.text("instance", l.Instance).number("count", lost).number("limit_per_second", l.RejectionsPerSecond)
	l.Out.write(line.end(), slog.LevelWarn)
}

func (f *jsonLine) caller(x *api.RequestRecord, instance string) {
	f.text("request_id", x.ID).text("instance", instance)
	if x.Trace.HasTraceID() {
		f.key("trace_id").hex(x.Trace.TraceID())
	}
	if x.Consumer != nil {
		f.text("consumer", x.Consumer.Name).text("key", x.KeyID).text("caller", truncate(x.Caller))
	}
}

func (f *jsonLine) request(x *api.RequestRecord) {
	f.text("method", methodName(x.Method)).text("operation", x.Operation).text("url", x.Family).text("model", x.Model).text("requested_model", x.Requested)
	f.number("status", int64(x.Status)).text("code", x.Code).text("rule", x.Rule).flag("stream", x.Stream)
}

// overhead is the duration of the request without its attempts and without
// waiting for a throttled pool.
func overhead(x *api.RequestRecord) time.Duration {
	left := x.Duration - x.Result.Waited
	for i := range x.Result.Attempts {
		left -= x.Result.Attempts[i].Duration
	}
	return max(left, 0)
}

// Spilled reports whether the request was served by a lower priority group than
// the best one its consumer may use, or by a fallback model.
func Spilled(r *proxy.Result) bool {
	if r.ServedBy == nil {
		return false
	}
	if r.Pool.Model != r.Decision.Model {
		return true
	}
	for i := range r.Decision.Candidates {
		if c := &r.Decision.Candidates[i]; c.Backend.Priority < r.ServedBy.Priority && permitted(c) {
			return true
		}
	}
	return false
}

// Observers are several observers, called in order.
type Observers []api.Observer

// RequestDone calls all of them.
func (o Observers) RequestDone(x *api.RequestRecord) {
	for _, observer := range o {
		observer.RequestDone(x)
	}
}
