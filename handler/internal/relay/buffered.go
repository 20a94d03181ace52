package relay

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

const (
	bodyBuffer = 64 << 10 // how much of a body is held until it is complete
	usageTail  = 8 << 10  // how much of the end of a longer one is searched for its usage
	headSize   = 16
)

// buffered is a body being delivered that is no event stream. It is held until it
// is complete, so that one that breaks off, or is an error with the status 200,
// can fail over; but no more of it than bodyBuffer, and nothing of a body that is
// not JSON, such as audio.
type buffered struct {
	writer
	buf          []byte
	head         []byte // the first bytes of a body that is longer than buf
	opaque       bool   // not JSON, or encoded: it is not parsed
	timer        *time.Timer
	idleTimedOut atomic.Bool // cancelled after Idle
}

// isStream reports whether the response is an event stream that can be parsed.
func (d *writer) isStream() bool {
	res := d.response.Response
	return successful(res) && mediaType(res.Header) == "text/event-stream" && !encoded(res.Header)
}

func successful(res *http.Response) bool { return res.StatusCode < http.StatusMultipleChoices }

func encoded(h http.Header) bool {
	e := h.Get("Content-Encoding")
	return e != "" && !strings.EqualFold(e, "identity")
}

// run delivers the body to its end.
func (b *buffered) run() proxy.Delivery {
	pool, size := b.bufferPool(b.response.Response.ContentLength)
	held, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, size)
		held = &fresh
	}
	defer pool.Put(held)
	b.buf = (*held)[:0]
	b.report.Outcome = outcome(health.Served, "")
	if idle := b.idle(); idle > 0 {
		b.timer = time.AfterFunc(idle, b.tick)
		defer b.timer.Stop()
	}
	b.process()
	return b.report
}

// bufferPool is where the memory for a body of this length comes from. It is one
// byte larger at least, so that a full buffer means that there is more.
func (d *writer) bufferPool(length int64) (*sync.Pool, int) {
	if length >= 0 && length < streamBuffer {
		return &d.streams, streamBuffer
	}
	return &d.bodies, bodyBuffer
}

// process reads the body, validates it and sends it.
func (b *buffered) process() {
	res := b.response.Response
	media := mediaType(res.Header)
	b.opaque = encoded(res.Header) || successful(res) && !isJSON(media) && media != ""
	if why := b.mediaTypeFault(media); why != "" {
		b.refuse(outcome(health.Failed, why))
		return
	}
	switch err := b.fillToRead(); {
	case err == nil:
		b.deliverLong()
	case !errors.Is(err, io.EOF):
		b.breakOff(err)
	case b.rejectInvalid():
	default:
		if !b.opaque {
			b.reportCreated(b.buf)
		}
		b.completeError()
		if b.commit(b.length()) {
			b.report.FirstToken = time.Now()
			b.write(b.buf)
		}
	}
}

// completeError gives an error the form that the caller's client reads, whoever made
// it: a front end answers with a page of HTML, or without a type.
func (b *buffered) completeError() {
	res := b.response.Response
	if res.StatusCode < http.StatusBadRequest || encoded(res.Header) || b.request.Method == http.MethodHead {
		return
	}
	body := classify.CompleteError(b.request.Family == operations.Anthropic, res.StatusCode, b.buf)
	if len(b.buf) == 0 || &body[0] != &b.buf[0] {
		b.buf = body
		res.Header = res.Header.Clone()
		res.Header.Set("Content-Type", "application/json")
	}
}

// maxRead is how much of an answer is held so that the ids in it are known
// before the caller has it. Of a longer one, those in this much are.
const maxRead = 16 << 20

// fillToRead is fill, with as much memory as an answer that may hold ids needs.
func (b *buffered) fillToRead() error {
	err := b.fill()
	if b.response.Hooks.Created == nil || b.opaque || !successful(b.response.Response) {
		return err
	}
	for err == nil && len(b.buf) < maxRead {
		b.buf = append(make([]byte, 0, 2*cap(b.buf)), b.buf...)
		err = b.fill()
	}
	if err == nil {
		b.reportCreated(b.buf)
	}
	return err
}

// mediaTypeFault is what is wrong with the media type, "" when nothing is: HTML of a
// captive portal, or text where JSON is due.
func (b *buffered) mediaTypeFault(media string) string {
	op := &b.request.Operation
	switch {
	case !successful(b.response.Response) || op.State.Stored() || encoded(b.response.Response.Header):
		return ""
	case media == "text/html", op.Dialect != operations.Plain && media != "" && !isJSON(media):
		return "content type"
	}
	return ""
}

func isJSON(media string) bool {
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// fill reads until the buffer is full (nil), the body ends (io.EOF) or breaks off.
// Of an opaque body it reads once.
func (b *buffered) fill() error {
	for len(b.buf) < cap(b.buf) {
		n, err := b.read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		if err != nil || b.opaque && n > 0 {
			return err
		}
	}
	return nil
}

func (b *buffered) read(p []byte) (int, error) {
	n, err := b.response.Response.Body.Read(p)
	if b.timer != nil {
		b.timer.Reset(b.idle())
	}
	return n, err
}

// tick runs when the timer fires: the backend is silent, or the caller stalls.
func (b *buffered) tick() {
	if atomic.LoadInt64(&b.writingSince) != 0 {
		b.cutStalledCaller(time.Now())
		b.timer.Reset(stallCheck)
		return
	}
	b.idleTimedOut.Store(true)
	b.response.Cancel(errIdle)
}

// length is the Content-Length for the caller, -1 for none.
func (b *buffered) length() int64 {
	switch res := b.response.Response; {
	case b.request.Method == http.MethodHead:
		return res.ContentLength
	case res.StatusCode == http.StatusNoContent, res.StatusCode == http.StatusNotModified:
		return -1
	}
	return int64(len(b.buf))
}

// deliverLong delivers a body that is longer than the buffer. The last bytes sent
// stay ahead of what is read next, since a body names its usage at its end.
func (b *buffered) deliverLong() {
	if !b.commit(b.response.Response.ContentLength) {
		return
	}
	b.report.FirstToken = time.Now()
	b.head = bytes.Clone(b.buf[:min(len(b.buf), headSize)])
	b.forward(b.buf)
	for {
		kept := 0
		if !b.opaque {
			kept = copy(b.buf, b.buf[max(0, len(b.buf)-usageTail):])
		}
		b.buf = b.buf[:kept]
		err := b.fill()
		b.forward(b.buf[kept:])
		if err != nil || b.callerLeft {
			b.endLong(err)
			return
		}
	}
}

// endLong ends a body that is longer than the buffer.
func (b *buffered) endLong(err error) {
	readable := !b.opaque && successful(b.response.Response)
	switch {
	case b.callerLeft, !errors.Is(err, io.EOF):
		b.breakOff(err)
	case readable && !classify.LooksComplete(b.head, b.buf):
		b.breakOff(errTruncated)
	case readable && b.request.Operation.Dialect == operations.Messages:
		b.report.Usage, _ = usage.FindLastMessages(b.buf)
	case readable:
		b.report.Usage, _ = usage.FindLast(b.buf)
	}
}

// forward sends bytes to the caller, and flushes those of an opaque body.
func (b *buffered) forward(p []byte) {
	if b.opaque {
		b.send(p, time.Now())
		return
	}
	b.write(p)
}

// refuse ends the delivery before anything was sent.
func (b *buffered) refuse(o health.Outcome) {
	b.report.Outcome = o
	b.response.Cancel(errRefused)
}

// breakOff ends an incomplete body.
func (b *buffered) breakOff(err error) {
	b.report.Broken = b.report.Committed
	switch {
	case b.idleTimedOut.Load():
		b.report.Outcome = outcome(health.Failed, breakReason(errIdle))
	case b.abandoned():
		b.abandon()
	default:
		b.report.Outcome = outcome(health.Failed, breakReason(err))
	}
}

var errTruncated = errors.New("relay: the body ends before its JSON does")

// rejectInvalid ends the delivery when the complete body is an error or no answer,
// and reports whether it did. It records what the answer contains.
func (b *buffered) rejectInvalid() bool {
	if b.opaque || !successful(b.response.Response) || b.withoutContent() {
		return false
	}
	read, findUsage := classify.Body, usage.FindLast
	if b.request.Operation.Dialect == operations.Messages {
		read, findUsage = classify.Message, usage.FindLastMessages
	}
	answer, o := read(b.buf, b.response.Response.Header, time.Now(), b.policy())
	if o.Reason == "not JSON" && (b.buf[0] == '{' || b.buf[0] == '[') {
		// The answer is complete: an invalid character in it is the caller's to judge.
		answer.Usage, answer.HasUsage = findUsage(b.buf)
		o = outcome(health.Served, "")
	}
	b.recordAnswer(&answer)
	if o.Class == health.Served {
		return false
	}
	b.refuse(o)
	return true
}

// withoutContent reports whether there is no body, or none that was generated now: a
// stored response may be an error of long ago.
func (b *buffered) withoutContent() bool {
	status := b.response.Response.StatusCode
	return b.request.Method != http.MethodPost || b.request.Operation.State.Stored() && !b.request.Operation.RecordsID ||
		status == http.StatusNoContent || status == http.StatusResetContent
}
