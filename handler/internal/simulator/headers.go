package simulator

import (
	"net/http"
	"strconv"
	"time"
)

// RateHeaders is the form of a deployment's x-ratelimit-* headers.
type RateHeaders string

// The forms: the real values, -1/-1/0 (docs/azure-openai.md#rate-limit-headers),
// or none.
const (
	RateHeadersNormal RateHeaders = ""
	RateHeadersQuirk  RateHeaders = "quirk"
	RateHeadersNone   RateHeaders = "none"
)

// rateStatus is a deployment's limits at one instant, as headers report them.
type rateStatus struct {
	tokensLeft    int
	tokensReset   time.Duration
	requestsLeft  int
	requestsReset time.Duration
	utilization   float64
	known         bool
}

// rates reads the limits. The caller holds the deployment's lock.
func (d *deployment) rates(now time.Time, spec *Deployment) rateStatus {
	seen := rateStatus{known: true}
	seen.tokensLeft = d.TokensLeft(now, spec)
	if seen.tokensLeft <= 0 {
		seen.tokensReset = d.tokens.reopens(now, spec)
	}
	seen.requestsLeft = max(0, spec.requestsPerWindow()-d.requests.count)
	if seen.requestsLeft == 0 {
		seen.requestsReset = d.requests.since.Add(spec.requestWindow()).Sub(now)
	}
	if spec.SKU == Provisioned {
		d.bucket.drain(now)
		seen.utilization = d.bucket.utilization()
	}
	return seen
}

// prepareHeaders sets the headers of every response
// (docs/azure-openai.md#correlation-headers, #rate-limit-headers), once.
func (c *call) prepareHeaders() {
	if c.headers {
		return
	}
	c.headers = true
	h := c.w.Header()
	constantHeaders(h)
	h.Set("Apim-Request-Id", c.svc.guid(c.seq, 2))
	h.Set("X-Request-Id", c.entry.RequestID)
	h.Set("X-Ms-Region", regionName(c.res.Region))
	took := strconv.FormatInt(c.now().Sub(c.arrived).Milliseconds(), 10)
	h.Set("X-Envoy-Upstream-Service-Time", took)
	if id := c.r.Header.Get("x-ms-client-request-id"); id != "" {
		h.Set("X-Ms-Client-Request-Id", id)
	}
	if c.dep != nil {
		c.deploymentHeaders(h, took)
	}
	c.faultHeaders(h)
}

func constantHeaders(h http.Header) {
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache, must-revalidate")
	h.Set("Access-Control-Allow-Origin", "*")
}

func (c *call) deploymentHeaders(h http.Header, took string) {
	h.Set("X-Accel-Buffering", "no")
	h.Set("Openai-Processing-Ms", took)
	h.Set("X-Ms-Deployment-Name", c.spec.Name)
	h.Set("X-Ms-Served-Model", c.spec.servedModel())
	h.Set("X-Ms-Rai-Invoked", "true")
	h.Set("Azureml-Model-Session", "d008-20240215231538")
	c.spill.headers(h)
	c.rateHeaders(h)
}

// rateHeaders sets the limits, or the utilization of a provisioned deployment.
func (c *call) rateHeaders(h http.Header) {
	if c.spec.SKU == Provisioned {
		h.Set("Azure-Openai-Deployment-Utilization", utilizationText(c.rateStatus.utilization))
		return
	}
	if c.spec.RateHeaders == RateHeadersNone || !c.rateStatus.known {
		return
	}
	set := func(name string, value int) { h.Set("X-Ratelimit-"+name, strconv.Itoa(value)) }
	if c.spec.RateHeaders == RateHeadersQuirk {
		for _, what := range []string{"Requests", "Tokens"} {
			set("Limit-"+what, -1)
			set("Remaining-"+what, -1)
			set("Reset-"+what, 0)
		}
		return
	}
	if c.spec.TokensPerMinute > 0 || c.spec.RequestsPerMinute > 0 {
		h.Set("X-Ratelimit-Key", c.spec.Name)
		h.Set("X-Ratelimit-Abusepenalty-Active", "False")
	}
	if c.spec.TokensPerMinute > 0 {
		set("Limit-Tokens", c.spec.TokensPerMinute)
		set("Remaining-Tokens", c.rateStatus.tokensLeft)
		set("Reset-Tokens", resetSeconds(c.rateStatus.tokensReset))
		set("Renewalperiod-Tokens", int(tokenMinute.Seconds()))
	}
	if c.spec.RequestsPerMinute > 0 {
		set("Limit-Requests", c.spec.RequestsPerMinute)
		set("Remaining-Requests", c.rateStatus.requestsLeft)
		set("Reset-Requests", resetSeconds(c.rateStatus.requestsReset))
		set("Renewalperiod-Requests", int(c.spec.requestWindow().Seconds()))
	}
}

func resetSeconds(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	return wholeSeconds(d)
}

// writeError sends an error response.
func (c *call) writeError(apiErr *apiError) {
	c.prepareHeaders()
	apiErr = c.inAnthropicForm(apiErr)
	h := c.w.Header()
	if apiErr.withRetryAfter {
		form := RetryBoth
		if c.fault != nil {
			form = c.fault.Retry
		}
		form.setHeaders(h, apiErr.retryAfter, c.now())
		if c.spec.quirky() {
			h.Del("Retry-After")
			h.Del("retry-after-ms")
		}
	}
	c.faultHeaders(h)
	for name, value := range apiErr.header {
		h.Set(name, value)
	}
	c.update(func(e *Entry) { e.ErrorName = apiErr.name })
	c.writeResponse(apiErr.status, apiErr.contentType, []byte(apiErr.body))
}

func (d *Deployment) quirky() bool { return d.RateHeaders == RateHeadersQuirk }

// writeResponse sends a whole response. It finishes the entry before the last
// byte.
func (c *call) writeResponse(status int, contentType string, body []byte) {
	c.prepareHeaders()
	h := c.w.Header()
	switch contentType {
	case "":
		h.Set("Content-Type", "application/json")
	case "none":
		h["Content-Type"] = nil
	default:
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.recordResponse(status)
	c.finish(outcomeOf(status))
	c.w.WriteHeader(status)
	_, _ = c.out.Write(body) // it fails when the client has left
}

func (c *call) recordResponse(status int) {
	var answer http.Header
	if c.svc.journal.keepsBodies() {
		answer = c.w.Header().Clone()
	}
	c.update(func(e *Entry) { e.Status, e.ResponseHeader = status, answer })
}

func outcomeOf(status int) Outcome {
	switch {
	case status == http.StatusTooManyRequests:
		return Throttled
	case status >= http.StatusInternalServerError:
		return Failed
	case status >= http.StatusBadRequest:
		return Refused
	default:
		return Served
	}
}

// RetryForm is the form in which a response carries its wait.
type RetryForm string

// The forms. The zero form is retry-after-ms and retry-after together.
const (
	RetryBoth    RetryForm = ""
	RetryMS      RetryForm = "ms"
	RetryXMS     RetryForm = "x-ms"
	RetrySeconds RetryForm = "seconds"
	RetryDate    RetryForm = "date"
	RetryNone    RetryForm = "none"
)

var retryForms = []RetryForm{RetryBoth, RetryMS, RetryXMS, RetrySeconds, RetryDate, RetryNone}

// setHeaders sets the retry headers. Milliseconds are rounded up, so that a client
// that waits as long does not come too early.
func (f RetryForm) setHeaders(h http.Header, wait time.Duration, now time.Time) {
	ms := strconv.FormatInt((wait + time.Millisecond - 1).Milliseconds(), 10)
	whole := strconv.Itoa(wholeSeconds(wait))
	switch f {
	case RetryBoth:
		h.Set("retry-after-ms", ms)
		h.Set("Retry-After", whole)
	case RetryMS:
		h.Set("retry-after-ms", ms)
	case RetryXMS:
		h.Set("x-ms-retry-after-ms", ms)
	case RetrySeconds:
		h.Set("Retry-After", whole)
	case RetryDate:
		h.Set("Retry-After", now.Add(wait).UTC().Format(http.TimeFormat))
	case RetryNone:
	}
}
