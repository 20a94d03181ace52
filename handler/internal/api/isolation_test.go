package api_test

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// With the same key of a repeated request or of a session, two consumers would get one
// answer at a backend. What it gets is a consumer's own, the same each time.
func TestKeysOfRepetitionsAndSessionsAreAConsumersOwn(t *testing.T) {
	d := newTenants(t)
	var header http.Header
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		header = r.Header
		return serve(ctx, pools, deliver)
	}
	atBackend := func(who, name, value string) string {
		t.Helper()
		d.send(t, "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[]}`, "Api-Key", who, name, value)
		return header.Get(name)
	}
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, name := range []string{
		"Idempotency-Key", "idempotency-key", "X-Idempotency-Key", "Repeatability-Request-ID", "Repeatability-Client-ID", "Operation-Id", "x-operation-id", "x-ms-session-id", "Session-Id",
		"x-session-affinity", "x-grok-conv-id", "x-conversation-id", "X-Prompt-Cache-Key", "x-prompt-cache-isolation-key",
	} {
		mine, again, another, theirs := atBackend("x", name, "k"), atBackend("x", name, "k"), atBackend("x", name, "l"), atBackend("y", name, "k")
		if mine != again || mine == theirs || mine == another || !form.MatchString(mine) || !form.MatchString(theirs) {
			t.Errorf("%s: %q, %q again, %q for another value; %q for the other consumer", name, mine, again, another, theirs)
		}
	}
	for _, name := range []string{"X-Ms-Client-Request-Id", "Traceparent", "Openai-Beta", "Accept"} {
		if got := atBackend("x", name, "v"); got != "v" {
			t.Errorf("%s: %q, want it as it was sent", name, got)
		}
	}
	before := atBackend("x", "Idempotency-Key", "k")
	d.Secret = func() []byte { return []byte("another gateway's") }
	if after := atBackend("x", "Idempotency-Key", "k"); after == before {
		t.Error("who knows the consumer's name can work out its key")
	}
	d.StrictIDs = false
	if got := atBackend("x", "Idempotency-Key", "k"); got != "k" {
		t.Errorf("one consumer alone: %q", got)
	}
}

// What only OpenAI-compatible backends have names no objects by its path.
func TestOperationsOfCompatibleBackendsWithSeveralConsumers(t *testing.T) {
	d := newTenantsWithObjects(t)
	d.Models = compatibleModel{}
	for _, path := range []string{"rerank", "score", "moderations", "classify", "tokenize", "detokenize", "pooling", "Rerank"} {
		d.served(t, "y", "POST", "/v1/"+path, `{"model":"llama","input":"x"}`, "application/json")
		d.refused(t, "POST", "/v1/"+path, `{"model":"llama","input":"x","file_id":"file-x"}`, "application/json", 404)
	}
	d.refused(t, "POST", "/v1/rerank/file-x", `{"model":"llama"}`, "application/json", 404)
	d.refused(t, "GET", "/v1/moderations", "", "", 404)
}

// compatibleModel is a model of an OpenAI-compatible backend.
type compatibleModel struct{}

func (compatibleModel) All() []*balancer.Pool {
	return []*balancer.Pool{{Model: "llama", Backends: []balancer.Backend{{Name: "a", Weight: 1, OpenAI: true}}}}
}

func (m compatibleModel) Resolve(name string) ([]*balancer.Pool, bool) {
	return m.All(), name == "llama"
}

func (compatibleModel) Names(*consumer.Consumer) []string { return []string{"llama"} }

// Whether a model exists is told to those who may use it.
func TestReadinessOfAModelTellsNobodyElseOfIt(t *testing.T) {
	d := newGateway(t)
	restricted := &consumer.Consumer{Name: "x", Models: []string{"gpt-4o"}}
	for name, c := range map[string]struct {
		caller     *consumer.Consumer
		err        error
		of         [4]int // gpt-4o, down, unknown, any
		namesModel bool
	}{
		"nobody":                  {nil, errors.New("no"), [4]int{200, 200, 200, 200}, false},
		"a consumer of one model": {restricted, nil, [4]int{200, 503, 503, 200}, false},
		"a consumer of all":       {&consumer.Consumer{Name: "y"}, nil, [4]int{200, 503, 200, 200}, true},
		"anybody":                 {nil, nil, [4]int{200, 503, 200, 200}, true},
	} {
		d.authenticate = func() (*consumer.Consumer, error) { return c.caller, c.err }
		for i, path := range []string{"?model=gpt-4o", "?model=down", "?model=unknown", ""} {
			res, text := d.send(t, "GET", "/health/ready"+path, "")
			if res.StatusCode != c.of[i] || strings.Contains(text, `"down"`) != c.namesModel {
				t.Errorf("%s: %s: %d %s, want %d", name, path, res.StatusCode, text, c.of[i])
			}
		}
	}
}

// Nothing that y asks for tells whether an id that it has got hold of is x's, or
// nobody's: both are refused, or both are passed.
func TestAnothersIDIsAnsweredAsAnUnknownOne(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "vector_stores/vs_y/files/%s", ""},
		{"GET", "vector_stores/vs_y/files/%s/content", ""},
		{"DELETE", "vector_stores/vs_y/files/%s", ""},
		{"GET", "containers/cntr_y/files/%s/content", ""},
		{"GET", "conversations/conv_y/items/%s", ""},
		{"DELETE", "conversations/conv_y/items/%s", ""},
		{"GET", "evals/eval_y/runs/%s", ""},
		{"GET", "vector_stores/vs_y/files?after=%s", ""},
		{"GET", "conversations/conv_y/items?before=%s", ""},
		{"GET", "responses/resp_y/input_items?after=%s", ""},
		{"GET", "evals/eval_y/runs?q=%s", ""},
		{"POST", "responses?x=%s", `{"model":"gpt-4o","input":"i"}`},
		{"POST", "responses", `{"model":"gpt-4o","input":"i","metadata":{"file_id":%q,"previous_response_id":%q}}`},
		{"POST", "conversations", `{"metadata":{"conversation_id":%q}}`},
	} {
		for _, id := range []string{"file-x", "msg_x", "resp_x", "m.ft-x"} {
			unknown := id[:len(id)-1] + "unknown"
			ask := func(id string) (int, string, bool) {
				before := d.sent
				res, text := d.send(t, c.method, "/v1/"+strings.ReplaceAll(c.path, "%s", id), strings.ReplaceAll(c.body, "%q", `"`+id+`"`), "Api-Key", "y", "Content-Type", "application/json")
				return res.StatusCode, strings.ReplaceAll(text, id, "ID"), d.sent > before
			}
			theirs, text, sent := ask(id)
			if status, other, sentToo := ask(unknown); status != theirs || other != text || sent != sentToo {
				t.Errorf("%s %s %s with %s: %d %s %v; with %s: %d %s %v", c.method, c.path, c.body, id, theirs, text, sent, unknown, status, other, sentToo)
			}
		}
	}
}

// An answer that repeats an id which a caller wrote makes nothing that caller's: y
// can name x's item with a content of its own, and have it shown.
func TestIDsThatAnAnswerRepeatsAreNotGranted(t *testing.T) {
	reference := func(id string) string {
		return `{"model":"gpt-4o","input":[{"type":"item_reference","id":"` + id + `"}]}`
	}
	given := `{"type":"message","id":"msg_later","role":"user","content":"x"}`
	for name, c := range map[string]struct{ method, path, body string }{
		"items of a response":     {"GET", "responses/resp_y/input_items", ""},
		"items of a conversation": {"GET", "conversations/conv_y/items", ""},
		"one item":                {"GET", "conversations/conv_y/items?limit=1", ""},
		"items that are added":    {"POST", "conversations/conv_y/items", `{"items":[` + given + `]}`},
		"a compaction":            {"POST", "responses/compact", `{"model":"gpt-4o","input":[` + given + `]}`},
		"a response":              {"POST", "responses", `{"model":"gpt-4o","input":[` + given + `]}`},
	} {
		d := newTenantsWithObjects(t)
		d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindItem, ID: "msg_later"}}}
		d.served(t, "y", c.method, "/v1/"+c.path, c.body, "application/json")
		if t.Failed() {
			t.Fatal(name)
		}
		d.refused(t, "POST", "/v1/responses", reference("msg_later"), "application/json", 404)
		// The one who is told of it afterwards has it.
		d.made("x", operations.KindItem, "msg_later")
		d.served(t, "x", "POST", "/v1/responses", reference("msg_later"), "application/json")
		d.refused(t, "POST", "/v1/responses", reference("msg_later"), "application/json", 404)
		if strings.HasPrefix(c.path, "conversations") { // where it was shown it can be named
			d.served(t, "y", "GET", "/v1/conversations/conv_y/items/msg_later", "", "")
			d.served(t, "y", "GET", "/v1/conversations/conv_y/items?after=msg_later", "", "")
			d.made("y", operations.KindConversation, "conv_z")
			d.refused(t, "GET", "/v1/conversations/conv_z/items/msg_later", "", "", 404)
		}
	}
	// What the service made is the caller's.
	d := newTenantsWithObjects(t)
	d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindItem, ID: "msg_made"}}}
	d.served(t, "y", "POST", "/v1/conversations/conv_y/items", `{"items":[{"type":"message","role":"user","content":"x"}]}`, "application/json")
	d.served(t, "y", "POST", "/v1/responses", reference("msg_made"), "application/json")
}

// Evaluations over rows of the request's own, whatever these are called, read nothing
// that is stored.
func TestEvaluationsOverOwnRows(t *testing.T) {
	d := newTenantsWithObjects(t)
	for path, body := range map[string]string{
		"evals":             `{"data_source_config":{"type":"custom","item_schema":{"type":"object","properties":{"source":{"type":"string"},"data_source":{"type":"object"},"event":{"type":"string"}}}},"testing_criteria":[]}`,
		"evals/eval_y/runs": `{"data_source":{"type":"jsonl","source":{"type":"file_content","content":[{"item":{"source":{"type":"event"},"type":"logs","event":{"source":{"type":"web"}}},"sample":{"source":[{"type":"x"}]}}]}}}`,
	} {
		d.served(t, "y", "POST", "/v1/"+path, body, "application/json")
	}
	for _, body := range []string{
		`{"data_source":{"type":"completions","source":{"type":"stored_completions"}}}`, `{"data_source":{"type":"jsonl","source":{"type":"event"}}}`,
		`{"data_source":{"type":"responses","source":{"type":"responses","item":{}}}}`,
	} {
		d.refused(t, "POST", "/v1/evals/eval_y/runs", body, "application/json", 403)
	}
}

// The services' own skills are nobody's.
func TestBuiltInSkills(t *testing.T) {
	d := newTenantsWithObjects(t)
	for path, body := range map[string]string{
		"/anthropic/v1/messages": `{"model":"gpt-4o","max_tokens":5,"container":{"skills":[{"type":"anthropic","skill_id":"pptx","version":"latest"},{"type":"anthropic","skill_id":"xlsx"}]},"messages":[]}`,
		"/v1/responses":          `{"model":"gpt-4o","input":"x","tools":[{"type":"shell","environment":{"type":"container_auto","skills":[{"type":"skill_reference","skill_id":"openai-spreadsheets"}]}}]}`,
	} {
		d.served(t, "y", "POST", path, body, "application/json")
		d.refused(t, "POST", path, strings.NewReplacer("pptx", "skill_x", "openai-spreadsheets", "skill_x").Replace(body), "application/json", 404)
	}
}

// A fine-tuned model is of the consumer whose job made it, wherever a body names it.
func TestFineTunedModelsHaveOwners(t *testing.T) {
	for _, tuned := range []string{"gpt-4o-mini-2024-07-18.ft-0a1b", "ft:gpt-4o-mini:acme::abc", "ft:gpt-4o-mini:acme::abc:ckpt-step-7", "ftchkpt-0a1b", "GPT-4o-mini.FT-0a1b"} {
		for path, body := range map[string]string{
			"fine_tuning/jobs":              `{"training_file":"file-d-y","model":%q}`,
			"fine_tuning/alpha/graders/run": `{"grader":{"type":"score_model","model":%q},"model_sample":"x"}`,
			"evals/eval_y/runs":             `{"data_source":{"type":"completions","model":%q,"source":{"type":"file_id","id":"file-d-y"}}}`,
			"evals":                         `{"testing_criteria":[{"type":"label_model","model":%q}]}`,
			"responses":                     `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation","model":%q}]}`,
		} {
			d := newTenantsWithObjects(t)
			body = strings.ReplaceAll(body, "%q", `"`+tuned+`"`)
			d.refused(t, "POST", "/v1/"+path, body, "application/json", 404) // nobody is known to have made it
			d.made("x", operations.KindCheckpoint, tuned)
			d.refused(t, "POST", "/v1/"+path, body, "application/json", 404)
			if path != "evals/eval_y/runs" && path != "fine_tuning/jobs" {
				d.served(t, "x", "POST", "/v1/"+path, body, "application/json")
			}
			d = newTenantsWithObjects(t)
			d.made("y", operations.KindCheckpoint, tuned)
			d.served(t, "y", "POST", "/v1/"+path, body, "application/json")
			d.StrictIDs = false
			d.served(t, "y", "POST", "/v1/"+path, body, "application/json")
		}
	}
	// Base models and deployments are nobody's.
	d := newTenantsWithObjects(t)
	for _, base := range []string{"gpt-4o-mini-2024-07-18", "gpt-4o", "text-embedding-3-small", "draft-model", "lift:v1"} {
		d.served(t, "y", "POST", "/v1/evals", `{"testing_criteria":[{"type":"label_model","model":"`+base+`"}]}`, "application/json")
	}
}
