package api_test

import (
	"context"
	"net/http"
	"testing"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
)

// known is a store of ids in which these are at these backends.
type known map[string]string

func (k known) Lookup(_ context.Context, _, id string) (affinity.Location, error) {
	if backend, ok := k[id]; ok {
		return affinity.Location{Backend: backend, Model: "gpt-4o"}, nil
	}
	return affinity.Location{}, affinity.ErrUnknown
}

func (k known) LookupAll(ctx context.Context, owner string, ids []string) (found []affinity.Location, errs []error) {
	for _, id := range ids {
		l, err := k.Lookup(ctx, owner, id)
		found, errs = append(found, l), append(errs, err)
	}
	return found, errs
}

func (k known) LookupGiven(ctx context.Context, owner string, ids []string) ([]affinity.Location, []error) {
	return k.LookupAll(ctx, owner, ids)
}

func (known) Remember(affinity.Location, ...string)                  {}
func (known) Record(context.Context, affinity.Location, ...string)   {}
func (known) Claim(context.Context, affinity.Location, string) error { return nil }

func (known) TakeDue(string, string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "", nil }
}

func (known) ReplaceDue(context.Context, string, string, string) (bool, error) {
	return false, nil
}

// A container, the files in it, a sound and an item without its content are at the
// backend that made them: a response's may be any, not only the one that is marked
// stateful, which has the rest.
func TestIDsGoToTheirMaker(t *testing.T) {
	d := newFenced(t, nil, model("gpt-4o", balancer.Backend{Name: "a", Index: 0, Weight: 1, Stateful: true}, balancer.Backend{Name: "b", Index: 1, Weight: 1}))
	d.Affinity, d.Locator = known{"cntr_b": "b", "file-b": "b", "container_011": "b", "audio_b": "b", "ig_b": "b", "msg_b": "b", "mcpr_b": "b"}, holder{}
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/v1/containers/cntr_b", "", "b"},
		{"GET", "/v1/containers/cntr_b/files/cfile_1/content", "", "b"},
		{"DELETE", "/openai/v1/containers/cntr_b", "", "b"},
		{"GET", "/v1/containers/cntr_unknown", "", "a"}, // the holder's Locator
		{"POST", "/v1/containers", `{"name":"x"}`, "a"},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":"cntr_b"}]}`, "b"},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}`, ""},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"code_interpreter_call","container_id":"cntr_b","id":"ci_1","code":"1"}]}`, "b"},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":[{"role":"user","content":"x"},{"type":"image_generation_call","id":"ig_b"}]}`, "b"},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"image_generation_call","id":"ig_b","result":"aGk=","status":"completed"}]}`, ""},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"message","id":"msg_b","role":"assistant","status":"completed"}]}`, "b"},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"message","id":"msg_b","role":"assistant","content":[]}]}`, ""},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"mcp_approval_response","approval_request_id":"mcpr_b","approve":true}]}`, "b"},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"mcp_approval_request","id":"mcpr_b","name":"f","arguments":"{}"},{"type":"mcp_approval_response","approval_request_id":"mcpr_b","approve":true}]}`, ""},
		{"POST", "/v1/chat/completions", `{"model":"gpt-4o","audio":{"voice":"alloy","format":"wav"},"messages":[{"role":"assistant","audio":{"id":"audio_b"}}]}`, "b"},
		{"POST", "/v1/chat/completions", `{"model":"gpt-4o","audio":{"voice":"alloy","format":"wav"},"messages":[{"role":"user","content":"x"}]}`, ""},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"shell","environment":{"type":"container_auto","skills":[{"type":"skill_reference","skill_id":"skill_1"}]}}]}`, "a"},
		{"POST", "/v1/responses", `{"model":"gpt-4o","input":"x","prompt":{"id":"pmpt_1"}}`, "a"},
		{"POST", "/v1/audio/speech", `{"model":"gpt-4o","input":"x","voice":{"id":"voice_1"}}`, "a"},
		{"GET", "/v1/files/file-b/content", "", "b"},
		{"GET", "/v1/files/file-x", "", "a"},
		{"POST", "/anthropic/v1/messages", `{"model":"gpt-4o","max_tokens":1,"messages":[],"container":"container_011"}`, "b"},
	} {
		d.sent, d.pinnedTo = 0, ""
		if res, text := d.send(t, c.method, c.path, c.body, "Api-Key", "k"); res.StatusCode != http.StatusOK || d.sent != 1 || d.pinnedTo != c.want {
			t.Errorf("%s %s %s: %d %s, pinned to %q, want %q", c.method, c.path, c.body, res.StatusCode, text, d.pinnedTo, c.want)
		}
		<-d.records
	}
}

// Tools of Anthropic's that run code have a container, whatever they are called, and
// whoever asked for one may name it.
func TestContainersOfMessages(t *testing.T) {
	d := newTenants(t)
	d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindContainer, ID: "container_011"}}}
	d.served(t, "y", "POST", "/anthropic/v1/messages", `{"model":"gpt-4o","max_tokens":9,"messages":[],"tools":[{"type":"web_search_20260209","name":"web_search"}]}`, "application/json")
	d.Relay = d.gateway
	const next = `{"model":"gpt-4o","max_tokens":9,"messages":[],"container":"container_011"}`
	d.served(t, "y", "POST", "/anthropic/v1/messages", next, "application/json")
	if res, text := d.send(t, "POST", "/anthropic/v1/messages", next, "Api-Key", "x", "Content-Type", "application/json"); res.StatusCode != http.StatusNotFound {
		t.Errorf("another's container: %d %s", res.StatusCode, text)
	}
}
