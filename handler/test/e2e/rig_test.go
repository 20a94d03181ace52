package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
	"spillway/handler/test/funchost"
)

// rig is the simulated service, the host double, and the handler between.
type rig struct {
	t    *testing.T
	sim  *simulator.Service
	host *funchost.Host
}

// backend is one entry of the pool document, and the resource behind it.
type backend struct {
	name       string
	priority   int
	weight     int
	capacity   string   // "" or "provisioned"
	passes     string   // a header of its own that reaches it; "" = none
	caller     string   // the header with the caller's id; "" = none
	models     []string // deployments of these names and models, instead of deployment
	unlisted   bool     // the pool document has no list of deployments
	deployment simulator.Deployment
}

// setup is what a rig is made of; zero values are a fast, plain pool.
type setup struct {
	backends []backend
	document map[string]any // merged over the pool document
	env      []string
	control  bool
	host     funchost.Options
	journal  int
}

// threeBackends is the pool most tests use: a PTU first, two pay-as-you-go.
func threeBackends() []backend {
	return []backend{
		{name: "ptu", priority: 1, capacity: "provisioned", deployment: simulator.Deployment{SKU: simulator.Provisioned}},
		{name: "payg1", priority: 2},
		{name: "payg2", priority: 2},
	}
}

const backendKey = "backend-key-canary"

// start brings the whole rig up and waits until the handler is ready.
func start(t *testing.T, s setup) *rig {
	t.Helper()
	if s.backends == nil {
		s.backends = threeBackends()
	}
	sim := simulator.Start(t, simulator.Config{Resources: resources(s.backends), Control: s.control, Journal: s.journal, Strict: simulator.Strict{}})
	r := &rig{t: t, sim: sim}
	r.host = r.handler(s)
	return r
}

// handler starts one more handler, behind a host of its own, on the rig's
// simulated service.
func (r *rig) handler(s setup) *funchost.Host {
	r.t.Helper()
	options := s.host
	options.Root = staged
	options.Env = append([]string{
		"SPILLWAY_CONFIG=" + document(r.t, r.sim, s), "BACKEND_KEY=" + backendKey, "SPILLWAY_AUTH=none", "SPILLWAY_EXPOSE=true",
		"AzureWebJobsStorage=", "SPILLWAY_STATE=",
	}, s.env...)
	return funchost.Start(r.t, options)
}

func resources(backends []backend) []simulator.Resource {
	var out []simulator.Resource
	for _, b := range backends {
		d := b.deployment
		if d.Name == "" {
			d.Name = "gpt-4o"
		}
		if d.Model == "" {
			d.Model = "gpt-4o"
		}
		deployments := []simulator.Deployment{d}
		if b.models != nil {
			deployments = nil
		}
		for _, name := range b.models {
			d.Name, d.Model = name, name
			deployments = append(deployments, d)
		}
		out = append(out, simulator.Resource{Name: b.name, Region: "uksouth", Keys: []string{backendKey}, Deployments: deployments})
	}
	return out
}

func document(t *testing.T, sim *simulator.Service, s setup) string {
	t.Helper()
	var list []map[string]any
	for _, b := range s.backends {
		entry := map[string]any{
			"name": b.name, "endpoint": sim.URL(b.name), "region": "uksouth", "priority": b.priority,
			"auth": map[string]any{"mode": "api-key", "setting": "BACKEND_KEY"}, "deployments": map[string]string{"gpt-4o": deploymentOf(b)},
		}
		if b.models != nil {
			entry["deployments"] = b.models
		}
		if b.unlisted {
			delete(entry, "deployments")
		}
		if b.weight != 0 {
			entry["weight"] = b.weight
		}
		if b.capacity != "" {
			entry["capacity"] = b.capacity
		}
		if b.passes != "" {
			entry["passHeaders"] = []string{b.passes}
		}
		if b.caller != "" {
			entry["callerHeader"] = b.caller
		}
		list = append(list, entry)
	}
	doc := map[string]any{"backends": list}
	for k, v := range s.document {
		doc[k] = v
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func deploymentOf(b backend) string {
	if b.deployment.Name != "" {
		return b.deployment.Name
	}
	return "gpt-4o"
}

const (
	chatPath = "/openai/v1/chat/completions"
	hello    = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}`
	helloSSE = `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello"}]}`
)

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body: an aborted connection
}

func (a answer) backend() string { return a.header.Get("X-Spillway-Backend") }

// post sends a request through the host and reads the whole answer.
func (r *rig) post(path, body string, header ...string) answer {
	r.t.Helper()
	return ask(r.t.Context(), r.t, http.MethodPost, r.host.URL+path, body, header...)
}

func ask(ctx context.Context, t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	var text bytes.Buffer
	_, err = io.Copy(&text, res.Body)
	return answer{status: res.StatusCode, header: res.Header, body: text.String(), err: err}
}

// wantServedBy sends one request and checks which backend served.
func (r *rig) wantServedBy(name string) {
	r.t.Helper()
	if a := r.post(chatPath, hello); a.status != http.StatusOK || a.backend() != name {
		r.t.Errorf("%d by %q, want 200 by %q: %s", a.status, a.backend(), name, a.body)
	}
}
