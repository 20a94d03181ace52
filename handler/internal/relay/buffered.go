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
	bodyBuffer = 64 << 10 // how much of an answer in one piece is held until it is whole
	usageTail  = 8 << 10  // how much of one that is longer is looked at for its usage
	headSize   = 16
)

// buffered is an answer in one piece on its way. It is held until it is whole, so
// that one that breaks off, or is an error with a friendly status, costs the
// caller nothing; but never more of it than bodyBuffer, and nothing of what is
// not JSON: sound is worth hearing from its beginning.
type buffered struct {
	delivery
	buf          []byte
	head         []byte // the first bytes of an answer that is longer than buf
	opaque       bool   // not JSON: nothing can be read out of it
	timer        *time.Timer
	idleTimedOut atomic.Bool // given up for its silence
}

// isStream reports whether the answer is events that can be read.
func (c *delivery) isStream() bool {
	res := c.response.Response
	return successful(res) && mediaType(res.Header) == "text/event-stream" && !encoded(res.Header)
}

func successful(res *http.Response) bool { return res.StatusCode < http.StatusMultipleChoices }

func encoded(h http.Header) bool {
	e := h.Get("Content-Encoding")
	return e != "" && !strings.EqualFold(e, "identity")
}

// run takes the answer to its end.
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

// bufferPool is where memory for an answer of this length comes from. There is
// always room for one byte more, so that its end is met.
func (c *delivery) bufferPool(length int64) (*sync.Pool, int) {
	if length >= 0 && length < streamBuffer {
		return &c.streams, streamBuffer
	}
	return &c.bodies, bodyBuffer
}

// process holds the answer, looks at it, and lets it go.
func (b *buffered) process() {
	res := b.response.Response
	media := mediaType(res.Header)
	b.opaque = encoded(res.Header) || successful(res) && !isJSON(media) && media != ""
	if why := b.mediaTypeFault(media); why != "" {
		b.refuse(outcome(health.Failed, why))
		return
	}
	switch err := b.fill(); {
	case err == nil:
		b.deliverLong()
	case !errors.Is(err, io.EOF):
		b.breakOff(err)
	case b.rejectInvalid():
	case b.commit(b.length()):
		b.report.FirstToken = time.Now()
		b.reportIDs()
		b.write(b.buf)
	}
}

// mediaTypeFault is what is wrong with an answer of this media type, before a byte of
// it is read: a captive page, or prose where JSON was due.
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

// fill reads until the buffer is full (nil), the answer ends (io.EOF) or
// breaks. Of an answer that cannot be read it takes only what comes first.
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

// tick steps in when the timer runs out: the backend is silent, unless it is
// the caller that takes nothing.
func (b *buffered) tick() {
	if atomic.LoadInt64(&b.writingSince) != 0 {
		b.cutStalledCaller(time.Now())
		b.timer.Reset(stallCheck)
		return
	}
	b.idleTimedOut.Store(true)
	b.response.Cancel(errIdle)
}

// length is what the caller is told: what is held, which is all there is.
func (b *buffered) length() int64 {
	switch res := b.response.Response; {
	case b.request.Method == http.MethodHead:
		return res.ContentLength
	case res.StatusCode == http.StatusNoContent, res.StatusCode == http.StatusNotModified:
		return -1
	}
	return int64(len(b.buf))
}

// deliverLong carries an answer that was not held whole. The last of what was sent is
// kept in front of what comes next: that is where a body says its usage.
func (b *buffered) deliverLong() {
	if !b.commit(b.response.Response.ContentLength) {
		return
	}
	b.report.FirstToken = time.Now()
	if b.request.Operation.RecordsID && !b.opaque {
		answer := classify.BodyPrefix(b.buf)
		b.recordAnswer(&answer)
		b.reportIDs()
	}
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

// endLong ends an answer that was not held whole.
func (b *buffered) endLong(err error) {
	readable := !b.opaque && successful(b.response.Response)
	switch {
	case b.callerLeft, !errors.Is(err, io.EOF):
		b.breakOff(err)
	case readable && !classify.LooksComplete(b.head, b.buf):
		b.breakOff(errTruncated)
	case readable:
		b.report.Usage, _ = usage.FindLast(b.buf)
	}
}

// forward gives bytes to the caller; those of sound at once.
func (b *buffered) forward(p []byte) {
	if b.opaque {
		b.send(p, time.Now())
		return
	}
	b.write(p)
}

// refuse ends the matter before anything was sent.
func (b *buffered) refuse(o health.Outcome) {
	b.report.Outcome = o
	b.response.Cancel(errRefused)
}

// breakOff ends an answer that is not whole.
func (b *buffered) breakOff(err error) {
	b.report.Broken = b.report.Committed
	switch {
	case b.idleTimedOut.Load():
		b.report.Outcome = outcome(health.Failed, breakReason(errIdle))
	case b.abandoned():
		b.report.Outcome = outcome(health.Abandoned, "caller left")
	default:
		b.report.Outcome = outcome(health.Failed, breakReason(err))
	}
}

var errTruncated = errors.New("relay: the body ends before its JSON does")

// rejectInvalid reports whether the body that is held whole is not the answer it
// promised to be, and ends the matter if so. On the way it learns what the
// answer says of itself.
func (b *buffered) rejectInvalid() bool {
	if b.opaque || !successful(b.response.Response) || b.withoutContent() {
		return false
	}
	answer, o := classify.Body(b.buf, b.response.Response.Header, time.Now(), b.policy())
	if o.Reason == "not JSON" && (b.buf[0] == '{' || b.buf[0] == '[') {
		// An odd character in a complete answer is for the caller to judge.
		answer.Usage, answer.HasUsage = usage.FindLast(b.buf)
		o = outcome(health.Served, "")
	}
	b.recordAnswer(&answer)
	if o.Class == health.Served {
		return false
	}
	b.refuse(o)
	return true
}

// withoutContent reports whether the body is none, or none that was generated: what
// is stored may well be an error of long ago.
func (b *buffered) withoutContent() bool {
	status := b.response.Response.StatusCode
	return b.request.Method != http.MethodPost || b.request.Operation.State.Stored() && !b.request.Operation.RecordsID ||
		status == http.StatusNoContent || status == http.StatusResetContent
}
