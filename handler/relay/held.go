package relay

import (
	"errors"
	"net/http"

	"spillway/handler/health"
	"spillway/handler/operation"
	"spillway/handler/payload/walk"
)

var errTruncated = errors.New("relay: the body ends before its JSON does")

// misread reports whether the body that is held whole is not the answer it
// promised to be, and ends the matter if so.
func (b *body) misread() bool {
	if b.opaque || !served(b.answer.Response) || b.bodyless() {
		return false
	}
	if !b.delimited() {
		b.breakOff(errTruncated)
		return true
	}
	return false
}

// bodyless reports whether the answer rightly has no body.
func (b *body) bodyless() bool {
	if len(b.buf) > 0 {
		return false
	}
	status := b.answer.Response.StatusCode
	return b.request.Method == http.MethodHead || b.request.Operation.State == operation.Pinned ||
		status == http.StatusNoContent || status == http.StatusResetContent
}

// delimited reports whether the held body is one JSON value from its first
// byte to its last. What is in between is for the caller to judge.
func (b *body) delimited() bool {
	start := walk.Space(b.buf, 0)
	if start == len(b.buf) || b.buf[start] != '{' && b.buf[start] != '[' {
		return false
	}
	_, why := walk.Value(b.buf, start)
	return why != walk.Truncated
}

// closed reports whether the last byte of a body of which only the end is held
// closes a JSON value.
func (b *body) closed() bool {
	for i := len(b.buf) - 1; i >= 0; i-- {
		switch b.buf[i] {
		case ' ', '\t', '\r', '\n':
		case '}', ']':
			return true
		default:
			return false
		}
	}
	return false
}

// settle writes down what a whole answer said of itself.
func (b *body) settle() {
	b.delivery.Broken = b.gone
	b.delivery.Outcome = says(health.Served, "")
}
