package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// oddAnswer is an answer of a backend's that is not one to the request.
type oddAnswer struct {
	action string
	fault  simulator.Fault // with the action filled in
	stream bool
	api    string // "" = chat
	status int    // for the caller when every backend gives it
	code   string // of that error; "" = any
}

// Facts about a backend that come with a status of the caller's.
var backendFacts = []oddAnswer{
	{action: "410", status: 410},
	{action: "400-operation", status: 400, code: "OperationNotSupported"},
	{action: "400-version", status: 400},
	{action: "404-resource", status: 404, code: "404"},
	{action: "404-html", status: 404, code: "operation_not_supported"},
	{action: "400-unavailable-model", status: 400, code: "unavailable_model"},
	{action: "400-unknown-model", status: 400, code: "unknown_model"},
	{action: "400-responses-version", status: 400},
	{action: "400-model", status: 400},
	{action: "402", status: 503, code: "no_backend_available"},
	{action: "404-text", status: 404, code: "operation_not_supported"},
	{action: "404-detail", status: 404},
	{action: "404-empty", status: 404, code: "operation_not_supported"},
	{action: "404-status-code", status: 404},
	{action: "404-unknown-url", status: 404, code: "unknown_url"},
	{action: "405", status: 405},
	{action: "400-gateway", status: 400, code: "400"},
	{action: "400-list", status: 400},
	{action: "400-model-version", status: 400, code: "BadRequest"},
	{action: "400-verified", status: 400, code: "unsupported_value"},
	{action: "404-api", status: 404, code: "api_not_supported"},
	{action: "404-other-api", status: 404},
	{action: "404-deployment", status: 404, code: "DeploymentNotFound"},
	{action: "model-200", status: 404, code: "DeploymentNotFound"},
	{action: "stream-404", stream: true, status: 404, code: "DeploymentNotFound"},
}

// Successes that are no answer.
var noAnswers = []oddAnswer{
	{action: "garbage-200", status: 503},
	{action: "object-200", status: 503},
	{action: "array-200", status: 503},
	{action: "null-200", status: 503},
	{action: "no-choices-200", status: 503},
	{action: "empty-choices-200", status: 503},
	{action: "list-200", status: 503},
	{action: "half-json-200", status: 503},
	{action: "html-200", status: 503},
	{action: "empty-200", status: 503},
	{action: "204", status: 503},
	{action: "205", status: 503},
	{action: "206", status: 503},
	{action: "stream-for-json", status: 503},
	{action: "garbage-200", stream: true, status: 503},
	{action: "object-200", stream: true, status: 503},
	{action: "204", stream: true, status: 503},
	{action: "error-text-200", status: 429},
	{action: "error-200", status: 503},
	{action: "object-error-200", status: 503},
	{action: "null-message-200", status: 503},
	{action: "failed-finish-200", status: 503},
}

// An event that carries nothing is not the answer.
var errorsBehindNothing = []oddAnswer{
	{action: "stream-429", fault: simulator.Fault{Order: "keepalive-error"}, stream: true, status: 429},
	{action: "stream-429", fault: simulator.Fault{Order: "unknown-error"}, stream: true, status: 429},
	{action: "stream-429", fault: simulator.Fault{Order: "role-error"}, stream: true, status: 429},
	{action: "stream-error", fault: simulator.Fault{Order: "keepalive-error"}, stream: true, status: 503},
	{action: "stream-429", fault: simulator.Fault{Order: "keepalive-error"}, stream: true, api: "responses", status: 429},
	{action: "stream-429", fault: simulator.Fault{Order: "unknown-error"}, stream: true, api: "responses", status: 429},
	{action: "stream-429", fault: simulator.Fault{Order: "role-error"}, stream: true, api: "responses", status: 429},
	{action: "stream-error", fault: simulator.Fault{Order: "role-error"}, stream: true, status: 503},
	{action: "stream-object-error", stream: true, status: 503},
	{action: "cut-clean", stream: true, status: 503},
	{action: "cut-reset", stream: true, status: 503},
}

func (o *oddAnswer) name() string {
	if o.stream {
		return o.action + " " + o.fault.Order + " of a stream " + o.api
	}
	return o.action
}

// pools is a rig in which each case has a model of its own, so that nothing is known
// of the backends from the cases before.
type pools struct {
	*rig
	models []string
}

func startPools(t *testing.T, n int, env ...string) *pools {
	t.Helper()
	p := &pools{}
	for i := range n {
		p.models = append(p.models, fmt.Sprintf("gpt-%d", i))
	}
	a := api{
		resources: []simulator.Resource{deployed("first", p.models...), deployed("second", p.models...), deployed("third", p.models...)},
		entry:     withPriorities("first", "second", "third"), env: env,
	}
	p.rig = a.start(t)
	return p
}

// ask has some of the backends give this answer, and sends a request.
func (p *pools) ask(i int, odd *oddAnswer, backends ...string) answer {
	p.t.Helper()
	for _, backend := range backends {
		f := odd.fault
		f.Action, f.Deployment = odd.action, p.models[i]+"-at-"+backend
		p.sim.Fault(backend, f)
	}
	body := hello
	if odd.stream {
		body = helloSSE
	}
	body = strings.Replace(body, "gpt-4o", p.models[i], 1)
	if odd.api == "responses" {
		return p.post("/openai/v1/responses", strings.Replace(body, `"messages":[{"role":"user","content":"Hello"}]`, `"input":"Hello"`, 1))
	}
	return p.post(chatPath, body)
}

// The next backend serves.
func TestOddAnswersFailOver(t *testing.T) {
	t.Parallel()
	list := slices.Concat(backendFacts, noAnswers, errorsBehindNothing)
	p := startPools(t, len(list))
	for i, odd := range list {
		if a := p.ask(i, &odd, "first"); a.status != http.StatusOK || a.err != nil || a.backend() != "second" || strings.Contains(a.body, `"error":{`) {
			t.Errorf("%s: %d by %q, %v: %s", odd.name(), a.status, a.backend(), a.err, a.body)
		}
	}
}

// When all say the same, the caller gets a refusal in JSON.
func TestOddAnswersOfAllAreRefusedInJSON(t *testing.T) {
	t.Parallel()
	list := slices.Concat(backendFacts, noAnswers, errorsBehindNothing)
	p := startPools(t, len(list), "SPILLWAY_MAX_WAIT=0s")
	for i, odd := range list {
		a := p.ask(i, &odd, "first", "second", "third")
		if a.status != odd.status || a.err != nil || !strings.Contains(a.body, odd.code) || strings.Contains(a.body, "-at-") {
			t.Errorf("%s: %d, %v: %s, want %d with %q", odd.name(), a.status, a.err, a.body, odd.status, odd.code)
		}
		if !strings.HasPrefix(a.body, `{"error":{`) || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: no error in JSON: %s", odd.name(), a.body)
		}
	}
}

// An error of the caller's that came with 200 has the status that it means.
func TestCallersErrorInside200HasItsStatus(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for action, code := range map[string]string{"filter-200": "content_filter", "invalid-200": "invalid_value", "500-filter": "content_filter", "stream-filter": "content_filter", "stream-invalid": "invalid_value"} {
		body := hello
		if strings.HasPrefix(action, "stream") {
			body = helloSSE
		}
		for _, path := range []string{chatPath, "/openai/v1/responses"} {
			r.sim.Next("ptu", simulator.Fault{Action: action})
			if path != chatPath {
				body = strings.Replace(body, `"messages":[{"role":"user","content":"Hello"}]`, `"input":"Hello"`, 1)
			}
			a := r.post(path, body)
			if a.status != http.StatusBadRequest || a.err != nil || a.backend() != "ptu" || !strings.Contains(a.body, code) || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
				t.Errorf("%s at %s: %d by %q, %v: %s", action, path, a.status, a.backend(), a.err, a.body)
			}
		}
	}
	if a := r.post(chatPath, hello); a.backend() != "ptu" {
		t.Errorf("the callers' errors counted against the backend: %q served", a.backend())
	}
}

// After SPILLWAY_COMMIT_AFTER only the status line is out: another backend can
// still serve.
func TestFailoverRemainsAfterTheStatusLine(t *testing.T) {
	t.Parallel()
	p := startPools(t, 4, "SPILLWAY_COMMIT_AFTER=100ms", "SPILLWAY_HEARTBEAT=1s")
	for i, action := range []string{"stream-429", "stream-error", "cut-clean", "cut-reset"} {
		a := p.ask(i, &oddAnswer{action: action, fault: simulator.Fault{Order: "role-error", Hold: 2500 * time.Millisecond}, stream: true}, "first")
		if a.status != http.StatusOK || a.err != nil || strings.Contains(a.body, `"error":{`) || !strings.HasSuffix(a.body, "data: [DONE]\n\n") || strings.Count(a.body, `"role"`) != 1 {
			t.Errorf("%s: %d, %v:\n%s", action, a.status, a.err, a.body)
		}
		events := a.body
		for strings.HasPrefix(events, ": keep-alive\n") {
			events = events[len(": keep-alive\n"):]
		}
		if events == a.body || !strings.HasPrefix(events, "data: {") {
			t.Errorf("%s: no heartbeat of one line while the events were held:\n%s", action, a.body)
		}
	}
}

func TestErrorOfAllAfterTheStatusLineIsAnEvent(t *testing.T) {
	t.Parallel()
	for path, body := range map[string]string{chatPath: helloSSE, "/openai/v1/responses": `{"model":"gpt-4o","stream":true,"input":"Hello"}`} {
		r := start(t, setup{env: []string{"SPILLWAY_COMMIT_AFTER=100ms", "SPILLWAY_MAX_WAIT=0s"}})
		for _, backend := range []string{"ptu", "payg1", "payg2"} {
			r.sim.Fault(backend, simulator.Fault{Action: "stream-429", Order: "role-error", Hold: 300 * time.Millisecond})
		}
		if a := r.post(path, body); a.status != http.StatusOK || a.err == nil || !strings.Contains(a.body, `"code":"rate_limit_exceeded"`) || strings.Contains(a.body, "[DONE]") {
			t.Errorf("%s: %d, %v:\n%s", path, a.status, a.err, a.body)
		}
	}
}

// A whole answer becomes the stream that was asked for.
func TestWholeAnswerBecomesTheStream(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for path, c := range map[string]struct{ body, text, end string }{
		chatPath:                 {helloSSE, `"delta":{"role":"assistant","content":"`, "data: [DONE]\n\n"},
		"/openai/v1/completions": {`{"model":"gpt-4o","stream":true,"prompt":["a","b"]}`, `"text":"`, "data: [DONE]\n\n"},
		"/openai/v1/responses":   {`{"model":"gpt-4o","stream":true,"input":"Hello"}`, "event: response.output_text.delta", "\n\n"},
	} {
		r.sim.Next("ptu", simulator.Fault{Action: "json-for-stream"})
		a := r.post(path, c.body)
		if a.status != http.StatusOK || a.err != nil || a.backend() != "ptu" || !strings.Contains(a.body, c.text) || !strings.HasSuffix(a.body, c.end) ||
			!strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") || strings.Contains(a.body, `"prompt_tokens"`) {
			t.Errorf("%s: %d by %q, %v, %v:\n%s", path, a.status, a.backend(), a.err, a.header, a.body)
		}
	}
}

func TestStreamsEndForWhatTheyAre(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_HEARTBEAT=2s"}})
	prompts := `{"model":"gpt-4o","stream":true,"n":2,"prompt":["One","Two"]}`
	if a := r.post("/openai/v1/completions", prompts); a.status != http.StatusOK || a.err != nil {
		t.Errorf("%d %v %s", a.status, a.err, a.body)
	}
	r.sim.Next("ptu", simulator.Fault{Action: "late-usage", Hold: 7 * time.Second})
	asked := strings.Replace(helloSSE, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	if a := r.post(chatPath, asked); a.err != nil || !strings.Contains(a.body, `"prompt_tokens"`) || !strings.Contains(a.body, "\n: keep-alive\ndata: ") {
		t.Errorf("a late usage chunk: %v\n%s", a.err, a.body)
	}
	r.sim.Next("ptu", simulator.Fault{Action: "keepalive"})
	if a := r.post(chatPath, helloSSE); a.err != nil || a.backend() != "ptu" || strings.Count(a.body, "keepalive") < 2 {
		t.Errorf("keepalive events ahead of an answer: %v by %q\n%s", a.err, a.backend(), a.body)
	}
}
