package preflight

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"spillway/handler/internal/backend"
)

// resourceCheck is the examination of one resource.
type resourceCheck struct {
	target      *backend.Target
	place       string
	apiVersion  string
	deployments []*deployment

	findings       findings
	requests, paid int
	classicOnly    bool // there is nothing at the v1 paths
}

// run asks for each deployment, and stops at what is true of all of them.
func (v *resourceCheck) run(ctx context.Context) {
	if _, ok := v.target.Credential.(backend.PassThrough); ok {
		v.checkReachable(ctx)
		return
	}
	for _, d := range v.deployments {
		if !v.checkDeployment(ctx, d) {
			return
		}
	}
	if len(v.deployments) == 0 && !v.listModels(ctx, v.v1("/models")) {
		return
	}
	if v.azure() && v.apiVersion != "" {
		v.listModels(ctx, &testRequest{path: "/openai/models", query: "api-version=" + url.QueryEscape(v.apiVersion)})
	}
	if v.findings.worst() == OK {
		v.findings.ok(v.place, "%s", v.summary())
	}
}

func (v *resourceCheck) summary() string {
	text := "the credential is good"
	if v.azure() && v.apiVersion != "" {
		text += ", v1 and api-version " + v.apiVersion + " are accepted"
	}
	if n := len(v.deployments); n > 0 {
		text += fmt.Sprintf(", deployments that exist: %d of %d", n, n)
	}
	return text
}

func (v *resourceCheck) azure() bool { return !v.target.OpenAI }

// v1 is a question at a path of the v1 family, or of an OpenAI-compatible
// base URL.
func (v *resourceCheck) v1(path string) *testRequest {
	if v.target.OpenAI {
		return &testRequest{path: path}
	}
	return &testRequest{path: "/openai/v1" + path}
}

// send asks, and counts it. A nil answer was noted already: of the whole
// resource, which all its deployments share the way to.
func (v *resourceCheck) send(ctx context.Context, q *testRequest) *testResponse {
	v.requests++
	a, err := roundTrip(ctx, v.target, q)
	if err != nil {
		v.findings.add(Error, v.place, diagnoseTransport(v.target.Endpoint.Host, err))
		return nil
	}
	return a
}

// checkReachable is all that can be seen of a resource that wants the callers' own
// tokens: that it answers, and whether it lets this network in.
func (v *resourceCheck) checkReachable(ctx context.Context) {
	q := v.v1("/models")
	q.anonymous = true
	a := v.send(ctx, q)
	if a == nil {
		return
	}
	if what, d := diagnose(a, v.target); what == scopeResource && a.status != 401 {
		v.findings.add(Error, v.place, d)
		return
	}
	v.findings.add(Warning, v.place, diagnosis{
		"it answers, but takes the callers' own tokens, so its deployments were not asked for",
		"Ask through Spillway with a caller's token.",
	})
}

// listModels asks for the base models, which is free and needs no deployment: a
// proof of the path, the version and the credential. It reports whether it is
// worth going on.
func (v *resourceCheck) listModels(ctx context.Context, q *testRequest) bool {
	a := v.send(ctx, q)
	if a == nil {
		return false
	}
	what, d := diagnose(a, v.target)
	switch {
	case what == scopeNone:
		return true
	case what == scopeResource:
		v.findings.add(Error, v.place, d)
	case q.query != "":
		v.findings.add(Error, v.place, diagnosis{"classic calls with " + q.query + " are not accepted: it " + d.problem, d.fix})
	case v.target.OpenAI: // not every such server has a list
		v.findings.add(Warning, v.place, diagnosis{"it answers, but lists no models, so nothing is proved", `Name its models in "deployments".`})
		return true
	default:
		v.missingV1(d)
		return true
	}
	return false
}

func (v *resourceCheck) missingV1(d diagnosis) {
	v.classicOnly = true
	v.findings.add(Error, v.place, diagnosis{"the v1 paths are not served: POST /openai/v1 " + d.problem, d.fix})
}

// checkDeployment asks for one checkDeployment and reports whether the next is worth
// asking for.
func (v *resourceCheck) checkDeployment(ctx context.Context, d *deployment) bool {
	place := v.place + ", deployment " + d.name
	a := v.send(ctx, v.freeRequest(d))
	if a == nil {
		return false
	}
	what, why := diagnose(a, v.target)
	if what == scopePath && !v.classicOnly && v.azure() {
		v.missingV1(why)
		return v.checkDeployment(ctx, d)
	}
	switch what {
	case scopeNone:
	case scopeResource:
		v.findings.add(Error, v.place, why)
		return false
	case scopeDeployment, scopePath:
		v.findings.add(Error, place, why)
		return true
	}
	d.found = true
	v.record(place, d, a)
	return v.checkAnswer(ctx, place, d)
}

// checkAnswer asks for one token, when the free answers left something to know.
func (v *resourceCheck) checkAnswer(ctx context.Context, place string, d *deployment) bool {
	q := v.paidRequest(d)
	if q == nil || d.known() {
		return true
	}
	v.paid++
	a := v.send(ctx, q)
	if a == nil {
		return false
	}
	v.record(place, d, a)
	if a.status < 300 && d.provisioned && !a.provisioned() {
		v.findings.add(Warning, place, diagnosis{"it is said to be provisioned, but answers without azure-openai-deployment-utilization", `Check its SKU; a pay-as-you-go one has no "capacity".`})
	}
	return true
}

// known reports whether nothing is left that a real answer would tell.
func (d *deployment) known() bool { return d.servedModel != "" && (d.utilization || !d.provisioned) }

// record keeps what an answer tells about the deployment.
func (v *resourceCheck) record(place string, d *deployment, a *testResponse) {
	d.servedModel = cmp.Or(d.servedModel, a.header.Get("X-Ms-Served-Model"))
	if a.status < 300 {
		d.bodyModel = cmp.Or(d.bodyModel, a.model)
	}
	if !a.provisioned() || d.utilization {
		return
	}
	d.utilization = true
	if !d.provisioned {
		v.findings.add(Warning, place, diagnosis{"it is provisioned, by its header azure-openai-deployment-utilization, but not said to be", `Write "capacity": "provisioned", or it is left alone for too long after a 429.`})
	}
}

func (a *testResponse) provisioned() bool {
	return a.header.Get("Azure-Openai-Deployment-Utilization") != ""
}

// kind is what a deployment can be asked for, guessed by the names of its
// model and of itself.
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

// freeRequest is a question that is refused before it costs a token, if anybody is
// there: without messages, or without an input.
func (v *resourceCheck) freeRequest(d *deployment) *testRequest {
	if d.kind() == "embeddings" {
		return v.post(d, "/embeddings", map[string]any{"input": []string{}})
	}
	return v.post(d, "/chat/completions", map[string]any{"messages": []any{}})
}

// paidRequest is the paidRequest question with a real answer; nil when the kind of
// model has none that is cheap.
func (v *resourceCheck) paidRequest(d *deployment) *testRequest {
	switch d.kind() {
	case "embeddings":
		return v.post(d, "/embeddings", map[string]any{"input": "hi"})
	case "chat":
		limit := "max_completion_tokens"
		if v.target.OpenAI {
			limit = "max_tokens" // which other servers know
		}
		return v.post(d, "/chat/completions", map[string]any{"messages": []map[string]string{{"role": "user", "content": "hi"}}, limit: 1})
	}
	return nil
}

func (v *resourceCheck) post(d *deployment, path string, body map[string]any) *testRequest {
	body["model"] = d.name
	if !v.classicOnly {
		q := v.v1(path)
		q.body = body
		return q
	}
	return &testRequest{path: "/openai/deployments/" + d.name + path, query: "api-version=" + url.QueryEscape(v.apiVersion), body: body}
}
