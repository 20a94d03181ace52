package classify

import (
	"strconv"
	"time"

	"spillway/handler/internal/health"
)

// The Whys of answers that are the caller's own business and yet told apart.
const (
	contentFilter = "content filter"
	contextLength = "context length" // another kind of deployment may have room for the prompt
	notDeployed   = "deployment not found"
	notHeld       = "not held here" // another resource may hold what the request refers to
)

// Status is what an answer's status line says, with its headers and, of an
// answer that is no service, the beginning of its body. An answer of 200 that
// is an error in disguise is for [Body] and [Stream] to see. Header names are
// spelt as net/http spells them; now stands in for a missing Date.
//
// Why is one of: "" (a service), the status, "429 tokens|requests|capacity|
// provisioned", "redirect", "bad status", "deployment not found", "content
// filter", "context length", "not held here". An unknown path or id (any other 404) is served:
// the caller asked for it.
func Status(code int, header map[string][]string, body []byte, now time.Time, policy Policy) health.Outcome {
	o := health.Outcome{Signals: Signals(header)}
	switch {
	case code >= 200 && code < 300:
		return o
	case code >= 300 && code < 400:
		o.Class, o.Reason = health.Failed, "redirect"
		return o
	case code < 200 || code > 599:
		o.Class, o.Reason = health.Failed, "bad status"
		return o
	}
	if code == 424 {
		code = innerStatus(header, code)
	}
	p := parseErrorBody(body)
	classifier{policy: &policy, header: header, now: now}.status(&o, code, &p)
	return o
}

// innerStatus is the status behind a failed dependency, when that says something of
// the backend (facts/azure-openai.md §4).
func innerStatus(header map[string][]string, code int) int {
	for _, v := range header["Ms-Azureml-Model-Error-Statuscode"] {
		if n := parseStatus(v); n == 429 || n == 408 || n >= 500 {
			return n
		}
	}
	return code
}

// classifier is what an error is judged with.
type classifier struct {
	policy *Policy
	header map[string][]string
	now    time.Time
}

// status judges an answer with an error status.
func (j classifier) status(o *health.Outcome, code int, p *errorObject) {
	o.Reason = strconv.Itoa(code)
	cause := p.cause()
	switch {
	case code == 429:
		j.throttled(o, p)
	case code == 401 || code == 403:
		if !j.policy.CallerAuth {
			o.Class = health.Misconfigured
		}
	case isDeploymentMissing(code, p):
		o.Class, o.Reason = health.Misconfigured, notDeployed
	case cause == filteredCause:
		o.Reason = contentFilter
	case (code == 400 || code == 404) && p.isUnknownReference():
		o.Reason = notHeld
	case code == 400 && cause == tooLongCause:
		o.Reason = contextLength
	case j.policy.failing(code):
		o.Class = health.Failed
		o.RawWait, _ = waitFromHeaders(j.header, j.now)
		o.RawWait = max(o.RawWait, 0)
	}
}

// isDeploymentMissing reports whether the backend lacks the deployment, or knows its
// model by another name.
func isDeploymentMissing(code int, p *errorObject) bool {
	if code == 404 && p.code == "model_not_found" {
		return p.param == "" || p.param == "model"
	}
	return (code == 404 || code == 400) && p.isDeploymentMissing()
}

// throttled makes o an answer that asks to be left alone.
func (j classifier) throttled(o *health.Outcome, p *errorObject) {
	o.Class = health.Throttled
	o.Limit = limitKind(p, j.header, j.policy)
	o.Wait, o.RawWait = retryWaits(j.header, o.Limit, p.message, j.now, j.policy)
	o.Reason = throttleReason(o.Limit)
}

// inBandError judges an error that came with status 200. place is "in-stream" or
// "in-body". hint says that the headers spoke of a wait, which no service does
// (facts/azure-openai.md §3.3).
func (j classifier) inBandError(p *errorObject, place string, hint bool) health.Outcome {
	o := health.Outcome{Signals: Signals(j.header)}
	switch cause := p.cause(); {
	case cause == throttledCause, cause == unknownCause && hint:
		j.throttled(&o, p)
		o.Reason = place + " 429"
	case cause == misconfiguredCause && (p.isDeploymentMissing() || !j.policy.CallerAuth):
		o.Class, o.Reason = health.Misconfigured, place+" misconfigured"
	case cause == filteredCause:
		o.Reason = contentFilter
	case cause == tooLongCause:
		o.Reason = contextLength
	case cause == callerCause, cause == misconfiguredCause:
		o.Reason = place + " client error"
	default:
		o.Class, o.Reason = health.Failed, place+" error"
	}
	return o
}
