package preflight

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"spillway/handler/internal/backend"
)

// resourceCheck is the check of one resource.
type resourceCheck struct {
	target      *backend.Target
	place       string
	apiVersion  string
	deployments []*deployment
	now         time.Time

	findings       findings
	requests, paid int
	classicOnly    bool // the v1 paths are not served
}

// run checks each deployment. It stops at a finding about the whole resource.
func (c *resourceCheck) run(ctx context.Context) {
	if _, ok := c.target.Credential.(backend.PassThrough); ok {
		c.checkReachable(ctx)
		return
	}
	for _, d := range c.deployments {
		if !c.checkDeployment(ctx, d) {
			return
		}
	}
	if len(c.deployments) == 0 && !c.listModels(ctx, c.v1("/models")) {
		return
	}
	if c.azure() && c.apiVersion != "" {
		c.listModels(ctx, &testRequest{path: "/openai/models", query: "api-version=" + url.QueryEscape(c.apiVersion)})
	}
	if c.findings.maxSeverity() == OK {
		c.findings.ok(c.place, "%s", c.summary())
	}
}

func (c *resourceCheck) summary() string {
	text := "the credential is accepted"
	if c.azure() && c.apiVersion != "" {
		text += ", v1 and api-version " + c.apiVersion + " are accepted"
	}
	if n := len(c.deployments); n > 0 {
		text += fmt.Sprintf(", deployments that exist: %d of %d", n, n)
	}
	return text
}

func (c *resourceCheck) azure() bool { return !c.target.OpenAI }

// v1 is a request to a path of the v1 family, or of an OpenAI-compatible base
// URL.
func (c *resourceCheck) v1(path string) *testRequest {
	if c.target.OpenAI {
		return &testRequest{path: path}
	}
	return &testRequest{path: "/openai/v1" + path}
}

// send sends and counts a request. Without a response it records why, for the
// whole resource, and returns nil.
func (c *resourceCheck) send(ctx context.Context, q *testRequest) *testResponse {
	c.requests++
	a, err := roundTrip(ctx, c.target, q)
	if err != nil {
		c.findings.report(Error, c.place, diagnoseTransport(c.target.Endpoint.Host, err))
		return nil
	}
	return a
}

// checkReachable checks a resource that takes the callers' own tokens: whether
// it responds, and whether its network rules admit this machine.
func (c *resourceCheck) checkReachable(ctx context.Context) {
	q := c.v1("/models")
	q.anonymous = true
	a := c.send(ctx, q)
	if a == nil {
		return
	}
	if what, d := diagnose(a, c.target); what == scopeResource && a.status != 401 {
		c.findings.report(Error, c.place, d)
		return
	}
	c.findings.report(Warning, c.place, diagnosis{
		"it responds, but takes the callers' own tokens, so its deployments were not checked",
		"Send a request through Spillway with a caller's token.",
	})
}

// listModels lists the base models, which costs nothing and needs no
// deployment. It shows whether path, version and credential are accepted. It
// reports whether further requests make sense.
func (c *resourceCheck) listModels(ctx context.Context, q *testRequest) bool {
	a := c.send(ctx, q)
	if a == nil {
		return false
	}
	what, d := diagnose(a, c.target)
	switch {
	case what == scopeNone:
		c.checkRetirements(a.retirements)
		return true
	case what == scopeResource:
		c.findings.report(Error, c.place, d)
	case q.query != "":
		c.findings.report(Error, c.place, diagnosis{"classic calls with " + q.query + " are not accepted: it " + d.problem, d.remedy})
	case c.target.OpenAI: // not every such server lists its models
		c.findings.report(Warning, c.place, diagnosis{"it responds, but lists no models, so nothing was checked", `Name its models in "deployments".`})
		return true
	default:
		c.missingV1(d)
		return true
	}
	return false
}

// retirementNotice is how long before its end a model has to be replaced: new
// deployments of it are refused well before.
const retirementNotice = 60 * 24 * time.Hour

// checkRetirements warns of deployments whose model stops to answer soon.
func (c *resourceCheck) checkRetirements(dates map[string]time.Time) {
	for _, d := range c.deployments {
		if end, ok := dates[d.servedModel]; ok && end.Before(c.now.Add(retirementNotice)) {
			c.findings.report(Warning, c.place+", deployment "+d.name, diagnosis{
				"Azure retires its model " + printable(d.servedModel) + " on " + end.Format(time.DateOnly),
				"Deploy its successor now, and move callers to it; new deployments of a retiring model are refused.",
			})
		}
	}
}

func (c *resourceCheck) missingV1(d diagnosis) {
	c.classicOnly = true
	c.findings.report(Error, c.place, diagnosis{"the v1 paths are not served: POST /openai/v1 " + d.problem, d.remedy})
}

// checkDeployment checks one deployment, and reports whether further requests
// make sense.
func (c *resourceCheck) checkDeployment(ctx context.Context, d *deployment) bool {
	place := c.place + ", deployment " + d.name
	a := c.send(ctx, c.freeRequest(d))
	if a == nil {
		return false
	}
	what, why := diagnose(a, c.target)
	if what == scopePath && !c.classicOnly && c.azure() {
		c.missingV1(why)
		return c.checkDeployment(ctx, d)
	}
	switch what {
	case scopeNone:
	case scopeResource:
		c.findings.report(Error, c.place, why)
		return false
	case scopeDeployment, scopePath:
		c.findings.report(Error, place, why)
		return true
	}
	d.found = true
	c.record(place, d, a)
	return c.requestOneToken(ctx, place, d)
}

// requestOneToken sends a request with a real answer, if the free responses
// left something unknown.
func (c *resourceCheck) requestOneToken(ctx context.Context, place string, d *deployment) bool {
	q := c.paidRequest(d)
	if q == nil || d.isKnown() {
		return true
	}
	c.paid++
	a := c.send(ctx, q)
	if a == nil {
		return false
	}
	c.record(place, d, a)
	if a.status < 300 && d.provisioned && !a.hasUtilization() {
		c.findings.report(Warning, place, diagnosis{"it is configured as provisioned, but responds without azure-openai-deployment-utilization", `Check its SKU; a pay-as-you-go one has no "capacity".`})
	}
	return true
}

// isKnown reports whether a real answer would add nothing.
func (d *deployment) isKnown() bool { return d.servedModel != "" && (d.utilization || !d.provisioned) }

// record keeps what a response shows about the deployment.
func (c *resourceCheck) record(place string, d *deployment, a *testResponse) {
	d.servedModel = cmp.Or(d.servedModel, a.header.Get("X-Ms-Served-Model"))
	if a.status < 300 {
		d.bodyModel = cmp.Or(d.bodyModel, a.model)
	}
	if !a.hasUtilization() || d.utilization {
		return
	}
	d.utilization = true
	if !d.provisioned {
		c.findings.report(Warning, place, diagnosis{"it is provisioned, by its header azure-openai-deployment-utilization, but not configured so", `Write "capacity": "provisioned"; without it, the backend is avoided for too long after a 429.`})
	}
}

func (a *testResponse) hasUtilization() bool {
	return a.header.Get("Azure-Openai-Deployment-Utilization") != ""
}

// kind is the operation that a deployment supports, inferred from the names of
// its model and of itself; "" if none is cheap enough to try.
func (d *deployment) kind() string {
	names := strings.ToLower(d.model + " " + d.name)
	for _, k := range []struct{ part, kind string }{
		{"embed", "embeddings"},
		{"ada-002", "embeddings"},
		{"whisper", ""},
		{"transcribe", ""},
		{"tts", ""},
		{"audio", ""},
		{"realtime", ""},
		{"dall-e", ""},
		{"image", ""},
		{"sora", ""},
		{"flux", ""},
	} {
		if strings.Contains(names, k.part) {
			return k.kind
		}
	}
	return "chat"
}

// freeRequest is a request that an existing deployment rejects before it uses a
// token: one without messages or input.
func (c *resourceCheck) freeRequest(d *deployment) *testRequest {
	if d.kind() == "embeddings" {
		return c.post(d, "/embeddings", map[string]any{"input": []string{}})
	}
	return c.post(d, "/chat/completions", map[string]any{"messages": []any{}})
}

// paidRequest is the cheapest request with a real answer; nil if no such
// request is cheap.
func (c *resourceCheck) paidRequest(d *deployment) *testRequest {
	switch d.kind() {
	case "embeddings":
		return c.post(d, "/embeddings", map[string]any{"input": "hi"})
	case "chat":
		limit := "max_completion_tokens"
		if c.target.OpenAI {
			limit = "max_tokens" // other servers know only this
		}
		return c.post(d, "/chat/completions", map[string]any{"messages": []map[string]string{{"role": "user", "content": "hi"}}, limit: 1})
	}
	return nil
}

func (c *resourceCheck) post(d *deployment, path string, body map[string]any) *testRequest {
	body["model"] = d.name
	if !c.classicOnly {
		q := c.v1(path)
		q.body = body
		return q
	}
	return &testRequest{path: "/openai/deployments/" + d.name + path, query: "api-version=" + url.QueryEscape(c.apiVersion), body: body}
}
