package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// fenced is a gateway with one consumer and these pools.
type fenced struct {
	*gateway
	consumer *consumer.Consumer
	pools    []*balancer.Pool
	pinnedTo string
	sent     int
}

func newFenced(t *testing.T, c *consumer.Consumer, pools ...*balancer.Pool) *fenced {
	d := &fenced{gateway: newGateway(t), consumer: c, pools: pools}
	d.Models, d.Authenticator = d, d
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		d.sent++
		if r.PinnedTo != nil {
			d.pinnedTo = r.PinnedTo.Backend
		}
		return serve(ctx, pools, deliver)
	}
	return d
}

func (d *fenced) Authenticate(_ context.Context, h http.Header, _ string) (auth.Identity, error) {
	if h.Get("Api-Key") == "" {
		return auth.Identity{}, auth.ErrMissing
	}
	return auth.Identity{Consumer: d.consumer}, nil
}

func (d *fenced) Resolve(name string) ([]*balancer.Pool, bool) {
	for _, p := range d.pools {
		if strings.EqualFold(p.Model, name) {
			return []*balancer.Pool{p}, true
		}
	}
	return nil, false
}
func (d *fenced) All() []*balancer.Pool { return d.pools }

func (d *fenced) Names(c *consumer.Consumer) (names []string) {
	for _, p := range d.pools {
		if c.MayUse(p.Model) {
			names = append(names, p.Model)
		}
	}
	return names
}

func (d *fenced) Ready(string) (bool, map[string]string) {
	return true, map[string]string{"gpt-4o": "available", "o3": "available"}
}

func model(name string, backends ...balancer.Backend) *balancer.Pool {
	return &balancer.Pool{Model: name, Backends: backends}
}

func TestModelsHoldWhereverARequestNamesOne(t *testing.T) {
	only := &consumer.Consumer{Name: "x", Models: []string{"gpt-4o"}}
	d := newFenced(t, only,
		model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true, Deployment: "gpt-4o-prod"}),
		model("o3", balancer.Backend{Name: "a", Weight: 1, Stateful: true, Deployment: "o3-prod"}))
	for _, tt := range []struct{ path, body, header string }{
		{"responses", `{"model":"o3","input":"x"}`, ""},
		{"responses", `{"model":"O3","input":"x"}`, ""},
		{"responses", `{"model":"not-there","input":"x"}`, ""},
		{"responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation","model":"o3"}]}`, ""},
		{"responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation","mod\u0065l":"o3-prod"}]}`, ""},
		{"responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation"}]}`, "o3-prod"},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"data_sources":[{"parameters":{"embedding_dependency":{"deployment_name":"o3-prod"}}}]}`, ""},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"models":["gpt-4o","o3"]}`, ""},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"engine":"o3"}`, ""},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"extra_body":{"engine":"o3"}}`, ""},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"fallbacks":["gpt-4o","o3"]}`, ""},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"context_window_fallbacks":["o3"]}`, ""},
		{"evals", `{"data_source_config":{"type":"custom"},"testing_criteria":[{"type":"label_model","model":"o3"}]}`, ""},
		{"evals/eval_1/runs", `{"data_source":{"type":"completions","model":"o3"}}`, ""},
		{"fine_tuning/jobs", `{"model":"o3-2025-04-16","training_file":"file-1"}`, ""},
		{"fine_tuning/alpha/graders/run", `{"grader":{"type":"score_model","model":"o3"}}`, ""},
		{"batches", `{"model":"gpt-4o","input_file_id":"file-1","x":{"model":"o3"}}`, ""},
		{"videos", `{"model":"sora-2","prompt":"x"}`, ""},
		{"evals", `{"model":"not-there","data_source_config":{"type":"custom"},"testing_criteria":[]}`, ""},
		{"containers", `{"model":"not-there","name":"x"}`, ""},
		{"conversations", `{"model":"not-there"}`, ""},
	} {
		header := []string{"Api-Key", "k"}
		if tt.header != "" {
			header = append(header, "X-Ms-Oai-Image-Generation-Deployment", tt.header)
		}
		res, text := d.send(t, "POST", "/v1/"+tt.path, tt.body, header...)
		if res.StatusCode != http.StatusForbidden || !strings.Contains(text, "model_not_allowed") || d.sent > 0 {
			t.Errorf("%s %s: %d %s, %d sent", tt.path, tt.body, res.StatusCode, text, d.sent)
		}
	}
	for _, body := range []string{
		`{"model":"GPT-4o","input":"x","tools":[{"type":"image_generation","model":"gpt-4o-prod"}]}`,
		`{"model":"gpt-4o","input":"x","tools":[{"type":"function","name":"f","parameters":{"properties":{"model":{"type":"string"}}}}]}`,
		`{"model":"gpt-4o","input":"x","metadata":{"model":"o3"}}`,
		`{"model":"gpt-4o","input":"x","engine":"gpt-4o","fallbacks":["gpt-4o-prod"],"search_engine":"bing"}`,
	} {
		if res, text := d.send(t, "POST", "/v1/responses", body, "Api-Key", "k"); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", body, res.StatusCode, text)
		}
	}
	if res, text := d.send(t, "POST", "/v1/fine_tuning/jobs", `{"model":"gpt-4o-2024-08-06","training_file":"file-1"}`, "Api-Key", "k"); res.StatusCode != http.StatusOK {
		t.Errorf("a dated version of an own model: %d %s", res.StatusCode, text)
	}
}

// A gateway's key opens more at an OpenAI-compatible service than a model.
func TestOpenAICompatibleBackendsServeAListOfOperations(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x"}, model("m", balancer.Backend{Name: "a", Weight: 1, OpenAI: true}))
	for _, path := range []string{
		"organization/admin_api_keys", "organization/users", "projects", "video/generations/jobs", "chatkit/sessions", "realtime/sessions", "realtime/client_secrets",
		"webhooks", "models/m/x", "rerank/x", "internal/metrics", "load_lora_adapter", "dashboard/billing/usage",
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			res, text := d.send(t, method, "/v1/"+path, `{"model":"m"}`, "Api-Key", "k", "X-Spillway-Model", "m")
			if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed || d.sent > 0 {
				t.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
			}
		}
	}
	for _, path := range []string{"rerank", "moderations", "score"} {
		if res, text := d.send(t, "POST", "/v1/"+path, `{"model":"m"}`, "Api-Key", "k", "Content-Type", "application/json"); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
}

func TestStatefulBackendIsChosenInsideTheFence(t *testing.T) {
	us := balancer.Backend{Name: "us", Index: 0, Weight: 1, Stateful: true, Geography: "us", Priority: 1}
	eu := balancer.Backend{Name: "eu", Index: 1, Weight: 1, Stateful: true, Geography: "eu", Priority: 2}
	for name, c := range map[string]*consumer.Consumer{
		"geography": {Name: "x", Geographies: []string{"eu"}}, "priority": {Name: "x", MinPriority: 2},
	} {
		d := newFenced(t, c, model("gpt-4o", us, eu))
		for path, body := range map[string]string{"files": "", "vector_stores": "{}", "responses": `{"model":"gpt-4o","input":[{"content":[{"file_id":"f"}]}]}`} {
			d.pinnedTo = ""
			if res, text := d.send(t, "POST", "/v1/"+path, body, "Api-Key", "k"); res.StatusCode != http.StatusOK || d.pinnedTo != "eu" {
				t.Errorf("%s, %s: %d %s, pinned to %q", name, path, res.StatusCode, text, d.pinnedTo)
			}
		}
	}
}

func TestReadinessNamesModelsToThoseWhoMayKnow(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x", Models: []string{"gpt-4o"}})
	d.Readiness = d
	if res, text := d.send(t, "GET", "/health/ready", ""); res.StatusCode != http.StatusOK || strings.Contains(text, "gpt-4o") || !strings.Contains(text, `"ready"`) {
		t.Errorf("without a credential: %d %s", res.StatusCode, text)
	}
	if _, text := d.send(t, "GET", "/health/ready", "", "Api-Key", "k"); !strings.Contains(text, "gpt-4o") || strings.Contains(text, "o3") {
		t.Errorf("a consumer of one model: %s", text)
	}
}

// limit is a meter that admits a number of requests and records how they ended.
type limit struct {
	left    int
	settled int
}

func (l *limit) Reserve(context.Context, *proxy.Request, []*balancer.Pool) (*metering.Reservation, error) {
	if l.left == 0 {
		return nil, &quota.ExceededError{Limit: "requestsPerMinute", Amount: 1, Retryable: true, Wait: time.Second}
	}
	l.left--
	return nil, nil
}

func (*limit) Enter(*consumer.Consumer, bool) (func(), error) { return func() {}, nil }

func (l *limit) Settle(_ *metering.Reservation, _ *proxy.Request, result *proxy.Result) []metering.Charge {
	if len(result.Attempts) == 1 && result.Attempts[0].Status != 0 {
		l.settled++
	}
	return nil
}

func (*limit) WithinLimits(_ *proxy.Request, pools []*balancer.Pool) []*balancer.Pool { return pools }

func (*limit) Promise(*metering.Reservation, *proxy.Request, *proxy.BackendResponse) string {
	return ""
}

func (*limit) Raise(*metering.Reservation, *proxy.Request, *proxy.Result, func(string) bool) {}

func (*limit) Correct(*proxy.Request, string, *proxy.Stored, string) []metering.Charge { return nil }

func (*limit) RateLimits(*proxy.Request, *balancer.Pool) quota.RateLimitStatus {
	return quota.RateLimitStatus{}
}

// nowhere is a locator that finds nothing.
type nowhere struct{ searches int }

func (n *nowhere) Locate(context.Context, []*balancer.Backend, *proxy.Request) (*balancer.Backend, error) {
	n.searches++
	return nil, nil
}

func TestSearchesCountAgainstTheLimits(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x"}, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1}, balancer.Backend{Name: "b", Index: 1, Weight: 1}))
	limits, locator := &limit{left: 2}, new(nowhere)
	d.Meter, d.Locator = limits, locator
	for i := range 6 {
		res, text := d.send(t, "GET", "/v1/responses/resp_unknown", "", "Api-Key", "k")
		if want := []int{404, 429}[min(i/2, 1)]; res.StatusCode != want {
			t.Errorf("%d: %d %s, want %d", i, res.StatusCode, text, want)
		}
	}
	if locator.searches != 2 || limits.settled != 2 {
		t.Errorf("%d searches, %d counted, want 2 of each", locator.searches, limits.settled)
	}
}

// Evaluations and graders have models asked, too.
func TestRunsAreInsideMaxRequestTokens(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x", MaxRequestTokens: 200}, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true}))
	template := func(text, params string) string {
		return `{"data_source":{"type":"completions","model":"gpt-4o","input_messages":{"type":"template","template":[{"role":"user","content":"` + text + `"}]}` + params + `}}`
	}
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"evals/eval_1/runs", template("hi", `,"sampling_params":{"max_completion_tokens":50}`), 200},
		{"evals/eval_1/runs", template("hi", `,"sampling_params":{"max_completions_tokens":500}`), 400},
		{"evals/eval_1/runs", template("hi", ``), 400},
		{"evals/eval_1/runs", template("hi", `,"sampling_params":{"max_completion_tokens":50,"max_tokens":-1}`), 400},
		{"evals/eval_1/runs", template("hi", `,"sampling_params":{"max_completion_tokens":50,"n_predict":500}`), 400},
		{"evals/eval_1/runs", template("hi", `,"sampling_params":{"n_predict":50}`), 400},
		{"evals/eval_1/runs", template("hi", `,"sampling_params":{"max_completion_tokens":null}`), 400},
		{"evals/eval_1/runs", template(strings.Repeat("word ", 300), `,"sampling_params":{"max_completion_tokens":50}`), 400},
		{"evals/eval_1/runs", `{"data_source":{"type":"jsonl","source":{"type":"file_content","content":[]}}}`, 200},
		{"evals", `{"testing_criteria":[{"type":"label_model","model":"gpt-4o","input":[{"role":"user","content":"` + strings.Repeat("word ", 300) + `"}]}]}`, 400},
		{"evals", `{"testing_criteria":[{"type":"label_model","model":"gpt-4o","input":[]}]}`, 200},
	} {
		if res, text := d.send(t, "POST", "/v1/"+c.path, c.body, "Api-Key", "k"); res.StatusCode != c.status {
			t.Errorf("%s %.200s: %d %s", c.path, c.body, res.StatusCode, text)
		}
	}
}

// A body that chooses where it is processed chooses inside the fence.
func TestGeographiesThatABodyAsksFor(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x", Geographies: []string{"us"}}, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Geography: "us"}))
	body := func(member string) string { return `{"model":"gpt-4o","max_tokens":9,"messages":[]` + member + `}` }
	for member, want := range map[string]int{
		``: 200, `,"inference_geo":"us"`: 200, `,"inference_geo":"US"`: 200, `,"inference_geo":null`: 200, `,"metadata":{"inference_geo":"global"}`: 200,
		`,"inference_geo":"global"`: 403, `,"inference_ge\u006f":"eu"`: 403, `,"x":[{"inference_geo":["us","eu"]}]`: 403, `,"inference_geo":""`: 403,
	} {
		d.sent = 0
		res, text := d.send(t, "POST", "/anthropic/v1/messages", body(member), "Api-Key", "k")
		if res.StatusCode != want || (want == 200) != (d.sent == 1) || want == 403 && !strings.Contains(text, "inference_geo") {
			t.Errorf("%s: %d %s, want %d", member, res.StatusCode, text, want)
		}
		<-d.records
	}
	d.consumer = &consumer.Consumer{Name: "x"}
	if res, text := d.send(t, "POST", "/anthropic/v1/messages", body(`,"inference_geo":"eu"`), "Api-Key", "k"); res.StatusCode != 200 {
		t.Errorf("without a fence: %d %s", res.StatusCode, text)
	}
}
