package relay

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/overload"
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
	grown        int64  // how much larger buf became
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

// mayBeStream reports whether a stream can be the answer: not to a request for one
// piece.
func (d *writer) mayBeStream() bool {
	return d.request.Parsed.Stream || d.request.Method != http.MethodPost || d.request.Operation.Answer() == ""
}

// wantsStream reports whether only a stream can be the answer.
func (d *writer) wantsStream() bool {
	return d.request.Parsed.Stream && d.request.Operation.Answer() != ""
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
	b.request.Memory.Charge(int64(size))
	defer func() { b.request.Memory.Shrink(int64(size) + b.grown) }()
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
	if why := b.headFault(media); why != "" {
		b.refuse(why)
		return
	}
	switch err := b.fillToRead(); {
	case err == nil && successful(res) && b.isNoAnswer():
		b.refuse("no answer")
	case err == nil:
		b.deliverLong()
	case !errors.Is(err, io.EOF):
		b.breakOff(err)
	case len(b.buf) == 0 && successful(res) && strings.HasPrefix(media, "audio/") && !b.withoutContent():
		b.refuse("empty body")
	case b.rejectInvalid():
	default:
		b.deliverWhole()
	}
}

// deliverWhole sends a body that was read to its end.
func (b *buffered) deliverWhole() {
	if !b.opaque {
		b.reportCreated(b.buf)
		b.recordStored()
	}
	b.completeError()
	switch {
	case !b.commit(b.length()):
	case b.started:
		b.sendAsEvent()
	default:
		b.report.FirstToken = time.Now()
		b.write(b.buf)
	}
}

// recordStored records what a stored response says of itself.
func (b *buffered) recordStored() {
	if b.request.Operation.Name == "response" && successful(b.response.Response) {
		answer, _ := classify.Body(b.buf, b.response.Response.Header, time.Now(), b.policy(), "")
		b.recordAnswer(&answer)
	}
}

// sendAsEvent ends a stream of which only the status line was sent with the error that
// the body is.
func (b *buffered) sendAsEvent() {
	b.send(classify.ErrorEventOf(b.request.Operation.Dialect, b.buf), time.Now())
	b.report.Broken = true
}

// isNoAnswer reports whether a body that is longer than the buffer cannot be an
// answer.
func (b *buffered) isNoAnswer() bool {
	if b.opaque || b.withoutContent() || b.request.Operation.Answer() == "" {
		return false
	}
	return b.wantsStream() || !bytes.HasPrefix(bytes.TrimLeft(b.buf, " \t\r\n"), []byte("{"))
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

// fillToRead is fill, with as much memory as an answer needs that may hold ids, or
// becomes a stream.
func (b *buffered) fillToRead() error {
	err := b.fill()
	if b.response.Hooks.Created == nil && !b.wantsStream() || b.opaque || !successful(b.response.Response) {
		return err
	}
	for err == nil && len(b.buf) < maxRead {
		if err = b.request.Memory.Grow(int64(cap(b.buf))); err != nil {
			return err
		}
		b.grown += int64(cap(b.buf))
		b.buf = append(make([]byte, 0, 2*cap(b.buf)), b.buf...)
		err = b.fill()
	}
	if err == nil && !b.wantsStream() {
		b.reportCreated(b.buf)
	}
	return err
}

// headFault is what is wrong with the status and the media type, "" when nothing is:
// a success without content, HTML of a captive portal, or text where JSON is due.
func (b *buffered) headFault(media string) string {
	op, res := &b.request.Operation, b.response.Response
	isJSONDue := op.Dialect != operations.Plain || op.Answer() != ""
	switch {
	case !successful(res) || op.State.Stored():
		return ""
	case b.request.Method == http.MethodPost && withoutAnswer(res.StatusCode):
		return strconv.Itoa(res.StatusCode)
	case encoded(res.Header):
		return ""
	case media == "text/html", isJSONDue && media != "" && !isJSON(media):
		return "content type"
	}
	return ""
}

// withoutAnswer reports whether a status says that there is no answer, or only a part
// of one.
func withoutAnswer(status int) bool {
	return status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusPartialContent
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
	if b.started {
		b.sendAsEvent()
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
	readable := !b.opaque && successful(b.response.Response) && !b.request.Operation.State.Stored()
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

// breakOff ends an incomplete body.
func (b *buffered) breakOff(err error) {
	b.report.Broken = b.report.Committed
	switch {
	case errors.Is(err, overload.ErrOverloaded):
		b.overloaded()
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
	want := b.request.Operation.Answer()
	answer, o, findUsage := b.readAnswer(want)
	if o.Reason == "not JSON" && classify.HasInvalidText(b.buf, want) {
		answer.Usage, answer.HasUsage = findUsage(b.buf)
		o = outcome(health.Served, "")
	}
	b.recordAnswer(&answer)
	switch {
	case o.Class != health.Served, o.Reason != "":
		b.refuseError(&o, b.buf)
	case b.wantsStream():
		b.deliverUnfolded()
	default:
		return false
	}
	return true
}

// readAnswer reads the body as what the operation answers, and returns what finds the
// usage in one that is not quite JSON.
func (b *buffered) readAnswer(want string) (classify.ResponseInfo, health.Outcome, func([]byte) (usage.Tokens, bool)) {
	h := b.response.Response.Header
	if b.request.Operation.Dialect == operations.Messages {
		answer, o := classify.Message(b.buf, h, time.Now(), b.policy())
		return answer, o, usage.FindLastMessages
	}
	answer, o := classify.Body(b.buf, h, time.Now(), b.policy(), want)
	return answer, o, usage.FindLast
}

// withoutContent reports whether there is no body, or none that was generated now: a
// stored response may be an error of long ago.
func (b *buffered) withoutContent() bool {
	status := b.response.Response.StatusCode
	return b.request.Method != http.MethodPost || b.request.Operation.State.Stored() && !b.request.Operation.RecordsID ||
		status == http.StatusNoContent || status == http.StatusResetContent
}
