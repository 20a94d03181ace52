// Package classify derives from Azure OpenAI's answers what they mean for a
// backend: which are its fault, which are the caller's, which ask for a pause
// and for how long. It reads status lines, headers, bodies and the events of
// streams; the result is a [health.Outcome].
//
// Texts decide only where codes do not, because they change; an event that is
// not understood is passed on as it is.
//
// It does no I/O and takes no action on an outcome.
package classify

import (
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/health"
)

// Policy is how answers of one backend are classified. The zero Policy is the
// default of every setting.
type Policy struct {
	DefaultWait time.Duration // of a 429 that names no wait; 0 = 10 s
	MaxWait     time.Duration // no wait is longer; 0 = 5 min
	IgnoreWaits bool          // every wait is DefaultWait, whatever the answer names
	Provisioned bool          // the backend is a provisioned deployment: its waits are exact
	CallerAuth  bool          // the caller's own credential was sent: a 401 or 403 is about that, not about the backend
	NamesObject bool          // the path names a stored object: a 404 may be about that
}

func (p *Policy) defaultWait() time.Duration {
	if p.DefaultWait > 0 {
		return min(p.DefaultWait, p.maxWait())
	}
	return min(10*time.Second, p.maxWait())
}

func (p *Policy) maxWait() time.Duration {
	if p.MaxWait > 0 {
		return p.MaxWait
	}
	return 5 * time.Minute
}

// The Reasons of answers that are the caller's fault and treated apart.
const (
	contentFilter = "content filter"
	contextLength = "context length" // another kind of deployment may take the prompt
	notDeployed   = "deployment not found"
	notHeld       = "not held here" // another resource may hold what the request refers to
	notSupported  = "operation not supported"
	retired       = "retired"
)

// OutOfQuota is the Reason of an answer that says, with whatever status, that the
// subscription pays for no more, as a 402 does.
const OutOfQuota = "out of quota"

// Status classifies an answer by its status, its headers and, of an error, the
// beginning of its body. An answer of 200 that holds an error is for [Body] and
// [Stream] to find. Header names are in net/http's canonical form; now replaces
// a missing Date.
//
// Reason is one of: "" (served), the status, "429
// tokens|requests|capacity|provisioned", "redirect", "bad status", "deployment
// not found", "operation not supported", "retired", "content filter", "context
// length", "not held here", [OutOfQuota]. Any other 404 is served: the caller asked
// for it.
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
	e := parseErrorBody(body)
	classifier{policy: &policy, header: header, now: now}.status(&o, code, &e)
	return o
}

// innerStatus is the status behind a failed dependency, when it concerns the
// backend (docs/azure-openai.md#errors).
func innerStatus(header map[string][]string, code int) int {
	for _, v := range header["Ms-Azureml-Model-Error-Statuscode"] {
		if n := parseStatus(v); n == 429 || n == 408 || n >= 500 {
			return n
		}
	}
	return code
}

// classifier is what an error is classified with.
type classifier struct {
	policy *Policy
	header map[string][]string
	now    time.Time
}

// status classifies an answer with an error status.
func (c classifier) status(o *health.Outcome, code int, e *errorObject) {
	o.Reason = strconv.Itoa(code)
	cause := e.cause()
	switch {
	case code == 429:
		c.throttled(o, e)
	case code == 401 || code == 403:
		if !c.policy.CallerAuth {
			o.Class = health.Misconfigured
		}
	case code == 402:
		o.Class = health.Misconfigured
	case cause == filteredCause:
		o.Reason = contentFilter
	case (code == 400 || code == 404) && e.isUnknownReference():
		o.Reason = notHeld
	case code == 400 && cause == tooLongCause:
		o.Reason = contextLength
	case code >= 500 || code == 408:
		wait, _ := waitFromHeaders(c.header, c.now)
		o.Class, o.RawWait = health.Failed, max(wait, 0)
	default:
		if fact := c.fact(code, e); fact != "" {
			o.Class, o.Reason = health.Misconfigured, fact
		}
	}
}

// fact is what an answer with a status of the caller's says about the backend; "" =
// nothing. What is no JSON object was written by a server in front of the service,
// which judges its own configuration, or the request, as another one would not.
func (c classifier) fact(code int, e *errorObject) string {
	fact := e.backendFact(code)
	switch {
	case fact != "":
		return fact
	case e.saysOutOfQuota():
		return OutOfQuota
	case code == 404 && e.code == "resourcenotfound" && !c.policy.NamesObject:
		return notSupported
	case e.opaque, OfServerBetween(code):
		return strconv.Itoa(code)
	}
	return ""
}

// throttled makes o a throttle.
func (c classifier) throttled(o *health.Outcome, e *errorObject) {
	o.Class = health.Throttled
	o.Limit = limitKind(e, c.header, c.policy)
	o.Wait, o.RawWait = retryWaits(c.header, o.Limit, e.message, c.now, c.policy)
	o.Reason = throttleReason(o.Limit)
}

// inBandError classifies an error that came with status 200. source is
// "in-stream" or "in-body". hint is that the headers name a wait, which those
// of a served answer do not (docs/azure-openai.md#429-inside-a-stream).
func (c classifier) inBandError(e *errorObject, source string, hint bool) health.Outcome {
	o := health.Outcome{Signals: Signals(c.header)}
	switch cause := e.cause(); {
	case cause == throttledCause, cause == unknownCause && hint:
		c.throttled(&o, e)
		o.Reason = source + " 429"
	case cause == misconfiguredCause && (e.backendFact(e.status) != "" || !c.policy.CallerAuth):
		o.Class, o.Reason = health.Misconfigured, source+" misconfigured"
	case cause == filteredCause:
		o.Reason = contentFilter
	case cause == tooLongCause:
		o.Reason = contextLength
	case cause == callerCause, cause == misconfiguredCause:
		o.Reason = source + " client error"
	default:
		o.Class, o.Reason = health.Failed, source+" error"
	}
	return o
}

// limitKind is the limit that a throttled answer is about: by what the backend
// is, by codes and headers, by the text only when those do not tell.
func limitKind(e *errorObject, header map[string][]string, policy *Policy) health.LimitKind {
	if policy.Provisioned || len(header["Azure-Openai-Deployment-Utilization"]) > 0 {
		return health.LimitProvisioned
	}
	switch {
	case e.code == "nocapacity", e.code == "no_capacity":
		return health.LimitCapacity
	case e.errorType == "tokens":
		return health.LimitTokens
	case e.errorType == "requests":
		return health.LimitRequests
	}
	if k := limitKindOfSignals(Signals(header)); k != health.LimitUnknown {
		return k
	}
	return limitKindOfText(strings.ToLower(e.message))
}

// limitKindOfSignals finds the one limit that is used up while the other is
// not.
func limitKindOfSignals(s health.Signals) health.LimitKind {
	switch {
	case s.RemainingTokens == 0 && s.RemainingRequests > 0:
		return health.LimitTokens
	case s.RemainingRequests == 0 && s.RemainingTokens > 0:
		return health.LimitRequests
	}
	return health.LimitUnknown
}

// limitKindOfText knows the messages of docs/azure-openai.md#429-bodies.
func limitKindOfText(message string) health.LimitKind {
	switch {
	case strings.Contains(message, "token rate limit"), strings.Contains(message, "tokens per min"):
		return health.LimitTokens
	case strings.Contains(message, "call rate limit"), strings.Contains(message, "request rate limit"), strings.Contains(message, "requests per min"):
		return health.LimitRequests
	}
	for _, phrase := range []string{"high demand", "temporarily unable", "peak load", "capacity"} {
		if strings.Contains(message, phrase) {
			return health.LimitCapacity
		}
	}
	return health.LimitUnknown
}

// throttleReason is the Reason of a 429.
func throttleReason(k health.LimitKind) string {
	switch k {
	case health.LimitTokens:
		return "429 tokens"
	case health.LimitRequests:
		return "429 requests"
	case health.LimitCapacity:
		return "429 capacity"
	case health.LimitProvisioned:
		return "429 provisioned"
	case health.LimitUnknown:
	}
	return "429"
}
