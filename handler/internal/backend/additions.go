package backend

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// additions is what is added to a request for a backend, which must not be why it
// refuses it (docs/azure-openai.md#fields-that-spillway-adds). The zero additions is
// nothing.
type additions struct {
	usage bool          // a request for the usage chunk
	bound request.Bound // of the answer
}

// without is what remains of the additions after an outcome that may be a refusal of
// one: all, where it is none. text is what was read of the error.
func (a additions) without(o *health.Outcome, text []byte) additions {
	switch {
	case a.usage && mayRefuseUsage(o, text):
		a.usage = false
	case a.bound.Tokens > 0 && refusesBound(o, text):
		a.bound = otherBound(a.bound, o, text)
	}
	return a
}

// mayRefuseUsage reports whether an error may be a refusal of stream_options: one that
// names it, whatever its status, since gateways give errors of the services behind them
// others; and a mistake that names no other parameter. It errs on the side of true,
// which costs one repetition.
func mayRefuseUsage(o *health.Outcome, text []byte) bool {
	switch {
	case o.Class == health.Throttled, o.Reason == proxy.ContentFilter, o.Status == http.StatusRequestTimeout, o.Status == http.StatusGatewayTimeout:
		return false
	case bytes.Contains(text, []byte("stream_options")) || bytes.Contains(text, []byte("include_usage")):
		return true
	}
	isMistake := o.Status == http.StatusBadRequest || o.Status == http.StatusUnprocessableEntity
	return isMistake && o.Reason == strconv.Itoa(o.Status) && !bytes.Contains(bytes.ReplaceAll(text, []byte(" "), nil), []byte(`"param":"`))
}

// refusesBound reports whether a mistake is about a bound of the answer.
func refusesBound(o *health.Outcome, text []byte) bool {
	if o.Class != health.Served || o.Reason == proxy.ContentFilter {
		return false
	}
	return o.Reason == proxy.ContextLength || slices.ContainsFunc(boundNames, func(name string) bool { return bytes.Contains(text, []byte(name)) })
}

// boundNames are how errors name a bound.
var boundNames = []string{"max_completion_tokens", "max_tokens", "max_output_tokens", "maximum tokens"}

// tooLarge is how errors say that a bound is more than the backend's own, in lower case.
var tooLarge = []string{"too large", "at most", "less than or equal", "above maximum", "maximum allowed", "exceed"}

// otherBound is what a backend may take that refused a bound: none, if its own is lower,
// or the older member, which compatible servers know.
func otherBound(bound request.Bound, o *health.Outcome, text []byte) request.Bound {
	text = bytes.ToLower(text)
	named := func(words string) bool { return bytes.Contains(text, []byte(words)) }
	if o.Reason == proxy.ContextLength || slices.ContainsFunc(tooLarge, named) {
		return request.Bound{}
	}
	if bound.Member == request.MaxCompletionTokens {
		bound.Member = request.MaxTokens
	}
	return bound
}
