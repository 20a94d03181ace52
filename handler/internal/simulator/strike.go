package simulator

import (
	"net/http"
	"time"
)

// matchFaults finds what is to become of the request: slowness adds up, the
// deciding fault is kept.
func (c *call) matchFaults() {
	q := faultTarget{deployment: c.entry.Deployment, operation: c.route.operation, stream: c.request.Stream, now: c.arrived}
	for _, f := range c.svc.faults.match(c.res.Name, q, false) {
		c.update(func(e *Entry) { e.Fault = f.Action })
		c.latency += f.Latency
		if actions[f.Action] != actionDelays {
			c.fault = &f
			return
		}
		if f.Factor > 0 {
			c.factor *= f.Factor
		}
		c.addHeaders(f)
	}
}

func (c *call) addHeaders(f Fault) {
	for name, value := range f.Header {
		c.w.Header().Set(name, value)
	}
}

// faultHeaders lets the deciding fault have the last word on headers.
func (c *call) faultHeaders(h http.Header) {
	if c.fault == nil {
		return
	}
	c.addHeaders(*c.fault)
	if c.fault.RetryRaw != nil {
		h["Retry-After"] = c.fault.RetryRaw
	}
	if c.fault.DateSkew != 0 {
		h.Set("Date", c.now().Add(c.fault.DateSkew).UTC().Format(http.TimeFormat))
	}
}

// applyFault does what the fault says and tells whether that was the answer.
func (c *call) applyFault() bool {
	if k := actions[c.fault.Action]; k != actionResponds && k != actionBreaksConn {
		return false
	}
	if c.dep != nil {
		c.countRequest()
	}
	if !c.sleep(c.latency) {
		c.clientDisconnected()
		return true
	}
	if actions[c.fault.Action] == actionBreaksConn {
		c.breakTransport()
		return true
	}
	no := c.faultResponse(c.fault)
	family, ok := c.requiredCapability()
	if ok && family != "" && c.canSpill(no) && c.checkRequest() == nil && c.spillOver(family, no) == nil {
		c.fault = nil
		c.serveOperation()
		return true
	}
	c.writeError(no)
	return true
}

// faultResponse spells out an answering fault.
func (c *call) faultResponse(f *Fault) *apiError {
	if f.Action == "status" {
		return &apiError{
			name: f.Action, status: f.Status, body: f.Body, contentType: f.ContentType,
			retryAfter: f.RetryAfter, withRetryAfter: f.RetryAfter > 0,
		}
	}
	if no := c.throttleResponse(f); no != nil {
		return no
	}
	no := c.clientErrorResponse(f.Action)
	if no == nil {
		no = serverError(f.Action, c.entry.RequestID)
	}
	if no == nil {
		no = malformedResponse(f.Action)
	}
	if f.RetryAfter > 0 && f.For == 0 {
		no.retryAfter, no.withRetryAfter = f.RetryAfter, true
	}
	return no
}

// throttleResponse is nil when the action is no 429. A wait is hinted unless the
// fault's form is RetryNone; the capture's 60 s stands in for none given.
func (c *call) throttleResponse(f *Fault) *apiError {
	t := c.newThrottle(f.RetryAfter)
	if f.RetryAfter <= 0 {
		t.retryAfter = time.Minute
		t.withRetryAfter = f.RetryRaw == nil
	}
	switch f.Action {
	case "429":
		if c.spec.SKU == Provisioned {
			return t.provisioned()
		}
		return t.forLimit("token")
	case "429-token":
		return t.classic("token")
	case "429-call":
		return t.classic("call")
	case "429-2025":
		return t.regional()
	case "429-short":
		return t.short()
	case "429-capacity":
		return t.capacity("429")
	case "429-nocapacity":
		return t.capacity("NoCapacity")
	case "429-v1":
		return t.v1()
	case "429-ptu":
		return t.provisioned()
	case "429-flex":
		return t.flex()
	case "429-empty":
		return t.apiError("429-empty", "")
	default:
		return nil
	}
}

// clientErrorResponse is nil when the action is no other 4xx.
func (c *call) clientErrorResponse(action string) *apiError {
	switch action {
	case "401-key":
		return invalidKey()
	case "401-token":
		return invalidToken()
	case "401-permission":
		return permissionDenied(c.route)
	case "403-permission":
		no := permissionDenied(c.route)
		no.name, no.status = "403-permission", http.StatusForbidden
		return no
	case "403-network":
		return networkDenied()
	case "403-private":
		return publicAccessDisabled()
	case "403-keys-disabled":
		return keyAuthDisabled()
	case "403-blocked":
		return resourceBlocked()
	case "404-deployment":
		return deploymentNotFound(c.route)
	case "404-resource":
		return resourceNotFound()
	case "400-context":
		return contextLengthExceeded(8192, 9001)
	case "400-filter":
		return promptFiltered()
	case "400-invalid":
		return invalidRequest("Invalid value for 'temperature'.", "temperature", "")
	case "400-version":
		return versionNotSupported()
	case "400-model":
		return operationNotSupported("responses", c.spec.Model)
	default:
		return otherClientError(action)
	}
}
