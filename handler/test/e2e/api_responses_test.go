package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

const responsesPath = "/openai/v1/responses"

// createdResponse is what these tests read of a response.
type createdResponse struct {
	ID     string
	Status string
	Output []struct {
		ID, Type  string
		Encrypted string `json:"encrypted_content"`
	}
}

// fourResources is a pool of fourResources equal backends.
func fourResources() []simulator.Resource {
	return []simulator.Resource{deployed("a", "gpt-4o"), deployed("b", "gpt-4o"), deployed("c", "gpt-4o"), deployed("d", "gpt-4o")}
}

// create makes a response, and returns which backend made it.
func (r *rig) create(more string, header ...string) (createdResponse, string) {
	r.t.Helper()
	a := r.post(responsesPath, `{"model":"gpt-4o","input":"Where does the water go?"`+more+`}`, header...)
	var m createdResponse
	a.decoded(r.t, &m)
	return m, a.backend()
}

func TestResponseIsServedByTheBackendThatMadeIt(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources()}.start(t)
	for range 8 {
		m, by := r.create("")
		for _, c := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/" + m.ID, 200},
			{"GET", "/" + m.ID + "/input_items", 200},
			{"POST", "/" + m.ID + "/cancel", 400}, // it is no background response
			{"DELETE", "/" + m.ID, 200},
			{"GET", "/" + m.ID, 404},
		} {
			a := r.get(c.method, responsesPath+c.path)
			if a.status != c.status || a.backend() != by {
				t.Errorf("%s %s: %d by %q, want %d by %s: %s", c.method, c.path, a.status, a.backend(), c.status, by, a.body)
			}
		}
		next, last := r.create("")
		for range 5 {
			next, by = r.create(fmt.Sprintf(`,"previous_response_id":%q`, next.ID))
			if by != last {
				t.Fatalf("the next turn went to %s, want %s", by, last)
			}
		}
	}
}

func TestBackgroundResponseIsPolledAndCancelledAtItsBackend(t *testing.T) {
	t.Parallel()
	resources := fourResources()
	for i := range resources {
		resources[i].Deployments[0].TimeToFirstToken = time.Minute
	}
	r := api{resources: resources}.start(t)
	for range 4 {
		m, by := r.create(`,"background":true`)
		for _, path := range []string{"GET /", "POST /cancel", "GET /"} {
			method, verb, _ := strings.Cut(path, " /")
			var polled createdResponse
			a := r.get(method, strings.TrimSuffix(responsesPath+"/"+m.ID+"/"+verb, "/"))
			a.decoded(t, &polled)
			if polled.ID != m.ID || a.backend() != by {
				t.Errorf("%s: %+v by %s, want it by %s", path, polled, a.backend(), by)
			}
		}
	}
}

func TestResponseStreamIsResumedAtItsBackend(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources()}.start(t)
	for range 4 {
		a := r.post(responsesPath, `{"model":"gpt-4o","input":"Hello","stream":true,"background":true}`)
		_, id, _ := strings.Cut(a.body, `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		again := r.get("GET", responsesPath+"/"+id+"?stream=true&starting_after=3")
		if again.status != 200 || again.backend() != a.backend() || !strings.HasSuffix(a.body, again.body) || again.body == "" {
			t.Errorf("%d by %s, want the rest of what %s said: %q", again.status, again.backend(), a.backend(), again.body)
		}
	}
}

func TestItemReferencesGoToTheirBackend(t *testing.T) {
	t.Parallel()
	resources := fourResources()
	for i := range resources {
		resources[i].Deployments[0].ReasoningTokens = 10
	}
	r := api{resources: resources}.start(t)
	for range 6 {
		m, by := r.create(`,"store":false,"include":["reasoning.encrypted_content"]`)
		kept, at := r.create("")
		compacted := r.post(responsesPath+"/compact", `{"model":"gpt-4o","input":"Hello"}`)
		var c createdResponse
		compacted.decoded(t, &c)
		for name, turn := range map[string]struct{ item, by string }{
			"encrypted, with its id":    {fmt.Sprintf(`{"type":"reasoning","id":%q,"summary":[],"encrypted_content":%q}`, m.Output[0].ID, m.Output[0].Encrypted), by},
			"encrypted, without its id": {fmt.Sprintf(`{"type":"reasoning","summary":[],"encrypted_content":%q}`, m.Output[0].Encrypted), by},
			"reference to a message":    {fmt.Sprintf(`{"type":"item_reference","id":%q}`, kept.Output[1].ID), at},
			"reference without a type":  {fmt.Sprintf(`{"id":%q}`, kept.Output[0].ID), at},
			"compacted":                 {fmt.Sprintf(`{"type":"compaction","id":%q,"encrypted_content":%q}`, c.Output[0].ID, c.Output[0].Encrypted), compacted.backend()},
		} {
			a := r.post(responsesPath, `{"model":"gpt-4o","input":[{"role":"user","content":"Hello"},`+turn.item+`,{"role":"user","content":"Go on"}]}`)
			if a.status != 200 || a.backend() != turn.by {
				t.Errorf("%s: %d by %s, want %s: %s", name, a.status, a.backend(), turn.by, a.body)
			}
		}
	}
	nobodys := r.post(responsesPath, `{"model":"gpt-4o","input":[{"type":"reasoning","summary":[],"encrypted_content":"gAAAforeign"}]}`)
	wantRefusalOfBackend(t, nobodys, 400, "invalid_encrypted_content")
}

func wantRefusalOfBackend(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, code) {
		t.Errorf("%d %s, want %d %s", a.status, a.body, status, code)
	}
}

func TestConversationContinuesAtItsBackend(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources(), entry: func(name string, entry map[string]any) { entry["stateful"] = name == "c" }}.start(t)
	var conversation struct{ ID string }
	r.post("/openai/v1/conversations", `{}`).decoded(t, &conversation)
	for range 4 {
		if _, by := r.create(fmt.Sprintf(`,"conversation":{"id":%q}`, conversation.ID)); by != "c" {
			t.Errorf("served by %s, want c", by)
		}
	}
	if a := r.get("GET", "/openai/v1/conversations/"+conversation.ID); a.status != 200 || a.backend() != "c" {
		t.Errorf("%d by %s, want 200 by c", a.status, a.backend())
	}
	wantRefusal(t, r.post(responsesPath, `{"model":"gpt-4o","input":"x","conversation":"conv_unknown"}`), 404, "not_found")
}

func TestThrottleOfThePinnedBackendReachesTheCaller(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources()}.start(t)
	m, by := r.create("")
	r.sim.Fault(by, simulator.Fault{Action: "429-token", RetryAfter: 7 * time.Second, Count: 1})
	body := fmt.Sprintf(`{"model":"gpt-4o","input":"Go on","previous_response_id":%q}`, m.ID)
	a := r.post(responsesPath, body)
	if a.status != 429 || a.header.Get("Retry-After") != "7" || a.header.Get("Retry-After-Ms") != "7000" || !strings.Contains(a.body, "token rate limit") {
		t.Errorf("%d %v %s, want the backend's own 429", a.status, a.header, a.body)
	}
	again := r.post(responsesPath, body)
	wantRefusal(t, again, 429, "rate_limit_exceeded")
	if s := again.header.Get("Retry-After"); s != "7" && s != "6" && s != "8" {
		t.Errorf("retry-after %q, want what is left of 7", s)
	}
	if a := r.get("GET", responsesPath+"/"+m.ID); a.status != 200 || a.backend() != by {
		t.Errorf("reading it: %d by %s, want 200 by %s: it costs no tokens", a.status, a.backend(), by)
	}
	if n := len(r.sim.Journal()); n != 3 {
		t.Errorf("%d requests reached the backends, want 3", n)
	}
	if _, other := r.create(""); other == by {
		t.Errorf("a new conversation went to %s, which is throttled", other)
	}
}

func TestFailureOfThePinnedBackendReachesTheCaller(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources()}.start(t)
	m, by := r.create("")
	r.sim.Fault(by, simulator.Fault{Action: "503"})
	wantRefusal(t, r.post(responsesPath, fmt.Sprintf(`{"model":"gpt-4o","input":"Go on","previous_response_id":%q}`, m.ID)), 503, "no_backend_available")
	wantRefusal(t, r.get("GET", responsesPath+"/"+m.ID), 503, "no_backend_available")
}

func TestResponseNotYetVisibleIsRetried(t *testing.T) {
	t.Parallel()
	const delay = 200 * time.Millisecond
	resources := fourResources()
	for i := range resources {
		resources[i].StoreDelay = delay
	}
	r := api{resources: resources}.start(t)
	for retried := 0; retried < 4; {
		m, by := r.create("")
		before := len(r.sim.Journal())
		if _, next := r.create(fmt.Sprintf(`,"previous_response_id":%q`, m.ID)); next != by {
			t.Fatalf("served by %s, want %s", next, by)
		}
		journal := r.sim.Journal()
		if journal[before].Time.Sub(journal[before-1].Time) >= delay*3/4 {
			continue // this machine is slow: it was visible at once
		}
		if n := len(journal) - before; n != 2 {
			t.Fatalf("%d attempts, want 2", n)
		}
		retried++
		m, by = r.create("")
		if a := r.get("GET", responsesPath+"/"+m.ID); a.status != 200 || a.backend() != by {
			t.Errorf("%d by %s", a.status, a.backend())
		}
	}
}

// An id that this fleet never made: each backend is asked for it once.
func TestUnknownResponseIsLocatedOnce(t *testing.T) {
	t.Parallel()
	r := api{resources: fourResources()}.start(t)
	var old createdResponse
	direct := ask(t.Context(), t, "POST", r.sim.URL("c")+responsesPath, `{"model":"gpt-4o-at-c","input":"Hello"}`, "Api-Key", backendKey)
	direct.decoded(t, &old)
	before := len(r.sim.Journal())
	for range 3 {
		if _, by := r.create(fmt.Sprintf(`,"previous_response_id":%q`, old.ID)); by != "c" {
			t.Errorf("served by %s, want c", by)
		}
	}
	if n := len(r.sim.Journal()) - before; n > 4+3 {
		t.Errorf("%d requests for three turns, want at most one search and three turns", n)
	}
	wantRefusal(t, r.get("GET", responsesPath+"/resp_nobody"), 404, "not_found")
	wantRefusal(t, r.post(responsesPath, `{"model":"gpt-4o","input":"x","previous_response_id":"resp_nobody"}`), 404, "previous_response_not_found")
}

func TestResponseOfAnotherConsumerIsNotFound(t *testing.T) {
	t.Parallel()
	a := api{resources: fourResources(), document: map[string]any{"consumers": []map[string]any{
		{"name": "mine", "keySetting": "MY_KEY"}, {"name": "other", "keySetting": "OTHER_KEY"},
	}}, env: []string{"SPILLWAY_AUTH=key", "MY_KEY=my-key-0123456789", "OTHER_KEY=other-key-0123456789", "SPILLWAY_STATE=" + storetest.Azurite(t)}}
	r := a.start(t)
	second := a.handler(r)
	m, _ := r.create("", "Api-Key", "my-key-0123456789")
	for _, host := range []string{r.host.URL, second.URL} {
		for _, c := range []struct{ method, path, body string }{
			{"GET", "/%s", ""},
			{"DELETE", "/%s", ""},
			{"GET", "/%s/input_items", ""},
			{"POST", "/%s/cancel", ""},
			{"POST", "", `{"model":"gpt-4o","input":"x","previous_response_id":"%s"}`},
		} {
			ask := func(id, key string) answer {
				path, body := c.path, c.body
				if path != "" {
					path = fmt.Sprintf(path, id)
				} else {
					body = fmt.Sprintf(body, id)
				}
				var a answer
				eventually(t, "an answer of the table", func() bool {
					a = ask(t.Context(), t, c.method, host+responsesPath+path, body, "Api-Key", key)
					return a.status != http.StatusServiceUnavailable
				})
				return a
			}
			foreign, unknown := ask(m.ID, "other-key-0123456789"), ask("resp_nobody", "other-key-0123456789")
			foreign.header.Del("X-Request-Id")
			foreign.header.Del("Date")
			unknown.header.Del("X-Request-Id")
			unknown.header.Del("Date")
			if foreign.status != 404 || unknown.status != 404 || strings.ReplaceAll(foreign.body, m.ID, "resp_nobody") != unknown.body {
				t.Errorf("%s %s: %d %s, an unknown one %d %s", c.method, c.path, foreign.status, foreign.body, unknown.status, unknown.body)
			}
			if fmt.Sprint(headersWithout(foreign.header, "Content-Length")) != fmt.Sprint(headersWithout(unknown.header, "Content-Length")) {
				t.Errorf("%s %s: headers %v, of an unknown one %v", c.method, c.path, foreign.header, unknown.header)
			}
		}
		eventually(t, "an answer to its own consumer", func() bool {
			return ask(t.Context(), t, "GET", host+responsesPath+"/"+m.ID, "", "Api-Key", "my-key-0123456789").status == http.StatusOK
		})
	}
}

func headersWithout(h http.Header, names ...string) http.Header {
	h = h.Clone()
	for _, n := range names {
		h.Del(n)
	}
	return h
}
