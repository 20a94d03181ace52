package simulator

import (
	"net/http"
	"strings"
	"time"
)

// admit takes a request past everything that may refuse it, in the service's
// order: headers, credential, path, deployment, rates, body, capacity.
func (c *call) admit() *refusal {
	if no := c.doorkeeper(); no != nil {
		return no
	}
	family, ok := c.operationFamily()
	if !ok {
		return refuseResourceNotFound()
	}
	if family == "" {
		return nil
	}
	if c.dep == nil {
		return c.unknownDeployment()
	}
	no := c.admitTo(family)
	if no != nil && c.mayspill(no) {
		return c.spillOver(family, no)
	}
	return no
}

// doorkeeper judges what needs no deployment.
func (c *call) doorkeeper() *refusal {
	if limit := c.svc.cfg.MaxCustomHeaders; limit > 0 && customHeaders(c.r.Header) > limit {
		return refuseHeaders()
	}
	if no := c.strictly(); no != nil {
		return no
	}
	if no := c.authorize(); no != nil {
		return no
	}
	if c.route.family == familyNone {
		return refuseResourceNotFound()
	}
	if !c.route.versionFits() {
		if c.route.family == familyV1 {
			return refuseVersion()
		}
		return refuseResourceNotFound()
	}
	return nil
}

// operationFamily is what a deployment must support for this operation, ""
// when the operation belongs to the resource, and whether it exists at all.
func (c *call) operationFamily() (string, bool) {
	r := c.route
	compact := r.operation == "responses" && len(r.rest) == 1 && r.rest[0] == "compact"
	if (len(r.rest) == 0 || compact) && c.r.Method == http.MethodPost {
		if family := postFamily(r.operation); family != "" {
			return family, family != "responses" || r.family != familyDeployment
		}
	}
	if r.operation == "responses" || r.operation == "models" || objectPrefix[r.operation] != "" {
		// The Node SDK posts batches below deployments as well.
		return "", r.family != familyDeployment || r.operation == "batches"
	}
	return "", false
}

func postFamily(operation string) string {
	switch operation {
	case "chat/completions":
		return "chat"
	case "completions", "embeddings", "responses":
		return operation
	case "images/generations", "images/edits":
		return "images"
	case "audio/speech":
		return "speech"
	case "audio/transcriptions", "audio/translations":
		return "transcription"
	default:
		return ""
	}
}

func (c *call) unknownDeployment() *refusal {
	if c.route.family != familyDeployment && c.ask.Model == "" {
		return refuseInvalid("you must provide a model parameter", "model", "")
	}
	return refuseDeployment(c.route)
}

// admitTo takes a request past one deployment's own rules.
func (c *call) admitTo(family string) *refusal {
	if wait, ok := c.countRequest(); !ok {
		return c.throttled(wait).of("call")
	}
	if !c.spec.supports(family) {
		return refuseUnsupported(c.route.operation, c.spec.Model)
	}
	if no := c.checkBody(family); no != nil {
		return no
	}
	if no := c.checkContext(); no != nil {
		return no
	}
	if no := c.spend(); no != nil {
		return no
	}
	c.dep.inFlight.Add(1)
	c.note(func(e *Entry) { e.Admitted = true })
	if strings.Contains(c.prompt, TriggerPromptFilter) {
		return refuseFilter()
	}
	return nil
}

func (c *call) throttled(wait time.Duration) throttled {
	return throttled{route: c.route, model: c.spec.servedModel(), region: c.res.Region, wait: wait, hinted: true}
}

// countRequest counts a request towards the deployment's rate.
func (c *call) countRequest() (time.Duration, bool) {
	c.dep.mu.Lock()
	defer c.dep.mu.Unlock()
	wait, ok := c.dep.requests.admit(c.now(), &c.spec)
	c.rateSeen = c.dep.rates(c.now(), &c.spec)
	return wait, ok
}

func (c *call) checkContext() *refusal {
	if c.prompt == "" {
		c.prompt = c.ask.promptText()
	}
	c.promptTokens = countTokens(len(c.prompt))
	window := c.spec.ContextWindow
	if window <= 0 {
		return nil
	}
	asked := c.promptTokens
	if output, bounded := c.ask.outputTokens(&c.spec); bounded {
		asked += output
	}
	if asked > window {
		return refuseContext(window, asked)
	}
	return nil
}

// spend charges the estimate to the deployment's capacity.
func (c *call) spend() *refusal {
	probe := c.res.cache.probe(c.spec.Model, c.ask.PromptCacheKey, c.prompt)
	c.cached = c.res.cache.cached(c.now(), probe)
	estimate := c.estimate(&c.spec)
	no := c.charge(estimate)
	prompt, cached, used := c.promptTokens, c.cached, c.rateSeen.utilization
	c.note(func(e *Entry) {
		e.EstimatedTokens, e.Utilization = estimate, used
		if no == nil {
			e.PromptTokens, e.CachedTokens = prompt, cached
		}
	})
	if no == nil {
		c.res.cache.keep(c.now(), probe)
	}
	return no
}

func (c *call) charge(estimate int) *refusal {
	c.dep.mu.Lock()
	defer c.dep.mu.Unlock()
	now := c.now()
	defer func() { c.rateSeen = c.dep.rates(now, &c.spec) }()
	if c.spec.SKU == Provisioned {
		c.granted = min(max(0, estimate-c.cached), largestEstimate)
		wait, ok := c.dep.bucket.admit(now, c.granted)
		if !ok {
			c.granted = 0
			return c.throttled(wait).provisioned()
		}
		return nil
	}
	if wait, ok := c.dep.tokens.admit(now, &c.spec, estimate); !ok {
		return c.throttled(wait).of("token")
	}
	return nil
}

// correctEstimate gives a provisioned deployment back what was not used.
func (c *call) correctEstimate() {
	if c.granted == 0 || c.dep == nil {
		return
	}
	actual := max(0, c.entry.PromptTokens-c.entry.CachedTokens) + c.entry.CompletionTokens
	c.dep.mu.Lock()
	defer c.dep.mu.Unlock()
	c.dep.bucket.settle(c.now(), c.granted, actual)
	c.granted = 0
}
