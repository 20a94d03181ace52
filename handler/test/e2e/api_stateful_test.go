package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

// Files, batches and vector stores are kept at the stateful backend, and calls
// that use them go there.
func TestStatefulOperationsGoToTheStatefulBackend(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources(), entry: func(name string, entry map[string]any) { entry["stateful"] = name == "b" }}.start(t)
	content := randomBytes(64 << 10)
	form, formType := multipartForm(t, content, "purpose", "batch")
	var file, batch, store struct{ ID string }
	for _, family := range []struct{ base, query string }{{"/openai/v1", ""}, {"/v1", ""}, {"/openai", "?api-version=2025-04-01-preview"}} {
		r.post(family.base+"/files"+family.query, form, "Content-Type", formType).decoded(t, &file)
		r.post(family.base+"/batches"+family.query, fmt.Sprintf(`{"input_file_id":%q,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, file.ID)).decoded(t, &batch)
		r.post(family.base+"/vector_stores"+family.query, `{"name":"notes"}`).decoded(t, &store)
		if a := r.get("GET", family.base+"/files/"+file.ID+"/content"+family.query); a.status != 200 || a.body != string(content) {
			t.Errorf("content: %d, %d bytes of %d", a.status, len(a.body), len(content))
		}
		for _, path := range []string{"/files", "/files/" + file.ID, "/batches/" + batch.ID, "/vector_stores/" + store.ID} {
			if a := r.get("GET", family.base+path+family.query); a.status != 200 || !strings.Contains(a.body, file.ID[:5]) && !strings.Contains(a.body, `"id":`) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		if a := r.get("POST", family.base+"/batches/"+batch.ID+"/cancel"+family.query); a.status != 200 {
			t.Errorf("cancel: %d %s", a.status, a.body)
		}
		if a := r.get("DELETE", family.base+"/files/"+file.ID+family.query); a.status != 200 {
			t.Errorf("delete: %d %s", a.status, a.body)
		}
		wantRefusalOfBackend(t, r.get("GET", family.base+"/files/"+file.ID+family.query), 404, "No such object")
	}
	for range 6 {
		r.post(responsesPath, fmt.Sprintf(`{"model":"gpt-4o","input":"x","tools":[{"type":"file_search","vector_store_ids":[%q]}]}`, store.ID))
	}
	for _, e := range r.sim.Journal() {
		if e.Resource != "b" {
			t.Errorf("%s %s went to %s", e.Method, e.Path, e.Resource)
		}
		if slices.Contains([]string{"vector_stores", "batches"}, e.Operation) && strings.Contains(string(e.Body), `"model"`) {
			t.Errorf("a model was written into %s", e.Body)
		}
	}
}

func TestStatefulOperationWithoutABackendIsRefused(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources()}.start(t)
	form, formType := multipartForm(t, []byte("data"), "purpose", "batch")
	wantRefusal(t, r.post("/openai/v1/files", form, "Content-Type", formType), 400, "no_stateful_backend")
	wantRefusal(t, r.get("GET", "/openai/v1/vector_stores"), 400, "no_stateful_backend")
	if n := len(r.sim.Journal()); n != 0 {
		t.Errorf("%d requests reached a backend", n)
	}
}

func TestSingleBackendIsStateful(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("one", everyModel...)}}.start(t)
	if a := r.post("/openai/v1/vector_stores", `{}`); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestModelChoosesAmongStatefulBackends(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", "gpt-4o"), deployed("b", "gpt-5")}, entry: func(_ string, entry map[string]any) { entry["stateful"] = true }}.start(t)
	refused := r.get("GET", "/openai/v1/files")
	wantRefusal(t, refused, 400, "model_missing")
	if !strings.Contains(refused.body, "x-spillway-model") {
		t.Errorf("%s does not say how to name it", refused.body)
	}
	if a := r.get("GET", "/openai/v1/files", "X-Spillway-Model", "gpt-5"); a.status != 200 || a.backend() != "b" {
		t.Errorf("%d by %q: %s", a.status, a.backend(), a.body)
	}
	a := r.post("/openai/v1/vector_stores", `{"model":"gpt-4o","name":"x"}`)
	if a.status != 200 || a.backend() != "a" {
		t.Errorf("%d by %q: %s", a.status, a.backend(), a.body)
	}
	if e := r.sim.JournalOf("a"); len(e) != 1 || !strings.Contains(string(e[0].Body), `"gpt-4o-at-a"`) {
		t.Errorf("a received %+v", e)
	}
	// What is to be tuned is a base model, not a deployment.
	tune := r.post("/openai/v1/fine_tuning/jobs", `{"model":"gpt-4o","training_file":"file-1"}`, "X-Spillway-Model", "gpt-5")
	if e := r.sim.JournalOf("b"); tune.backend() != "b" || !strings.Contains(string(e[len(e)-1].Body), `"model":"gpt-4o"`) {
		t.Errorf("%d by %q received %s", tune.status, tune.backend(), e[len(e)-1].Body)
	}
}
