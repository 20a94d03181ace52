package simulator_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// pool is the usual service of these tests: a PTU and a pay-as-you-go resource.
func pool() simulator.Config {
	return simulator.Config{Seed: 1, Resources: []simulator.Resource{
		{Name: "ptu", Region: "uksouth", Keys: []string{"key-ptu"}, Deployments: []simulator.Deployment{
			{Name: "gpt-4o", Model: "gpt-4o", ModelVersion: "2024-11-20", SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 6000},
		}},
		{Name: "payg", Region: "swedencentral", Keys: []string{"key-payg"}, Deployments: []simulator.Deployment{
			{Name: "gpt-4o", Model: "gpt-4o", ModelVersion: "2024-11-20"},
			{Name: "text-embedding-3-large", Model: "text-embedding-3-large"},
		}},
	}}
}

const (
	chatPath   = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
	hello      = `{"messages":[{"role":"user","content":"Say something about water, please."}]}`
	helloAloud = `{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Say something about water, please."}]}`
)

// reply is an answer read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // how reading the body ended, nil for a clean end
}

// post sends a body with the resource's key.
func post(t *testing.T, s *simulator.Service, resource, path, body string, headers ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := do(ctx, s, resource, path, body, headers...)
	if err != nil {
		t.Fatalf("post %s to %s: %v", path, resource, err)
	}
	return r
}

func do(ctx context.Context, s *simulator.Service, resource, path, body string, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(resource)+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("api-key", "key-"+resource)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(read), err}, nil
}
