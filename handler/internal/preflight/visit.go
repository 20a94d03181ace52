package preflight

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"spillway/handler/internal/backend"
)

// visit is the examination of one resource.
type visit struct {
	target      *backend.Target
	place       string
	version     string
	deployments []*deployment

	notes       notes
	asked, paid int
	classicOnly bool // there is nothing at the v1 paths
}

// examine asks for each deployment, and stops at what is true of all of them.
func (v *visit) examine(ctx context.Context) {
	if _, ok := v.target.Credential.(backend.PassThrough); ok {
		v.reach(ctx)
		return
	}
	for _, d := range v.deployments {
		if !v.deployment(ctx, d) {
			return
		}
	}
	if len(v.deployments) == 0 && !v.list(ctx, v.v1("/models")) {
		return
	}
	if v.classic() && v.version != "" {
		v.list(ctx, &question{path: "/openai/models", query: "api-version=" + url.QueryEscape(v.version)})
	}
	if v.notes.worst() == OK {
		v.notes.ok(v.place, "%s", v.praise())
	}
}

func (v *visit) praise() string {
	text := "the credential is good"
	if v.classic() && v.version != "" {
		text += ", v1 and api-version " + v.version + " are accepted"
	}
	if n := len(v.deployments); n > 0 {
		text += fmt.Sprintf(", deployments that exist: %d of %d", n, n)
	}
	return text
}

func (v *visit) classic() bool { return !v.target.OpenAI }

// v1 is a question at a path of the v1 family, or of an OpenAI-compatible
// base URL.
func (v *visit) v1(path string) *question {
	if v.target.OpenAI {
		return &question{path: path}
	}
	return &question{path: "/openai/v1" + path}
}

// say asks, and counts it. A nil answer was noted already: of the whole
// resource, which all its deployments share the way to.
func (v *visit) say(ctx context.Context, q *question) *answer {
	v.asked++
	a, err := ask(ctx, v.target, q)
	if err != nil {
		v.notes.add(Error, v.place, unreached(v.target.Endpoint.Host, err))
		return nil
	}
	return a
}

// reach is all that can be seen of a resource that wants the callers' own
// tokens: that it answers, and whether it lets this network in.
func (v *visit) reach(ctx context.Context) {
	q := v.v1("/models")
	q.unnamed = true
	a := v.say(ctx, q)
	if a == nil {
		return
	}
	if what, d := judge(a, v.target); what == aboutResource && a.status != 401 {
		v.notes.add(Error, v.place, d)
		return
	}
	v.notes.add(Warning, v.place, diagnosis{
		"it answers, but takes the callers' own tokens, so its deployments were not asked for",
		"Ask through Spillway with a caller's token.",
	})
}

// list asks for the base models, which is free and needs no deployment: a
// proof of the path, the version and the credential. It reports whether it is
// worth going on.
func (v *visit) list(ctx context.Context, q *question) bool {
	a := v.say(ctx, q)
	if a == nil {
		return false
	}
	what, d := judge(a, v.target)
	switch {
	case what == aboutNothing:
		return true
	case what == aboutResource:
		v.notes.add(Error, v.place, d)
	case q.query != "":
		v.notes.add(Error, v.place, diagnosis{"classic calls with " + q.query + " are not accepted: it " + d.problem, d.fix})
	case v.target.OpenAI: // not every such server has a list
		v.notes.add(Warning, v.place, diagnosis{"it answers, but lists no models, so nothing is proved", `Name its models in "deployments".`})
		return true
	default:
		v.missingV1(d)
		return true
	}
	return false
}

func (v *visit) missingV1(d diagnosis) {
	v.classicOnly = true
	v.notes.add(Error, v.place, diagnosis{"the v1 paths are not served: POST /openai/v1 " + d.problem, d.fix})
}

// deployment asks for one deployment and reports whether the next is worth
// asking for.
func (v *visit) deployment(ctx context.Context, d *deployment) bool {
	place := v.place + ", deployment " + d.name
	a := v.say(ctx, v.knock(d))
	if a == nil {
		return false
	}
	what, why := judge(a, v.target)
	if what == aboutPath && !v.classicOnly && v.classic() {
		v.missingV1(why)
		return v.deployment(ctx, d)
	}
	switch what {
	case aboutNothing:
	case aboutResource:
		v.notes.add(Error, v.place, why)
		return false
	case aboutDeployment, aboutPath:
		v.notes.add(Error, place, why)
		return true
	}
	d.found = true
	v.learn(place, d, a)
	return v.question(ctx, place, d)
}

// question asks for one token, when the free answers left something to know.
func (v *visit) question(ctx context.Context, place string, d *deployment) bool {
	q := v.cheapest(d)
	if q == nil || d.known() {
		return true
	}
	v.paid++
	a := v.say(ctx, q)
	if a == nil {
		return false
	}
	v.learn(place, d, a)
	if a.status < 300 && d.provisioned && !a.provisioned() {
		v.notes.add(Warning, place, diagnosis{"it is said to be provisioned, but answers without azure-openai-deployment-utilization", `Check its SKU; a pay-as-you-go one has no "capacity".`})
	}
	return true
}

// known reports whether nothing is left that a real answer would tell.
func (d *deployment) known() bool { return d.served != "" && (d.metered || !d.provisioned) }

// learn keeps what an answer tells about the deployment.
func (v *visit) learn(place string, d *deployment, a *answer) {
	d.served = cmp.Or(d.served, a.header.Get("X-Ms-Served-Model"))
	if a.status < 300 {
		d.answer = cmp.Or(d.answer, a.model)
	}
	if !a.provisioned() || d.metered {
		return
	}
	d.metered = true
	if !d.provisioned {
		v.notes.add(Warning, place, diagnosis{"it is provisioned, by its header azure-openai-deployment-utilization, but not said to be", `Write "capacity": "provisioned", or it is left alone for too long after a 429.`})
	}
}

func (a *answer) provisioned() bool { return a.header.Get("Azure-Openai-Deployment-Utilization") != "" }

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

// knock is a question that is refused before it costs a token, if anybody is
// there: without messages, or without an input.
func (v *visit) knock(d *deployment) *question {
	if d.kind() == "embeddings" {
		return v.post(d, "/embeddings", map[string]any{"input": []string{}})
	}
	return v.post(d, "/chat/completions", map[string]any{"messages": []any{}})
}

// cheapest is the cheapest question with a real answer; nil when the kind of
// model has none that is cheap.
func (v *visit) cheapest(d *deployment) *question {
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

func (v *visit) post(d *deployment, path string, body map[string]any) *question {
	body["model"] = d.name
	if !v.classicOnly {
		q := v.v1(path)
		q.body = body
		return q
	}
	return &question{path: "/openai/deployments/" + d.name + path, query: "api-version=" + url.QueryEscape(v.version), body: body}
}
