package api_test

import (
	"context"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
)

func TestAffinityOnlyForCacheablePrompts(t *testing.T) {
	d := newGateway(t)
	number := func(body string, header ...string) uint64 {
		d.send(t, "POST", chat, body, header...)
		return d.received.Affinity
	}
	long := func(end string) string {
		return `{"model":"gpt-4o","messages":[{"role":"system","content":"` + strings.Repeat("x", 6<<10) + `"},{"role":"user","content":"` + end + `"}]}`
	}
	if number(hello) != 0 {
		t.Error("a short prompt has an affinity")
	}
	if a, b := number(long("one")), number(long("two")); a == 0 || a != b {
		t.Errorf("prompts with a common beginning: %d and %d", a, b)
	}
	if a, b := number(`{"model":"gpt-4o","prompt_cache_key":"k"}`), number(`{"model":"gpt-4o","prompt_cache_key":"l"}`); a == 0 || b == 0 || a == b {
		t.Errorf("two cache keys: %d and %d", a, b)
	}
	if number(hello, "X-Ms-Session-Id", "s") == 0 {
		t.Error("a session has no affinity")
	}
}

func TestHeadOfAStoredResponseAsksTheBackendByGet(t *testing.T) {
	d := newGateway(t)
	d.Locator = d
	res, _ := d.send(t, "HEAD", "/v1/responses/resp_1", "")
	if res.StatusCode != 200 || d.received.Method != "GET" {
		t.Errorf("%d, backend asked by %q", res.StatusCode, d.received.Method)
	}
	if rec := <-d.records; rec.Method != "HEAD" {
		t.Errorf("recorded as %s", rec.Method)
	}
}

// Locate finds every object at the backend of the first pool.
func (d *gateway) Locate(_ context.Context, among []*balancer.Backend, _ *proxy.Request) (*balancer.Backend, error) {
	return among[0], nil
}
