package e2e_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// body is a request with a canary in every member that may hold a text.
func (m *canaryRig) body(more string) string {
	c := m.canaries.canary
	return `{"model":"gpt-4o",` + more + `"user":"` + c("user") + `","metadata":{"ticket":"` + c("metadata") + `"},"prompt_cache_key":"` + c("cache key") + `","safety_identifier":"` + c("safety identifier") + `",
	"messages":[{"role":"system","content":"` + c("system prompt") + `"},
	 {"role":"user","name":"` + c("name") + `","content":[{"type":"text","text":"` + c("prompt") + strings.Repeat(" and so on", 600) + `"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + base64.StdEncoding.EncodeToString([]byte(c("image"))) + `"}}]},
	 {"role":"assistant","tool_calls":[{"id":"` + c("tool call id") + `","type":"function","function":{"name":"look_up","arguments":"{\"patient\":\"` + c("tool argument") + `\"}"}}]},
	 {"role":"tool","tool_call_id":"x","content":"` + c("tool result") + `"}],
	"tools":[{"type":"function","function":{"name":"look_up","description":"` + c("tool description") + `","parameters":{"type":"object","properties":{"patient":{"type":"string","enum":["` + c("schema") + `"]}}}}}]}`
}

// faults are backends that say a canary in everything they may say.
func (m *canaryRig) faults() []simulator.Fault {
	said := m.canaries.canary("backend's error")
	header := map[string]string{"X-Echo": m.canaries.canary("backend's header"), "Apim-Request-Id": m.canaries.canary("backend's id")}
	failure := `{"error":{"code":"` + said + `","type":"` + said + `","message":"` + said + `","innererror":{"x":"` + said + `"}}}`
	all := []simulator.Fault{
		{Action: "status", Status: 302, Header: map[string]string{"Location": "http://" + said + ".invalid/" + said}},
		{Action: "status", Status: 200, Body: `{"error":` + failure + `}`, ContentType: "application/json", Header: header},
		{Action: "status", Status: 200, Body: said, ContentType: "application/json", Header: header},
		{Action: "status", Status: 200, Body: "<html>" + said, ContentType: "text/html"},
		{Action: "status", Status: 429, Body: `{"error":{"code":"429","message":"` + said + ` retry after 1 seconds"}}`, RetryRaw: []string{said}},
		{Action: "400-filter", Header: header},
		{Action: "stream-error"},
		{Action: "cut-abort", Chunks: 2},
		{Action: "reset-before-headers"},
		{Action: "garbage"},
		{Action: "bad-json"},
	}
	for _, status := range []int{400, 401, 403, 404, 408, 409, 422, 500, 503} {
		all = append(all, simulator.Fault{Action: "status", Status: status, Body: failure, ContentType: "application/json", Header: header})
	}
	return all
}

// sendAll says everything in every way.
func (m *canaryRig) sendAll() {
	m.t.Helper()
	key, c := m.canaries["consumer key"], m.canaries.canary
	if text := m.send(key, http.MethodPost, chatPath, m.body("")); !strings.Contains(text, m.canaries["answer"]) {
		m.t.Fatalf("no answer, but %s", text)
	}
	m.send(key, http.MethodPost, chatPath, m.body(`"stream":true,`))
	for _, f := range m.faults() {
		for _, stream := range []string{"", `"stream":true,`} {
			m.sim.Next("a", f)
			m.send(key, http.MethodPost, chatPath, m.body(stream))
			m.sim.Clear("")
			if a := ask(m.t.Context(), m.t, http.MethodPost, m.handler.url+"/ops/api/backends/a/reset", "", "x-spillway-operator-key", m.canaries["operator key"]); a.status != http.StatusOK {
				m.t.Fatalf("reset: %d: %s", a.status, a.body)
			}
		}
	}
	m.send(key, http.MethodPost, "/openai/v1/responses", `{"model":"gpt-4o","input":"`+c("prompt")+`","previous_response_id":"resp_`+c("response id")+`"}`)
	m.send(key, http.MethodPost, "/openai/v1/responses", `{"model":"gpt-4o","input":"`+c("prompt")+`","instructions":"`+c("system prompt")+`"}`)
	m.send(key, http.MethodGet, "/openai/v1/responses/resp_"+c("response id"), "")
	m.send(key, http.MethodPost, "/openai/deployments/"+c("model in the path")+"/chat/completions?api-version="+c("api version")+"&code="+c("code")+"&api-key="+c("key in the query"), m.body(""))
	m.send(key, http.MethodPost, "/openai/v1/"+c("path"), m.body(""))
	m.send(key, c("method"), chatPath, m.body(""))
	m.send(key, http.MethodPost, chatPath, `{"model":"`+c("model in the body")+`","messages":[]}`)
	m.send(key, http.MethodPost, chatPath, `{"model":"gpt-4o","model":"`+c("duplicate")+`"}`)
	m.send(key, http.MethodPost, chatPath, `{"model":"gpt-4o","messages":"`+c("half a body"))
	m.send(c("unknown key"), http.MethodPost, chatPath, m.body(""))
	m.send("spw_"+c("forged key"), http.MethodPost, chatPath, m.body(""))
	m.send(m.canaries["poor consumer key"], http.MethodPost, chatPath, m.body(""))
	for _, wrong := range []string{"/ops/api/status", "/ops/api/backends/" + c("backend's name") + "/drain", "/ops/api/requests?id=" + c("id that is looked for")} {
		ask(m.t.Context(), m.t, http.MethodPost, m.handler.url+wrong, "", "x-spillway-operator-key", c("wrong operator key"))
		ask(m.t.Context(), m.t, http.MethodGet, m.handler.url+wrong, "", "x-spillway-operator-key", m.canaries["operator key"])
	}
	m.issueKey()
	m.send(key, http.MethodPost, chatPath, m.body(""))
}

// What callers, backends and configuration say in confidence is in no log, at
// debug level, no metric, no span, no page and no table; and a name that is to
// be seen is found in each of them by the same search.
func TestNoSecretOrPromptInAnyOutput(t *testing.T) {
	t.Parallel()
	m := newCanaryRig(t)
	m.sendAll()
	places := m.allOutputs()
	control := canaries{"planted": m.visibleName}
	for place, text := range places {
		t.Logf("%s: %d bytes", place, len(text))
		if kinds := m.canaries.leaked(text); len(kinds) > 0 {
			t.Errorf("%s tells of %q", place, kinds)
		}
		if shell := place == "/ops/" || place == "/ops/page.js"; !shell && place != "stderr" && control.leaked(text) == nil {
			t.Errorf("%s does not tell of the consumer's name: was it searched?", place)
		}
	}
	if len(m.canaries) < 45 {
		t.Errorf("only %d canaries", len(m.canaries))
	}
	// Whoever cannot reach the table says so, without the key to it.
	m.azurite.Stop()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(m.handler.out.String(), `"part":"state-read"`); time.Sleep(50 * time.Millisecond) {
		m.send(m.canaries["consumer key"], http.MethodPost, chatPath, m.body(""))
		if time.Now().After(deadline) {
			t.Fatal("nobody says that the table is gone")
		}
	}
	if kinds := m.canaries.leaked(m.handler.out.String() + m.handler.errs.String()); len(kinds) > 0 {
		t.Errorf("without the table the log tells of %q", kinds)
	}
}

// A leak is found however it is written.
func TestLeakSearchFindsEveryEncoding(t *testing.T) {
	t.Parallel()
	c := canaries{}
	secret := c.canary("secret")
	c.canary("another")
	for before := range 5 {
		for _, text := range []string{
			secret, strings.ToUpper(secret), strings.ToLower(secret),
			base64.StdEncoding.EncodeToString([]byte(strings.Repeat("?", before) + secret + " behind")),
			base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("?", before) + secret + " behind")),
		} {
			if got := c.leaked("log: " + text + "."); !slices.Equal(got, []string{"secret"}) {
				t.Errorf("found %q in %s", got, text)
			}
		}
	}
	if got := c.leaked("log: canary and nothing else"); got != nil {
		t.Errorf("found %q where nothing is", got)
	}
}

// The faults of a configuration contain none of its secrets.
func TestConfigurationErrorsContainNoSecrets(t *testing.T) {
	t.Parallel()
	c := canaries{}
	secret := c.canary("secret")
	for _, bad := range []string{
		"SPILLWAY_STATE=DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + secret, "SPILLWAY_STATE=" + secret, "SPILLWAY_TRANSCRIPTS_REDACT=[\"" + secret + "(\"]",
		"SPILLWAY_STATE=TableEndpoint=https://x.table.core.windows.net/;SharedAccessSignature=sig%zz=" + secret, "SPILLWAY_OPERATOR_KEY=" + secret[:4],
	} {
		out, errs, code := command(t, []string{"SPILLWAY_AUTH=none", bad, `SPILLWAY_CONFIG={"backends":[{"name":"a","endpoint":"https://a.openai.azure.com"}]}`}, "validate")
		if code == 0 && strings.Contains(bad, "REDACT") {
			t.Errorf("%s is taken for valid", bad)
		}
		if strings.Contains(out+errs, secret) {
			t.Errorf("%s: %s%s", bad, out, errs)
		}
	}
}
