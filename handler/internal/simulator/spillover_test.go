package simulator_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

func spilling(property string) (*simulator.Service, *clock) {
	c := newClock()
	return simulator.New(simulator.Config{Now: c.Now, Resources: []simulator.Resource{{
		Name: "one", Region: "uksouth", Auth: simulator.AuthAnonymous, Deployments: []simulator.Deployment{
			{Name: "gpt-4o", Model: "gpt-4o", SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 60, ContextWindow: 500, Spillover: property},
			{Name: "standard", Model: "gpt-4o", TokensPerMinute: 100000},
			{Name: "tiny", Model: "gpt-4o", TokensPerMinute: 1},
		},
	}}}), c
}

func spillCall(t *testing.T, s *simulator.Service, body, header string) reply {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/one"+chatPath, strings.NewReader(body))
	if header != "" {
		r.Header.Set("X-Ms-Spillover-Deployment", header)
	}
	s.ServeHTTP(w, r)
	return reply{status: w.Code, header: w.Header(), body: w.Body.String()}
}

func TestProvisionedSpillsToItsStandard(t *testing.T) {
	full := costing(100)
	tests := []struct {
		name, property, header string
		fault                  string
		body                   string
		status                 int
		servedBy, cause        string
	}{
		{"429, by property", "standard", "", "", full, 200, "standard", "429"},
		{"429, by header", "", "standard", "", full, 200, "standard", "429"},
		{"the property wins", "standard", "tiny", "", full, 200, "standard", "429"},
		{"no spillover", "", "", "", full, 429, "gpt-4o", ""},
		{"unknown target", "", "nobody", "", full, 429, "gpt-4o", ""},
		{"target refuses too", "tiny", "", "", full, 429, "gpt-4o", ""},
		{"500", "standard", "", "500", full, 200, "standard", "500"},
		{"503", "standard", "", "503", full, 200, "standard", "503"},
		{"401 stays", "standard", "", "401-key", full, 401, "gpt-4o", ""},
		{"long context", "standard", "", "", costing(600), 200, "standard", "400"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := spilling(tt.property)
			if tt.fault == "" {
				spillCall(t, s, full, "") // fills the bucket
			} else {
				s.Next("one", simulator.Fault{Action: tt.fault})
			}
			r := spillCall(t, s, tt.body, tt.header)
			if r.status != tt.status || r.header.Get("x-ms-deployment-name") != tt.servedBy || r.header.Get("x-ms-spillover-error") != tt.cause {
				t.Fatalf("got %d by %s for %q: %s", r.status, r.header.Get("x-ms-deployment-name"), r.header.Get("x-ms-spillover-error"), r.body)
			}
			if r.status == 429 && !strings.Contains(r.body, "provisioned throughput") {
				t.Errorf("the refusal is not the provisioned deployment's: %s", r.body)
			}
			from, spilled := "", "false"
			if tt.cause != "" {
				from, spilled = "gpt-4o", "true"
			}
			if r.header.Get("x-ms-spillover-from-deployment") != from || r.header.Get("x-ms-is-spilled-over") != spilled {
				t.Errorf("from %q, spilled %q", r.header.Get("x-ms-spillover-from-deployment"), r.header.Get("x-ms-is-spilled-over"))
			}
		})
	}
}
