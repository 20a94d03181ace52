package relay

import (
	"errors"
	"net/http"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/usage"
)

var errTruncated = errors.New("relay: the body ends before its JSON does")

// rejectInvalid reports whether the body that is held whole is not the answer it
// promised to be, and ends the matter if so. On the way it learns what the
// answer says of itself.
func (b *buffered) rejectInvalid() bool {
	if b.opaque || !successful(b.response.Response) || b.withoutContent() {
		return false
	}
	answer, o := classify.Body(b.buf, b.response.Response.Header, time.Now(), b.policy())
	if o.Why == "not JSON" && (b.buf[0] == '{' || b.buf[0] == '[') {
		// An odd character in a complete answer is for the caller to judge.
		answer.Usage, answer.Metered = usage.Tail(b.buf)
		o = outcome(health.Served, "")
	}
	b.recordAnswer(&answer)
	if o.Verdict == health.Served {
		return false
	}
	b.refuse(o)
	return true
}

// withoutContent reports whether the body is none, or none that was generated: what
// is stored may well be an error of long ago.
func (b *buffered) withoutContent() bool {
	status := b.response.Response.StatusCode
	return b.request.Method != http.MethodPost || b.request.Operation.State.Stored() && !b.request.Operation.Learns ||
		status == http.StatusNoContent || status == http.StatusResetContent
}
