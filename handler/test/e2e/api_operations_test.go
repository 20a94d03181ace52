package e2e_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

// Each operation, in every family that has it, with the deployment's name where
// the backend reads it.
func TestEveryOperationIsServedInEveryFamily(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("one", everyModel...)}}.start(t)
	r.post("/health/live", "") // from now on the handler's own address is known
	form, formType := multipartForm(t, []byte("sound"), "model", "whisper-1")
	picture, pictureType := multipartForm(t, []byte("png"), "model", "gpt-image-1", "prompt", "a cat")
	for _, c := range []struct{ path, model, body, contentType string }{
		{"chat/completions", "gpt-4o", hello, ""},
		{"completions", "gpt-4o", `{"model":"gpt-4o","prompt":"Hello"}`, ""},
		{"embeddings", "text-embedding-3-small", `{"model":"text-embedding-3-small","input":"Hello"}`, ""},
		{"images/generations", "gpt-image-1", `{"model":"gpt-image-1","prompt":"a cat"}`, ""},
		{"images/edits", "gpt-image-1", picture, pictureType},
		{"audio/speech", "tts-1", `{"model":"tts-1","input":"Hello","voice":"alloy"}`, ""},
		{"audio/transcriptions", "whisper-1", form, formType},
		{"audio/translations", "whisper-1", form, formType},
	} {
		host := r.host.URL
		for _, url := range []string{
			host + "/openai/v1/" + c.path, host + "/v1/" + c.path, host + "/openai/v1/" + c.path + "/",
			host + "/openai/deployments/" + c.model + "/" + c.path + "?api-version=2024-10-21",
			host + "/openai/deployments/" + strings.ReplaceAll(c.model, "-", "%2D") + "/" + c.path + "?api-version=2024-10-21",
			// The host answers 404 to an empty segment (docs/functions-host.md#routes).
			r.host.HandlerURL() + "/openai//v1//" + c.path + "/",
		} {
			a := ask(t.Context(), t, http.MethodPost, url, c.body, "Content-Type", contentTypeOrJSON(c.contentType))
			if a.status != http.StatusOK || a.body == "" {
				t.Errorf("%s: %d %s", url, a.status, a.body)
			}
			journal := r.sim.Journal()
			if e := journal[len(journal)-1]; e.Deployment != c.model+"-at-one" || e.Operation != c.path {
				t.Errorf("%s: the backend was asked for %s of %s", url, e.Operation, e.Deployment)
			}
		}
	}
}

func contentTypeOrJSON(contentType string) string {
	if contentType == "" {
		return "application/json"
	}
	return contentType
}

// What embeddings and pictures and sound are made of arrives as the backend
// sent it, also from the second backend.
func TestFailoverKeepsAnswerBytes(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", everyModel...), deployed("b", everyModel...)}, entry: withPriorities("a", "b")}.start(t)
	for _, c := range []struct{ path, body string }{
		{"embeddings", `{"model":"text-embedding-3-small","input":["Hello","World"],"encoding_format":"float"}`},
		{"embeddings", `{"model":"text-embedding-3-small","input":"Hello","encoding_format":"base64","dimensions":256}`},
		{"audio/speech", `{"model":"tts-1","input":"Hello","voice":"alloy"}`},
	} {
		whole := r.post("/openai/v1/"+c.path, c.body)
		for _, action := range []string{"503", "reset-after-headers", "429-token", "truncated-200"} {
			r.sim.Next("a", simulator.Fault{Action: action, RetryAfter: 1})
			second := r.post("/openai/v1/"+c.path, c.body)
			if second.status != 200 || second.backend() != "b" {
				t.Fatalf("%s after %s: %d by %q: %s", c.path, action, second.status, second.backend(), second.body)
			}
			want := strings.ReplaceAll(whole.body, "-at-a", "-at-b")
			if second.body != want || second.header.Get("Content-Type") != whole.header.Get("Content-Type") {
				t.Errorf("%s after %s: %d bytes of %q, want %d of %q", c.path, action, len(second.body), second.header.Get("Content-Type"), len(want), whole.header.Get("Content-Type"))
			}
		}
	}
}

// withPriorities gives the backends ascending priorities.
func withPriorities(names ...string) func(string, map[string]any) {
	return func(name string, entry map[string]any) { entry["priority"] = slices.Index(names, name) + 1 }
}

func TestFailoverKeepsUploadBytes(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", everyModel...), deployed("b", everyModel...)}, entry: withPriorities("a", "b")}.start(t)
	sound := randomBytes(3 << 20)
	body, contentType := multipartForm(t, sound, "model", "whisper-1", "language", "en")
	r.sim.Next("a", simulator.Fault{Action: "503"})
	if a := r.post("/openai/v1/audio/transcriptions", body, "Content-Type", contentType); a.status != 200 || a.backend() != "b" {
		t.Fatalf("%d by %q: %s", a.status, a.backend(), a.body)
	}
	for _, e := range r.sim.Journal() {
		file, model := fileOf(t, e)
		if !slices.Equal(file, sound) || model != "whisper-1-at-"+e.Resource {
			t.Errorf("%s received %d bytes for the model %q", e.Resource, len(file), model)
		}
		if got := strings.Replace(string(e.Body), model, "whisper-1", 1); got != body {
			t.Errorf("%s: more than the model changed", e.Resource)
		}
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(chance.Uint32())
	}
	return b
}

func TestModelListIsWhatTheConsumerMayUse(t *testing.T) {
	t.Parallel()
	a := api{resources: []simulator.Resource{deployed("one", everyModel...)}, document: map[string]any{
		"models":    map[string]any{"gpt-4o": map[string]any{"aliases": []string{"gpt-4"}}},
		"consumers": []map[string]any{{"name": "team", "keySetting": "TEAM_KEY", "models": []string{"gpt-4o", "tts-1"}}, {"name": "all", "keySetting": "ALL_KEY"}},
	}, env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=team-key-0123456789", "ALL_KEY=all-key-01234567890"}}
	r := a.start(t)
	for key, want := range map[string][]string{"team-key-0123456789": {"gpt-4o", "tts-1"}, "all-key-01234567890": slices.Sorted(slices.Values(everyModel))} {
		for _, path := range []string{"/openai/v1/models", "/v1/models", "/openai/models?api-version=2024-10-21"} {
			var list struct {
				Object string
				Data   []struct{ ID, Object string }
			}
			r.get("GET", path, "Api-Key", key).decoded(t, &list)
			var got []string
			for _, m := range list.Data {
				got = append(got, m.ID)
			}
			if !slices.Equal(got, want) || list.Object != "list" || list.Data[0].Object != "model" {
				t.Errorf("%s: %+v, want %v", path, list, want)
			}
		}
	}
	if a := r.get("GET", "/openai/v1/models/gpt-4", "Api-Key", "team-key-0123456789"); a.status != 200 || !strings.Contains(a.body, `"id":"gpt-4"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantRefusal(t, r.get("GET", "/openai/v1/models/whisper-1", "Api-Key", "team-key-0123456789"), 404, "model_not_found")
	wantRefusal(t, r.get("DELETE", "/openai/v1/models/gpt-4o", "Api-Key", "team-key-0123456789"), 405, "method_not_allowed")
	if n := len(r.sim.Journal()); n != 0 {
		t.Errorf("%d requests reached a backend", n)
	}
}
