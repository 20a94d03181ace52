package api_test

import (
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
)

// What reports no usage would be seen by no limit.
func TestUnmeteredOperationsNeedPermissionUnderALimit(t *testing.T) {
	for name, c := range map[string]struct {
		consumer consumer.Consumer
		method   string
		path     string
		refused  bool
	}{
		"a budget":            {consumer.Consumer{Name: "a", BudgetPerMonth: 1}, http.MethodPost, "/openai/v1/batches", true},
		"a limit of a model":  {consumer.Consumer{Name: "a", PerModel: map[string]consumer.Limits{"gpt-4o": {TokensPerMinute: 1}}}, http.MethodPost, "/openai/v1/fine_tuning/jobs", true},
		"allowed":             {consumer.Consumer{Name: "a", BudgetPerMonth: 1, AllowUnmetered: true}, http.MethodPost, "/openai/v1/batches", false},
		"videos":              {consumer.Consumer{Name: "a", BudgetPerMonth: 1}, http.MethodPost, "/openai/v1/videos", true},
		"more of a video":     {consumer.Consumer{Name: "a", BudgetPerMonth: 1}, http.MethodPost, "/openai/v1/videos/video_1/remix", true},
		"seeing a video":      {consumer.Consumer{Name: "a", BudgetPerMonth: 1}, http.MethodGet, "/openai/v1/videos/video_1/content", false},
		"a limit of requests": {consumer.Consumer{Name: "a", RequestsPerMinute: 1}, http.MethodPost, "/openai/v1/evals", false},
		"reading":             {consumer.Consumer{Name: "a", TokensPerMonth: 1}, http.MethodGet, "/openai/v1/batches/batch_1", false},
		"cancelling":          {consumer.Consumer{Name: "a", TokensPerMonth: 1}, http.MethodPost, "/openai/v1/batches/batch_1/cancel", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newGateway(t)
			d.Models = stateful{d}
			d.authenticate = func() (*consumer.Consumer, error) { return &c.consumer, nil }
			res, body := d.send(t, c.method, c.path, `{}`)
			if refused := res.StatusCode == http.StatusForbidden; refused != c.refused {
				t.Errorf("%s %s: %d %s", c.method, c.path, res.StatusCode, body)
			}
			if c.refused {
				wantError(t, res, body, http.StatusForbidden, "unmetered_not_allowed")
			}
		})
	}
}

// Tools that the service runs cost money per call, or tokens of another model: limits
// that would not see it refuse them.
func TestToolsThatNoLimitSeesNeedPermission(t *testing.T) {
	budget, tokens := consumer.Consumer{Name: "a", BudgetPerMonth: 1}, consumer.Consumer{Name: "a", TokensPerMinute: 100_000}
	allowed, perModel := budget, consumer.Consumer{Name: "a", PerModel: map[string]consumer.Limits{"gpt-4o": {BudgetPerMonth: 1}}}
	allowed.AllowUnmetered = true
	const responses, chat, messages = "/openai/v1/responses", "/openai/v1/chat/completions", "/anthropic/v1/messages"
	for name, c := range map[string]struct {
		consumer consumer.Consumer
		path     string
		members  string
		refused  bool
	}{
		"a search of the web":           {budget, responses, `"tools":[{"type":"function","name":"f"},{"type":"web_search_preview"}]`, true},
		"of one model's budget":         {perModel, responses, `"tools":[{"type":"web_search"}]`, true},
		"written with escapes":          {budget, responses, `"tools":[{"type":"web\u005fsearch"}]`, true},
		"behind one without a type":     {budget, responses, `"tools":[{"type":7},{"environment":"x"},{"type":"web_search"}]`, true},
		"a search of files":             {budget, responses, `"tools":[{"type":"file_search","vector_store_ids":[]}]`, true},
		"code":                          {budget, responses, `"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]`, true},
		"a shell of the service":        {budget, responses, `"tools":[{"type":"shell","environment":{"type":"container_auto"}}]`, true},
		"a shell of the caller":         {budget, responses, `"tools":[{"type":"shell","environment":{"type":"local"}}]`, false},
		"a picture":                     {budget, responses, `"tools":[{"type":"image_generation"}]`, true},
		"a picture, a limit of tokens":  {tokens, responses, `"tools":[{"type":"image_generation"}]`, true},
		"a search, a limit of tokens":   {tokens, responses, `"tools":[{"type":"web_search"}]`, false},
		"a search, allowed":             {allowed, responses, `"tools":[{"type":"web_search"}]`, false},
		"counting the tokens of one":    {budget, responses + "/input_tokens", `"tools":[{"type":"web_search"}]`, false},
		"tools of the caller":           {budget, responses, `"tools":[{"type":"function","name":"web_search"},{"type":"mcp","server_label":"x"}]`, false},
		"a prompt about it":             {budget, responses, `"input":"web_search"`, false},
		"no tools":                      {budget, responses, `"tools":null`, false},
		"Anthropic's search":            {budget, messages, `"max_tokens":5,"tools":[{"type":"web_search_20250305","name":"web_search"}]`, true},
		"Anthropic's code":              {budget, messages, `"max_tokens":5,"tools":[{"type":"code_execution_20250825","name":"code_execution"}]`, true},
		"Anthropic's tool of a caller":  {budget, messages, `"max_tokens":5,"tools":[{"type":"bash_20250124","name":"bash"}]`, false},
		"a search of chat":              {budget, chat, `"messages":[],"web_search_options":{}`, true},
		"a search of chat that is null": {budget, chat, `"messages":[],"web_search_options":null`, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newGateway(t)
			d.authenticate = func() (*consumer.Consumer, error) { return &c.consumer, nil }
			res, body := d.send(t, http.MethodPost, c.path, `{"model":"gpt-4o",`+c.members+`}`)
			if refused := res.StatusCode == http.StatusForbidden; refused != c.refused {
				t.Errorf("%s %s: %d %s", c.path, c.members, res.StatusCode, body)
			}
			if c.refused && !strings.Contains(body, "unmetered_not_allowed") && !strings.Contains(body, "allowUnmetered") {
				t.Errorf("refused for another reason: %s", body)
			}
		})
	}
}

// stateful are models with a backend that keeps state.
type stateful struct{ api.Models }

func (stateful) All() []*balancer.Pool {
	return []*balancer.Pool{{Model: "gpt-4o", Backends: []balancer.Backend{{Name: "a", Stateful: true}}}}
}
