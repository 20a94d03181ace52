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
	tailKept   = 8 << 10  // how much of one that is longer is looked at for its usage
	headKept   = 16
)

// body is an answer in one piece on its way. It is held until it is whole, so
// that one that breaks off, or is an error with a friendly status, costs the
// caller nothing; but never more of it than bodyBuffer, and nothing of what is
// not JSON: sound is worth hearing from its beginning.
type body struct {
	carriage
	buf    []byte
	head   []byte // the first bytes of an answer that is longer than buf
	opaque bool   // not JSON: nothing can be read out of it
	timer  *time.Timer
	silent atomic.Bool // given up for its silence
}

// isStream reports whether the answer is events that can be read.
func (c *carriage) isStream() bool {
	res := c.answer.Response
	return served(res) && mediaType(res.Header) == "text/event-stream" && !encoded(res.Header)
}

func served(res *http.Response) bool { return res.StatusCode < http.StatusMultipleChoices }

func encoded(h http.Header) bool {
	e := h.Get("Content-Encoding")
	return e != "" && !strings.EqualFold(e, "identity")
}

// carry takes the answer to its end.
func (b *body) carry() proxy.Delivery {
	pool, size := b.home(b.answer.Response.ContentLength)
	held, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, size)
		held = &fresh
	}
	defer pool.Put(held)
	b.buf = (*held)[:0]
	b.delivery.Outcome = says(health.Served, "")
	if idle := b.idle(); idle > 0 {
		b.timer = time.AfterFunc(idle, b.tick)
		defer b.timer.Stop()
	}
	b.deliver()
	return b.delivery
}

// home is where memory for an answer of this length comes from. There is
// always room for one byte more, so that its end is met.
func (c *carriage) home(length int64) (*sync.Pool, int) {
	if length >= 0 && length < streamBuffer {
		return &c.streams, streamBuffer
	}
	return &c.bodies, bodyBuffer
}

// deliver holds the answer, looks at it, and lets it go.
func (b *body) deliver() {
	res := b.answer.Response
	media := mediaType(res.Header)
	b.opaque = encoded(res.Header) || served(res) && !isJSON(media) && media != ""
	if why := b.misfit(media); why != "" {
		b.refuse(says(health.Failed, why))
		return
	}
	switch err := b.fill(); {
	case err == nil:
		b.long()
	case !errors.Is(err, io.EOF):
		b.breakOff(err)
	case b.misread():
	case b.commit(b.length()):
		b.delivery.FirstToken = time.Now()
		b.tell()
		b.write(b.buf)
	}
}

// misfit is what is wrong with an answer of this media type, before a byte of
// it is read: a captive page, or prose where JSON was due.
func (b *body) misfit(media string) string {
	op := &b.request.Operation
	switch {
	case !served(b.answer.Response) || op.State.Stored() || encoded(b.answer.Response.Header):
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
func (b *body) fill() error {
	for len(b.buf) < cap(b.buf) {
		n, err := b.read(b.buf[len(b.buf):cap(b.buf)])
		b.buf = b.buf[:len(b.buf)+n]
		if err != nil || b.opaque && n > 0 {
			return err
		}
	}
	return nil
}

func (b *body) read(p []byte) (int, error) {
	n, err := b.answer.Response.Body.Read(p)
	if b.timer != nil {
		b.timer.Reset(b.idle())
	}
	return n, err
}

// tick steps in when the timer runs out: the backend is silent, unless it is
// the caller that takes nothing.
func (b *body) tick() {
	if atomic.LoadInt64(&b.busy) != 0 {
		b.stuck(time.Now())
		b.timer.Reset(stallCheck)
		return
	}
	b.silent.Store(true)
	b.answer.Cancel(errIdle)
}

// length is what the caller is told: what is held, which is all there is.
func (b *body) length() int64 {
	switch res := b.answer.Response; {
	case b.request.Method == http.MethodHead:
		return res.ContentLength
	case res.StatusCode == http.StatusNoContent, res.StatusCode == http.StatusNotModified:
		return -1
	}
	return int64(len(b.buf))
}

// long carries an answer that was not held whole. The last of what was sent is
// kept in front of what comes next: that is where a body says its usage.
func (b *body) long() {
	if !b.commit(b.answer.Response.ContentLength) {
		return
	}
	b.delivery.FirstToken = time.Now()
	if b.request.Operation.Learns && !b.opaque {
		answer := classify.Head(b.buf)
		b.learned(&answer)
		b.tell()
	}
	b.head = bytes.Clone(b.buf[:min(len(b.buf), headKept)])
	b.pass(b.buf)
	for {
		kept := 0
		if !b.opaque {
			kept = copy(b.buf, b.buf[max(0, len(b.buf)-tailKept):])
		}
		b.buf = b.buf[:kept]
		err := b.fill()
		b.pass(b.buf[kept:])
		if err != nil || b.gone {
			b.endLong(err)
			return
		}
	}
}

// endLong ends an answer that was not held whole.
func (b *body) endLong(err error) {
	readable := !b.opaque && served(b.answer.Response)
	switch {
	case b.gone, !errors.Is(err, io.EOF):
		b.breakOff(err)
	case readable && !classify.Enclosed(b.head, b.buf):
		b.breakOff(errTruncated)
	case readable:
		b.delivery.Usage, _ = usage.Tail(b.buf)
	}
}

// pass gives bytes to the caller; those of sound at once.
func (b *body) pass(p []byte) {
	if b.opaque {
		b.send(p, time.Now())
		return
	}
	b.write(p)
}

// refuse ends the matter before anything was sent.
func (b *body) refuse(o health.Outcome) {
	b.delivery.Outcome = o
	b.answer.Cancel(errRefused)
}

// breakOff ends an answer that is not whole.
func (b *body) breakOff(err error) {
	b.delivery.Broken = b.delivery.Committed
	switch {
	case b.silent.Load():
		b.delivery.Outcome = says(health.Failed, broken(errIdle))
	case b.abandoned():
		b.delivery.Outcome = says(health.Abandoned, "caller left")
	default:
		b.delivery.Outcome = says(health.Failed, broken(err))
	}
}
