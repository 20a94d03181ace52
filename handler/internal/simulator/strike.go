package simulator

import (
	"net/http"
	"time"
)

// meetFaults finds what is to become of the request: slowness adds up, the
// deciding fault is kept.
func (c *call) meetFaults() {
	q := quarry{deployment: c.entry.Deployment, operation: c.route.operation, stream: c.ask.Stream, now: c.arrived}
	for _, f := range c.svc.faults.strike(c.res.Name, q, false) {
		c.note(func(e *Entry) { e.Fault = f.Action })
		c.latency += f.Latency
		if actions[f.Action] != kindSlow {
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

// strike does what the fault says and tells whether that was the answer.
func (c *call) strike() bool {
	if k := actions[c.fault.Action]; k != kindAnswer && k != kindTransport {
		return false
	}
	if c.dep != nil {
		c.countRequest()
	}
	if !c.sleep(c.latency) {
		c.left()
		return true
	}
	if actions[c.fault.Action] == kindTransport {
		c.breakTransport()
		return true
	}
	no := c.faultAnswer(c.fault)
	family, ok := c.operationFamily()
	if ok && family != "" && c.mayspill(no) && c.doorkeeper() == nil && c.spillOver(family, no) == nil {
		c.fault = nil
		c.operate()
		return true
	}
	c.refuse(no)
	return true
}

// faultAnswer spells out an answering fault.
func (c *call) faultAnswer(f *Fault) *refusal {
	if f.Action == "status" {
		return &refusal{
			name: f.Action, status: f.Status, body: f.Body, contentType: f.ContentType,
			wait: f.RetryAfter, hinted: f.RetryAfter > 0,
		}
	}
	if no := c.throttleAnswer(f); no != nil {
		return no
	}
	no := c.clientAnswer(f.Action)
	if no == nil {
		no = serverAnswer(f.Action, c.entry.RequestID)
	}
	if no == nil {
		no = spoiltAnswer(f.Action)
	}
	if f.RetryAfter > 0 && f.For == 0 {
		no.wait, no.hinted = f.RetryAfter, true
	}
	return no
}

// throttleAnswer is nil when the action is no 429. A wait is hinted unless the
// fault's form is RetryNone; the capture's 60 s stands in for none given.
func (c *call) throttleAnswer(f *Fault) *refusal {
	t := c.throttled(f.RetryAfter)
	if f.RetryAfter <= 0 {
		t.wait = time.Minute
		t.hinted = f.RetryRaw == nil
	}
	switch f.Action {
	case "429":
		if c.spec.SKU == Provisioned {
			return t.provisioned()
		}
		return t.of("token")
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
		return t.refusal("429-empty", "")
	default:
		return nil
	}
}

// clientAnswer is nil when the action is no other 4xx.
func (c *call) clientAnswer(action string) *refusal {
	switch action {
	case "401-key":
		return refuseKey()
	case "401-token":
		return refuseToken()
	case "401-permission":
		return refusePermission(c.route)
	case "403-permission":
		no := refusePermission(c.route)
		no.name, no.status = "403-permission", http.StatusForbidden
		return no
	case "403-network":
		return refuseNetwork()
	case "403-private":
		return refusePrivate()
	case "403-keys-disabled":
		return refuseKeysDisabled()
	case "403-blocked":
		return refuseBlocked()
	case "404-deployment":
		return refuseDeployment(c.route)
	case "404-resource":
		return refuseResourceNotFound()
	case "400-context":
		return refuseContext(8192, 9001)
	case "400-filter":
		return refuseFilter()
	case "400-invalid":
		return refuseInvalid("Invalid value for 'temperature'.", "temperature", "")
	case "400-version":
		return refuseVersion()
	case "400-model":
		return refuseUnsupported("responses", c.spec.Model)
	default:
		return otherClientAnswer(action)
	}
}
