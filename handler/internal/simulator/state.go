package simulator

import (
	"fmt"
	"net/http"
	"time"
)

// ResourceState is a resource as it stands now.
type ResourceState struct {
	Name        string            `json:"name"`
	Region      string            `json:"region"`
	URL         string            `json:"url"`
	Faults      []Fault           `json:"faults"`
	Deployments []DeploymentState `json:"deployments"`
}

// DeploymentState is a deployment as it stands now.
type DeploymentState struct {
	Deployment   Deployment `json:"deployment"`
	InFlight     int64      `json:"inFlight"`
	TokensLeft   int        `json:"tokensLeft"`
	RequestsLeft int        `json:"requestsLeft"`
	PTU          PTUReport  `json:"ptu"`
	ReopensIn    string     `json:"reopensIn"` // "0s" while it accepts
}

// State is every resource as it stands now, in order of configuration.
func (s *Service) State() []ResourceState {
	out := make([]ResourceState, 0, len(s.order))
	for _, name := range s.order {
		res := s.resources[name]
		state := ResourceState{Name: name, Region: res.Region, URL: s.URL(name), Faults: s.Faults(name)}
		for _, d := range res.order {
			state.Deployments = append(state.Deployments, res.deployments[d].state(s.cfg.Now()))
		}
		out = append(out, state)
	}
	return out
}

func (d *deployment) state(now time.Time) DeploymentState {
	d.mu.Lock()
	defer d.mu.Unlock()
	spec := *d.spec.Load()
	seen := d.rates(now, &spec)
	wait := d.bucket.untilAccepting()
	if spec.TokensPerMinute > 0 {
		wait = max(wait, seen.tokensReset)
	}
	return DeploymentState{
		Deployment: spec, InFlight: d.inFlight.Load(), TokensLeft: seen.tokensLeft, RequestsLeft: seen.requestsLeft,
		PTU: d.bucket.reportAt(now), ReopensIn: wait.String(),
	}
}

// controlMetrics tells the counters as Prometheus reads them.
func (s *Service) controlMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, c := range s.Counts() {
		labels := fmt.Sprintf("resource=%q,deployment=%q", c.Resource, c.Deployment)
		for outcome, n := range c.Outcomes {
			_, _ = fmt.Fprintf(w, "aoai_requests_total{%s,outcome=%q} %d\n", labels, outcome, n)
		}
		for status, n := range c.Statuses {
			_, _ = fmt.Fprintf(w, "aoai_answers_total{%s,status=\"%d\"} %d\n", labels, status, n)
		}
		_, _ = fmt.Fprintf(w, "aoai_tokens_total{%s,type=\"input\"} %d\n", labels, c.PromptTokens)
		_, _ = fmt.Fprintf(w, "aoai_tokens_total{%s,type=\"cached\"} %d\n", labels, c.CachedTokens)
		_, _ = fmt.Fprintf(w, "aoai_tokens_total{%s,type=\"output\"} %d\n", labels, c.CompletionTokens)
	}
	for _, res := range s.State() {
		for _, d := range res.Deployments {
			if d.Deployment.SKU == Provisioned {
				_, _ = fmt.Fprintf(w, "aoai_utilization_percent{resource=%q,deployment=%q} %.1f\n", res.Name, d.Deployment.Name, d.PTU.Utilization)
			}
		}
	}
}
