package preflight_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/preflight"
	"spillway/handler/internal/simulator"
)

func TestBackendsOfAPoolThatServeDifferentVersionsAreWarnedOf(t *testing.T) {
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

// The same documented in both directions: what the document says of capacity
// is held against what the deployment answers.
func TestCapacityThatIsNotAsWrittenIsWarnedOf(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	s := newInput(t, sim)
	s.Pools[0].Backends[0].Provisioned = false
	s.Pools[0].Backends[1].Provisioned = true
	text, report := print(t, s)
	for _, want := range []string{
		"warning: backends[0] ptu, deployment gpt-4o: it is provisioned, by its header",
		"warning: backends[1] sweden, deployment gpt-4o: it is said to be provisioned, but answers without",
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

func TestSharedQuotaIsPointedAt(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	s := newInput(t, sim)
	for i := range s.Pools[0].Backends {
		s.Pools[0].Backends[i].Region = "SwedenCentral"
	}
	s.Pools[1].Backends[1] = balancer.Backend{Name: "again", Index: 1, Deployment: "text-embedding-3-large", Region: "swedencentral"}
	text, report := print(t, s)
	for _, want := range []string{
		"warning: models.gpt-4o: sweden, france are all in swedencentral: pay-as-you-go quota is per subscription, region and model",
		"warning: models.text-embedding-3-large: sweden, again are one resource, HOST-sweden: their limits come out of one quota",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if report.Count(preflight.Warning) != 2 {
		t.Errorf("a provisioned backend has a quota of its own, and one resource is said once:\n%s", text)
	}
}

// A server whose refusals do not name the model is asked for one token, and
// its body is believed.
func TestOnlyWhatTheFreeAnswersLeaveOpenIsPaidFor(t *testing.T) {
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
	s := &preflight.Input{
		Targets: []*backend.Target{newTarget(t, "own", server.URL+"/v1")},
		Pools:   []balancer.Pool{{Model: "llama", Backends: []balancer.Backend{{Name: "own", Deployment: "llama-3", OpenAI: true}}}},
	}
	s.Targets[0].OpenAI = true
	text, report := print(t, s)
	want := []string{`/v1/chat/completions {"messages":[],"model":"llama-3"}`, `/v1/chat/completions {"max_tokens":1,"messages":[{"content":"hi","role":"user"}],"model":"llama-3"}`}
	if strings.Join(bodies, "|") != strings.Join(want, "|") || report.Paid != 1 || report.Count(preflight.Error) != 0 {
		t.Errorf("%q, want %q:\n%s", bodies, want, text)
	}
}

// Where nobody tells the model, nothing is claimed.
func TestWhatIsNotToldIsNotCompared(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"no"}}`)
	}))
	defer server.Close()
	s := &preflight.Input{
		Targets: []*backend.Target{newTarget(t, "a", server.URL), newTarget(t, "b", server.URL)},
		Pools: []balancer.Pool{{Model: "gpt-image-1", Backends: []balancer.Backend{
			{Name: "a", Deployment: "gpt-image-1", Provisioned: true}, {Name: "b", Index: 1, Deployment: "gpt-image-1"},
		}}},
	}
	text, report := print(t, s)
	if !strings.Contains(text, "ok: models.gpt-image-1: not all of its 2 backends tell what they serve") || report.Paid != 0 || report.Count(preflight.Error) != 0 {
		t.Errorf("an image would cost money, and nothing was told:\n%s", text)
	}
}

func TestABackendThatRepeatsOurKeyDoesNotHaveItPrinted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":{"code":403,"message":"no entry\nfor `+r.Header.Get("Api-Key")+`"}}`)
	}))
	defer server.Close()
	s := &preflight.Input{
		Targets: []*backend.Target{newTarget(t, "a", server.URL)},
		Pools:   []balancer.Pool{{Model: "gpt-4o", Backends: []balancer.Backend{{Name: "a", Deployment: "gpt-4o"}}}},
	}
	if text, _ := print(t, s); !strings.Contains(text, "answers 403 (403 no entry for ***), a refusal that is not known") {
		t.Error(text)
	}
}

func TestADeploymentOfTwoModelsIsAskedForOnce(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	s := newInput(t, sim)
	s.Targets = s.Targets[:1]
	ptu := []balancer.Backend{{Name: "ptu", Deployment: "gpt-4o", Provisioned: true}}
	s.Pools = []balancer.Pool{{Model: "gpt-4o", Backends: ptu}, {Model: "gpt-4", Backends: ptu}}
	if text, report := print(t, s); report.Requests != 2 || !strings.Contains(text, "deployments that exist: 1 of 1") {
		t.Errorf("want one request for it and one for the classic version:\n%s", text)
	}
}

func TestNeitherFamilyNorVersionIsTakenForGranted(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	sim.Fault("sweden", simulator.Fault{Action: "400-version", Operation: "models"})
	sim.Fault("ptu", simulator.Fault{Action: "404-resource", Operation: "models"})
	// Once: the classic path that is tried next is there.
	sim.Next("france", simulator.Fault{Action: "404-resource", Operation: "chat/completions"})
	text, report := print(t, newInput(t, sim))
	golden(t, "paths", text)
	if report.Count(preflight.Error) != 3 {
		t.Error("want an error of each backend")
	}
}

func TestABackendOfAnyModelIsAskedForItsListOnly(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	s := newInput(t, sim)
	s.Pools = []balancer.Pool{{Model: "*", Backends: []balancer.Backend{{Name: "ptu", Index: 0}, {Name: "sweden", Index: 1}}}}
	s.Targets[1].Credential = backend.APIKey{Key: "wrong"}
	s.Targets[2].Credential = backend.PassThrough{}
	text, report := print(t, s)
	for _, want := range []string{
		"ok: backends[0] ptu: the credential is good, v1 and",
		"error: backends[1] sweden: the key is refused",
		"warning: backends[2] france: it answers, but takes the callers' own tokens",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if report.Requests != 4 {
		t.Errorf("%d requests", report.Requests)
	}
}
