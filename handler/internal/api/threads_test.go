package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

const (
	threadOf   = `{"model":"gpt-4o","max_tokens":9,"messages":[],"thread":{"type":"continue","previous_message_id":"%"}}`
	comparedTo = `{"model":"gpt-4o","max_tokens":9,"messages":[],"diagnostics":{"previous_message_id":"%"}}`
	newThread  = `{"model":"gpt-4o","max_tokens":9,"messages":[],"thread":{"type":"create"}}`
)

func naming(body, id string) string { return strings.ReplaceAll(body, "%", id) }

// message has y make a message, by a request with this body.
func (d *tenants) message(t *testing.T, body, id string) {
	t.Helper()
	d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindMessage, ID: id}}}
	d.served(t, "y", "POST", "/anthropic/v1/messages", body, "application/json")
	d.Relay = d.gateway
}

// The service keeps a conversation under the id of its latest message: nobody else goes
// on with it, nor learns where a prompt differs from it.
func TestThreadsOfMessages(t *testing.T) {
	d := newTenants(t)
	own := "msg_" + serviceID(1)[4:]
	d.message(t, newThread, own)
	d.served(t, "y", "POST", "/anthropic/v1/messages", naming(threadOf, own), "application/json")
	d.served(t, "y", "POST", "/anthropic/v1/messages", naming(comparedTo, own), "application/json")
	for _, spelt := range []string{own, ` ` + own, `\u006d` + own[1:]} {
		for _, body := range []string{
			threadOf, comparedTo, strings.Replace(threadOf, `"previous`, `"\u0070revious`, 1), strings.Replace(threadOf, `{"type":"continue",`, `{`, 1),
			strings.Replace(comparedTo, `"diagnostics"`, `"thread":{"type":"create"},"diagnostics"`, 1),
		} {
			before := d.sent
			res, text := d.send(t, "POST", "/anthropic/v1/messages", naming(body, spelt), "Api-Key", "x", "Content-Type", "application/json")
			if res.StatusCode != http.StatusNotFound || d.sent != before {
				t.Errorf("x names the message of y: %s: %d %s", naming(body, spelt), res.StatusCode, text)
			}
		}
	}
	// An SDK begins a new thread where one is not found, whoever made it.
	for _, id := range []string{own, "msg_unknown"} {
		res, text := d.send(t, "POST", "/anthropic/v1/messages", naming(threadOf, id), "Api-Key", "x", "Content-Type", "application/json")
		if res.StatusCode != http.StatusNotFound || !strings.Contains(text, `"details":{"error_code":"thread_not_found"}`) {
			t.Errorf("x continues %s: %d %s", id, res.StatusCode, text)
		}
	}
	d.served(t, "x", "POST", "/anthropic/v1/messages", naming(comparedTo, "msg_unknown"), "application/json")
	for _, other := range []string{`"previousMessageId"`, `"Previous_Message_Id"`} {
		d.refused(t, "POST", "/anthropic/v1/messages", strings.Replace(naming(threadOf, own), `"previous_message_id"`, other, 1), "application/json", 400)
	}
}

// Who asks for diagnostics by the header alone may have it kept how its prompt begins.
func TestMessagesOfDiagnosticsAreKept(t *testing.T) {
	d := newTenants(t)
	d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindMessage, ID: "msg_1"}}}
	d.send(t, "POST", "/anthropic/v1/messages", `{"model":"gpt-4o","max_tokens":9,"messages":[]}`, "Api-Key", "y", "Anthropic-Beta", "oauth-2025-04-20,cache-diagnosis-2026-04-07")
	if _, err := d.store.Lookup(t.Context(), "y", "msg_1"); err != nil {
		t.Error(err)
	}
}

// Of other requests nothing is kept, so that their ids are not recorded.
func TestMessagesThatAreNotKept(t *testing.T) {
	for body, kept := range map[string]bool{
		newThread: true, `{"model":"gpt-4o","max_tokens":9,"messages":[],"diagnostics":{"previous_message_id":null}}`: true,
		`{"model":"gpt-4o","max_tokens":9,"messages":[]}`: false,
	} {
		for _, strict := range []bool{true, false} {
			d := newTenants(t)
			d.StrictIDs = strict
			d.message(t, body, "msg_1")
			_, err := d.store.Lookup(t.Context(), "y", "msg_1")
			if want := kept && (strict || body == newThread); (err == nil) != want {
				t.Errorf("owners %t: %s: %v", strict, body, err)
			}
		}
	}
}

// While the table is away threads begin again, and nothing else is refused for them.
func TestThreadsWithoutTheTable(t *testing.T) {
	table := new(idTable)
	table.away.Store(true)
	for _, strict := range []bool{true, false} {
		d := newTenants(t)
		d.StrictIDs, d.Affinity = strict, affinity.New(affinity.Config{Table: table})
		d.served(t, "y", "POST", "/anthropic/v1/messages", naming(comparedTo, serviceID(1)), "application/json")
		if compared := strings.Contains(string(d.body), serviceID(1)); compared == strict || !json.Valid(d.body) {
			t.Errorf("owners %v: %s", strict, d.body) // it may be another's
		}
		d.served(t, "y", "POST", "/anthropic/v1/messages", newThread, "application/json")
		want := http.StatusOK // whoever has it
		if strict {
			want = http.StatusNotFound
		}
		if res, text := d.send(t, "POST", "/anthropic/v1/messages", naming(threadOf, serviceID(1)), "Api-Key", "y"); res.StatusCode != want {
			t.Errorf("owners %v: %d %s", strict, res.StatusCode, text)
		}
	}
}

// A thread goes on where it is. Where that cannot serve, its caller begins another.
func TestThreadsGoToTheirBackend(t *testing.T) {
	d := newFenced(t, nil, model("gpt-4o", balancer.Backend{Name: "a", Index: 0, Weight: 1}, balancer.Backend{Name: "b", Index: 1, Weight: 1}))
	d.Affinity = known{"msg_b": "b"}
	for body, want := range map[string]string{naming(threadOf, "msg_b"): "b", naming(comparedTo, "msg_b"): "", naming(threadOf, "msg_unknown"): ""} {
		d.sent, d.pinnedTo = 0, ""
		if res, text := d.send(t, "POST", "/anthropic/v1/messages", body, "Api-Key", "k"); res.StatusCode != http.StatusOK || d.pinnedTo != want {
			t.Errorf("%s: %d %s, pinned to %q, want %q", body, res.StatusCode, text, d.pinnedTo, want)
		}
	}
	for err, want := range map[error]int{proxy.ErrThrottled: 404, proxy.ErrUnavailable: 404, proxy.ErrTimeout: 504} {
		d.do = func(context.Context, []*balancer.Pool, *proxy.Request, proxy.Deliver) *proxy.Result {
			return &proxy.Result{Err: err}
		}
		res, text := d.send(t, "POST", "/anthropic/v1/messages", naming(threadOf, "msg_b"), "Api-Key", "k")
		if res.StatusCode != want || want == 404 && !strings.Contains(text, "thread_not_found") {
			t.Errorf("%v: %d %s, want %d", err, res.StatusCode, text, want)
		}
		if res, _ := d.send(t, "POST", "/anthropic/v1/messages", newThread, "Api-Key", "k"); res.StatusCode == 404 {
			t.Errorf("%v: a new thread is not found", err)
		}
	}
}
