package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

// One consumer alone reaches what its backends hold, as if there were no owners: what
// it makes, lists and deletes here, and what somebody made without the gateway.
func TestOneConsumerAloneIsNotRestricted(t *testing.T) {
	t.Parallel()
	r := api{
		resources: []simulator.Resource{deployed("a", "gpt-4o"), deployed("b", "gpt-4o")}, entry: func(name string, entry map[string]any) { entry["stateful"] = name == "a" },
		document: map[string]any{"consumers": []map[string]any{{"name": "team", "keySetting": "TEAM_KEY"}}}, env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=" + keyOf("team")},
	}.start(t)
	team := func(method, path, body string, header ...string) answer {
		return ask(t.Context(), t, method, r.host.URL+"/openai/v1/"+path, body, append([]string{"Api-Key", keyOf("team")}, header...)...)
	}
	wantServed := func(method, path, body string, header ...string) answer {
		t.Helper()
		a := team(method, path, body, header...)
		if a.status != http.StatusOK {
			t.Errorf("%s %s %.200s: %d %s", method, path, body, a.status, a.body)
		}
		return a
	}
	form, formType := multipartForm(t, []byte(`{"no":"request"}`+"\n"), "purpose", "batch")
	var file, direct, object struct{ ID string }
	wantServed("POST", "files", form, "Content-Type", formType).decoded(t, &file)
	ask(t.Context(), t, "POST", r.sim.URL("a")+"/openai/v1/files", form, "Api-Key", backendKey, "Content-Type", formType).decoded(t, &direct)
	for _, f := range []struct{ path, body, more string }{
		{"batches", `{"input_file_id":%q,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, "POST cancel"},
		{"vector_stores", `{"name":"n","file_ids":[%q]}`, ""},
		{"containers", `{"name":"n","file_ids":[%q]}`, ""},
		{"conversations", `{"items":[{"type":"message","role":"user","content":[{"type":"input_file","file_id":%q}]}]}`, ""},
		{"uploads", `{"purpose":"batch","filename":%q,"bytes":1,"mime_type":"text/jsonl"}`, "POST cancel"},
		{"evals", `{"data_source_config":{"type":"stored_completions"},"testing_criteria":[],"name":%q}`, ""},
		{"fine_tuning/jobs", `{"model":"gpt-4o","training_file":%q}`, "POST cancel"},
		{"videos", `{"model":"gpt-4o","prompt":"p","input_reference":{"file_id":%q}}`, ""},
		{"skills", `{"name":"n","files":[{"file_id":%q}]}`, ""},
	} {
		wantServed("POST", f.path, fmt.Sprintf(f.body, file.ID)).decoded(t, &object)
		wantServed("GET", f.path+"/"+object.ID, "")
		if verb, rest, ok := strings.Cut(f.more, " "); ok {
			wantServed(verb, f.path+"/"+object.ID+"/"+rest, "")
		}
		if f.path != "conversations" {
			if list := wantServed("GET", f.path, ""); !strings.Contains(list.body, object.ID) {
				t.Errorf("the list of %s has no %s: %s", f.path, object.ID, list.body)
			}
		}
		wantServed("POST", f.path, fmt.Sprintf(f.body, direct.ID))
		wantServed("DELETE", f.path+"/"+object.ID, "")
	}
	for _, id := range []string{file.ID, direct.ID} {
		wantServed("GET", "files/"+id, "")
		wantServed("GET", "files/"+id+"/content", "")
	}
	if list := wantServed("GET", "files?limit=2&order=desc", ""); !strings.Contains(list.body, direct.ID) {
		t.Errorf("the list of files: %s", list.body)
	}
	wantServed("DELETE", "files/"+direct.ID, "")

	var first, elsewhere struct{ ID string }
	wantServed("POST", "responses", `{"model":"gpt-4o","input":"Hello"}`).decoded(t, &first)
	ask(t.Context(), t, "POST", r.sim.URL("b")+"/openai/v1/responses", `{"model":"gpt-4o-at-b","input":"Hello"}`, "Api-Key", backendKey).decoded(t, &elsewhere)
	for _, id := range []string{first.ID, elsewhere.ID} {
		wantServed("GET", "responses/"+id, "")
		wantServed("GET", "responses/"+id+"/input_items", "")
		wantServed("POST", "responses", fmt.Sprintf(`{"model":"gpt-4o","input":"Go on","previous_response_id":%q}`, id))
		wantServed("DELETE", "responses/"+id, "")
	}
	source := `"data_sources":[{"type":"azure_search","parameters":{"endpoint":"e","authentication":{"type":"system_assigned_managed_identity"}}}]`
	wantServed("POST", "chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}],`+source+`}`)
	if a := team("POST", "assistants", `{}`); a.status != http.StatusGone {
		t.Errorf("assistants: %d %s", a.status, a.body)
	}
}
