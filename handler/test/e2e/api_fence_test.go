package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// Two consumers, each fenced in, over backends on both sides; failures,
// throttles, fallbacks, hedges, affinity and stored responses at random. Not
// one request crosses.
func TestGeographiesAreNeverCrossed(t *testing.T) {
	t.Parallel()
	geographies := map[string]string{"eu1": "eu", "eu2": "eu", "us1": "us", "us2": "us", "nowhere": ""}
	var resources []simulator.Resource
	for _, name := range []string{"eu1", "eu2", "us1", "us2", "nowhere"} {
		res := deployed(name, "gpt-4o", "gpt-4o-mini")
		for i := range res.Deployments {
			res.Deployments[i].TimeToFirstToken, res.Deployments[i].Jitter = 4*time.Millisecond, 1
		}
		resources = append(resources, res)
	}
	keys := map[string]string{"eu": "eu-key-0123456789ab", "us": "us-key-0123456789ab"}
	r := api{resources: resources, entry: func(name string, entry map[string]any) {
		entry["priority"] = map[string]int{"us1": 1, "eu1": 2, "nowhere": 1, "us2": 3, "eu2": 3}[name]
		if geographies[name] != "" {
			entry["geography"] = geographies[name]
		}
		entry["stateful"] = name == "us1"
	}, document: map[string]any{
		"models": map[string]any{"gpt-4o": map[string]any{
			"fallbacks": []string{"gpt-4o-mini"}, "hedge": map[string]any{"after": "2ms", "maxPercent": 50}, "strategy": "least-busy",
		}},
		"circuitBreaker": map[string]any{"tripDuration": "200ms", "maxTripDuration": "400ms"},
		"consumers": []map[string]any{
			{"name": "eu", "keySetting": "EU_KEY", "geographies": []string{"eu"}}, {"name": "us", "keySetting": "US_KEY", "geographies": []string{"us"}},
		},
	}, env: []string{"SPILLWAY_AUTH=key", "EU_KEY=" + keys["eu"], "US_KEY=" + keys["us"], "SPILLWAY_MAX_WAIT=0"}}.start(t)

	for _, res := range resources {
		for _, action := range []string{"503", "429-token", "500", "reset-before-headers", "stream-429", "cut-abort", "slow", "404-deployment"} {
			probability := 0.03
			if action == "404-deployment" {
				probability = 0.0005 // it closes a backend for long
			}
			r.sim.Fault(res.Name, simulator.Fault{Action: action, Probability: probability, RetryAfter: 20 * time.Millisecond, Latency: 20 * time.Millisecond, Chunks: 2})
		}
	}
	var asking sync.WaitGroup
	var served atomic.Int64
	for worker := range 12 {
		asking.Go(func() { served.Add(r.randomWalk(t, uint64(worker), keys)) })
	}
	asking.Wait()

	crossings, hedged := 0, 0
	for _, e := range r.sim.Journal() {
		from, _, _ := strings.Cut(e.Header.Get("X-Whose"), " ")
		if geographies[e.Resource] != from {
			crossings++
			t.Errorf("a request of %s reached %s: %s %s", from, e.Resource, e.Method, e.Path)
		}
		if e.Disconnected() {
			hedged++
		}
	}
	t.Logf("%d requests to backends, %d answers, %d attempts broken off, %d crossings", len(r.sim.Journal()), served.Load(), hedged, crossings)
	if served.Load() < 500 || hedged == 0 {
		t.Errorf("%d answers and %d hedges prove nothing", served.Load(), hedged)
	}
}

// randomWalk sends random operations as one consumer and as the other, with
// the ids of both.
func (r *rig) randomWalk(t *testing.T, seed uint64, keys map[string]string) (served int64) {
	chance := rand.New(rand.NewPCG(seed, 11))
	ids := []string{"resp_nobody"}
	for i := range 200 {
		who := []string{"eu", "us"}[chance.IntN(2)]
		id := ids[chance.IntN(len(ids))]
		method, path, body := "POST", responsesPath, `{"model":"gpt-4o","input":"Hello"}`
		switch chance.IntN(8) {
		case 0, 1:
			path, body = chatPath, hello
		case 2, 3:
			path, body = chatPath, helloSSE
		case 4:
			body = fmt.Sprintf(`{"model":"gpt-4o","input":"Go on","previous_response_id":%q}`, id)
		case 5:
			method, path, body = "GET", responsesPath+"/"+id, ""
		case 6:
			path, body = "/openai/v1/vector_stores", `{}`
		}
		a := ask(t.Context(), t, method, r.host.URL+path, body, "Api-Key", keys[who], "X-Whose", fmt.Sprint(who, " ", i))
		if a.status == 200 {
			served++
		}
		if _, id, ok := strings.Cut(a.body, `"id":"resp_`); ok && !slices.Contains(ids, id) {
			id, _, _ = strings.Cut(id, `"`)
			ids = append(ids, "resp_"+id)
		}
	}
	return served
}

// Azure's own spillover is understood, and nobody else can ask for it.
func TestNativeSpilloverIsReported(t *testing.T) {
	t.Parallel()
	res := simulator.Resource{Name: "ptu", Keys: []string{backendKey}, Deployments: []simulator.Deployment{
		{Name: "gpt-4o-ptu", Model: "gpt-4o", SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 100, ProvisionedBurst: time.Second, Spillover: "gpt-4o-std"},
		{Name: "gpt-4o-std", Model: "gpt-4o-mini"},
	}}
	r := api{resources: []simulator.Resource{res}, entry: func(_ string, entry map[string]any) {
		entry["capacity"], entry["deployments"] = "provisioned", map[string]string{"gpt-4o": "gpt-4o-ptu"}
	}}.start(t)
	var last answer
	for range 4 {
		last = r.post(chatPath, `{"model":"gpt-4o","service_tier":"priority","messages":[{"role":"user","content":"Hello"}]}`, "X-Ms-Spillover-Deployment", "gpt-4o-ptu",
			"X-Ms-Service-Tier", "priority")
		if last.status != 200 || last.header.Get("X-Ms-Deployment-Name") != "" {
			t.Errorf("%d %v: %s", last.status, last.header, last.body)
		}
	}
	r.logged(last)
	spilled, lines := 0, 0
	for _, e := range r.sim.Journal() {
		if e.SpilledFrom != "" {
			spilled++
		}
		if e.Header.Get("X-Ms-Spillover-Deployment") != "" || e.Header.Get("X-Ms-Service-Tier") != "priority" || !strings.Contains(string(e.Body), `"service_tier":"priority"`) {
			t.Errorf("the backend received %v %s", e.Header, e.Body)
		}
	}
	for _, line := range r.host.Stdout() {
		if strings.Contains(line.Text, `"spilled_from":"gpt-4o-ptu","spilled_to":"gpt-4o-std","spilled_for":"429"`) {
			lines++
		}
		if strings.Contains(line.Text, `"msg":"request"`) && !strings.Contains(line.Text, `"service_tier":"`) {
			t.Errorf("no service tier in %s", line.Text)
		}
	}
	if spilled == 0 || lines != spilled {
		t.Errorf("%d requests were spilled, %d lines say so", spilled, lines)
	}
}
