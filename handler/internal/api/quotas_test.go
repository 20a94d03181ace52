package api_test

import (
	"net/http"
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

// stateful are models with a backend that keeps state.
type stateful struct{ api.Models }

func (stateful) All() []*balancer.Pool {
	return []*balancer.Pool{{Model: "gpt-4o", Backends: []balancer.Backend{{Name: "a", Stateful: true}}}}
}
