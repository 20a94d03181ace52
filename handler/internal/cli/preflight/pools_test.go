package preflight_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/cli/preflight"
	"spillway/handler/internal/simulator"
)

func TestDifferentVersionsInOnePoolAreReported(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	if err := sim.SetDeployment("france", "gpt-4o", func(d *simulator.Deployment) { d.ModelVersion = "2024-08-06" }); err != nil {
		t.Fatal(err)
	}
	text, report := print(t, newInput(t, sim))
	want := "warning: models.gpt-4o: its backends serve different models: gpt-4o-2024-08-06 (france), gpt-4o-2024-11-20 (ptu, sweden). Deploy"
	if report.Count(preflight.Warning) != 1 || report.Count(preflight.Error) != 0 || !strings.Contains(text, want) {
		t.Errorf("want one warning %q:\n%s", want, text)
	}
}

// In both directions: provisioned in the document or by the response only.
func TestCapacityThatDiffersFromTheDocumentIsReported(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	in := newInput(t, sim)
	in.Pools[0].Backends[0].Provisioned = false
	in.Pools[0].Backends[1].Provisioned = true
	text, report := print(t, in)
	for _, want := range []string{
		"warning: backends[0] ptu, deployment gpt-4o: it is provisioned, by its header",
		"warning: backends[1] sweden, deployment gpt-4o: it is configured as provisioned, but responds without",
		"1 of them for a single token or word",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if report.Count(preflight.Warning) != 2 || report.Count(preflight.Error) != 0 || report.Paid != 1 {
		t.Error(text)
	}
	for _, e := range sim.JournalOf("sweden") {
		if e.Admitted && e.CompletionTokens > 1 {
			t.Errorf("%d tokens were spent, want one", e.CompletionTokens)
		}
	}
}

func TestSharedQuotaIsReported(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	in := newInput(t, sim)
	for i := range in.Pools[0].Backends {
		in.Pools[0].Backends[i].Region = "SwedenCentral"
	}
	in.Pools[1].Backends[1] = balancer.Backend{Name: "again", Index: 1, Deployment: "text-embedding-3-large", Region: "swedencentral"}
	text, report := print(t, in)
	for _, want := range []string{
		"warning: models.gpt-4o: sweden, france are all in swedencentral: pay-as-you-go quota is per subscription, region and model",
		"warning: models.text-embedding-3-large: sweden, again are one resource, HOST-sweden: their limits come out of one quota",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if report.Count(preflight.Warning) != 2 {
		t.Errorf("want one warning for each quota that is shared:\n%s", text)
	}
}

// A server whose errors do not name the model gets a request for one token.
func TestPaidRequestOnlyForWhatFreeOnesLeaveUnknown(t *testing.T) {
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.URL.Path+" "+string(body))
		if strings.Contains(string(body), `"messages":[]`) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"[] is too short - 'messages'","type":"invalid_request_error","param":null,"code":null}}`)
			return
		}
		_, _ = io.WriteString(w, `{"object":"chat.completion","model":"llama-\n3"}`)
	}))
	defer server.Close()
	in := &preflight.Input{
		Targets: []*backend.Target{newTarget(t, "own", server.URL+"/v1")},
		Pools:   []balancer.Pool{{Model: "llama", Backends: []balancer.Backend{{Name: "own", Deployment: "llama-3", OpenAI: true}}}},
	}
	in.Targets[0].OpenAI = true
	text, report := print(t, in)
	want := []string{`/v1/chat/completions {"messages":[],"model":"llama-3"}`, `/v1/chat/completions {"max_tokens":1,"messages":[{"content":"hi","role":"user"}],"model":"llama-3"}`}
	if strings.Join(bodies, "|") != strings.Join(want, "|") || report.Paid != 1 || report.Count(preflight.Error) != 0 {
		t.Errorf("%q, want %q:\n%s", bodies, want, text)
	}
}

func TestModelsThatAreNotReportedAreNotCompared(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"no"}}`)
	}))
	defer server.Close()
	in := &preflight.Input{
		Targets: []*backend.Target{newTarget(t, "a", server.URL), newTarget(t, "b", server.URL)},
		Pools: []balancer.Pool{{Model: "gpt-image-1", Backends: []balancer.Backend{
			{Name: "a", Deployment: "gpt-image-1", Provisioned: true}, {Name: "b", Index: 1, Deployment: "gpt-image-1"},
		}}},
	}
	text, report := print(t, in)
	if !strings.Contains(text, "ok: models.gpt-image-1: not all of its 2 backends report their model") || report.Paid != 0 || report.Count(preflight.Error) != 0 {
		t.Errorf("want no paid request and no comparison:\n%s", text)
	}
}

func TestKeyThatABackendRepeatsIsNotPrinted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":{"code":403,"message":"no entry\nfor `+r.Header.Get("Api-Key")+`"}}`)
	}))
	defer server.Close()
	in := &preflight.Input{
		Targets: []*backend.Target{newTarget(t, "a", server.URL)},
		Pools:   []balancer.Pool{{Model: "gpt-4o", Backends: []balancer.Backend{{Name: "a", Deployment: "gpt-4o"}}}},
	}
	if text, _ := print(t, in); !strings.Contains(text, "answers 403 (403 no entry for ***), for an unknown reason") {
		t.Error(text)
	}
}

func TestDeploymentOfTwoModelsIsCheckedOnce(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	in := newInput(t, sim)
	in.Targets = in.Targets[:1]
	ptu := []balancer.Backend{{Name: "ptu", Deployment: "gpt-4o", Provisioned: true}}
	in.Pools = []balancer.Pool{{Model: "gpt-4o", Backends: ptu}, {Model: "gpt-4", Backends: ptu}}
	if text, report := print(t, in); report.Requests != 2 || !strings.Contains(text, "deployments that exist: 1 of 1") {
		t.Errorf("want one request for the deployment and one for its api-version:\n%s", text)
	}
}

func TestPathsAndAPIVersionAreChecked(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	sim.Fault("sweden", simulator.Fault{Action: "400-version", Operation: "models"})
	sim.Fault("ptu", simulator.Fault{Action: "404-resource", Operation: "models"})
	// Once: the deployment path that is tried next is served.
	sim.Next("france", simulator.Fault{Action: "404-resource", Operation: "chat/completions"})
	text, report := print(t, newInput(t, sim))
	golden(t, "paths", text)
	if report.Count(preflight.Error) != 3 {
		t.Error("want an error of each backend")
	}
}

func TestBackendOfAnyModelListsModelsOnly(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	in := newInput(t, sim)
	in.Pools = []balancer.Pool{{Model: "*", Backends: []balancer.Backend{{Name: "ptu", Index: 0}, {Name: "sweden", Index: 1}}}}
	in.Targets[1].Credential = backend.APIKey{Key: "wrong"}
	in.Targets[2].Credential = backend.PassThrough{}
	text, report := print(t, in)
	for _, want := range []string{
		"ok: backends[0] ptu: the credential is accepted, v1 and",
		"error: backends[1] sweden: the key is refused",
		"warning: backends[2] france: it responds, but takes the callers' own tokens",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if report.Requests != 4 {
		t.Errorf("%d requests", report.Requests)
	}
}
