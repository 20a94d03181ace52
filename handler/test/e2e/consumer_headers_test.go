package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyed is a setup of one consumer with one key.
func keyed() setup {
	return setup{
		document: map[string]any{"consumers": []map[string]any{{"name": "key-team", "keySetting": "TEAM_KEY"}}},
		env:      []string{"SPILLWAY_AUTH=key", "TEAM_KEY=" + teamKey},
	}
}

// credentialHeaders is what a request brings along as proof, in pairs.
type credentialHeaders struct {
	query  string
	header []string
}

func (r *rig) withCredentials(o credentialHeaders) answer {
	r.t.Helper()
	path := chatPath
	if o.query != "" {
		path += "?" + o.query
	}
	return r.post(path, hello, o.header...)
}

// A key is read from the three headers that SDKs use and from nowhere else: not
// from the query, which proxies log, and not from headers of the host or of
// EasyAuth.
func TestKeysAreReadFromThreeHeaders(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	r := start(t, i.trusting())
	principal := base64.StdEncoding.EncodeToString([]byte(`{"auth_typ":"aad","claims":[{"typ":"appid","val":"` + appID + `"}]}`))
	for name, o := range map[string]credentialHeaders{
		"nothing":                    {},
		"in the query":               {"api-key=" + teamKey, nil},
		"in the query, in capitals":  {"API-KEY=" + teamKey, nil},
		"in the query, encoded":      {"api%2Dkey=" + teamKey, nil},
		"in the query as well":       {"api-key=" + teamKey, []string{"api-key", teamKey}},
		"in the query by APIM":       {"subscription-key=" + teamKey, nil},
		"in the query as a token":    {"access_token=" + i.token(), nil},
		"as the host's code":         {"code=" + teamKey, nil},
		"as the host's key":          {"", []string{"x-functions-key", teamKey}},
		"as a cookie":                {"", []string{"Cookie", "api-key=" + teamKey}},
		"with an underscore":         {"", []string{"api_key", teamKey}},
		"with underscores":           {"", []string{"Ocp_Apim_Subscription_Key", teamKey}},
		"without a dash":             {"", []string{"ApiKey", teamKey}},
		"as x-api-key":               {"", []string{"x-api-key", teamKey}},
		"as Basic":                   {"", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("key:"+teamKey))}},
		"as another scheme":          {"", []string{"Authorization", "ApiKey " + teamKey}},
		"without a scheme":           {"", []string{"Authorization", teamKey}},
		"after a tab":                {"", []string{"Authorization", "Bearer\t" + teamKey}},
		"Bearer alone":               {"", []string{"Authorization", "Bearer"}},
		"Bearer of nothing":          {"", []string{"Authorization", "Bearer  "}},
		"to a proxy":                 {"", []string{"Proxy-Authorization", "Bearer " + teamKey}},
		"as the consumer's name":     {"", []string{"api-key", "key-team"}},
		"as a consumer header":       {"", []string{"x-consumer", "key-team", "x-spillway-consumer", "key-team", "x-user", "key-team"}},
		"as the setting's name":      {"", []string{"api-key", "TEAM_KEY"}},
		"EasyAuth: principal":        {"", []string{"X-MS-CLIENT-PRINCIPAL", principal, "X-MS-CLIENT-PRINCIPAL-ID", appID, "X-MS-CLIENT-PRINCIPAL-IDP", "aad"}},
		"EasyAuth: name":             {"", []string{"X-MS-CLIENT-PRINCIPAL-NAME", "key-team"}},
		"EasyAuth: token":            {"", []string{"X-MS-TOKEN-AAD-ACCESS-TOKEN", i.token()}},
		"a probe":                    {"", []string{"User-Agent", "kube-probe/1.30"}},
		"from this machine":          {"", []string{"X-Forwarded-For", "127.0.0.1", "X-Real-IP", "127.0.0.1", "Forwarded", "for=127.0.0.1"}},
		"another URL":                {"", []string{"X-Original-URL", "/health/live", "X-Rewrite-URL", "/health/live"}},
		"an operator's":              {"", []string{"x-spillway-operator-key", teamKey}},
		"two different ones":         {"", []string{"api-key", teamKey, "Authorization", "Bearer another-key-0123456789"}},
		"two different ones, turned": {"", []string{"api-key", "another-key-0123456789", "Authorization", "Bearer " + teamKey}},
		"good one and APIM's":        {"", []string{"api-key", teamKey, "Ocp-Apim-Subscription-Key", "another-key-0123456789"}},
		"in capitals":                {"", []string{"api-key", strings.ToUpper(teamKey)}},
		"cut short":                  {"", []string{"api-key", teamKey[:len(teamKey)-1]}},
		"one letter more":            {"", []string{"api-key", teamKey + "x"}},
		"with a space within":        {"", []string{"api-key", teamKey[:5] + " " + teamKey[5:]}},
		"percent-encoded":            {"", []string{"api-key", strings.ReplaceAll(teamKey, "-", "%2D")}},
		"of look-alike letters":      {"", []string{"api-key", strings.ReplaceAll(teamKey, "e", "е")}},
		"quoted":                     {"", []string{"api-key", `"` + teamKey + `"`}},
		"of 8,000 letters":           {"", []string{"api-key", strings.Repeat(teamKey, 300)}},
		"a backend's":                {"", []string{"api-key", backendKey}},
		"a hash of it":               {"", []string{"api-key", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.withCredentials(o)
			if name == "of look-alike letters" { // the host refuses a header that is not ASCII by itself
				if a.status < http.StatusBadRequest {
					t.Errorf("%d %s", a.status, a.body)
				}
				return
			}
			wantRefusal(t, a, http.StatusUnauthorized, "invalid_api_key")
			if strings.Contains(a.body, teamKey) || strings.Contains(a.body, "key-team") {
				t.Errorf("the refusal discloses the credential: %s", a.body)
			}
		})
	}
	if n := len(r.sim.Journal()); n != 0 {
		t.Fatalf("backends saw %d requests without a credential", n)
	}
	r.wantKeysAccepted()
}

// wantKeysAccepted checks the headers that count.
func (r *rig) wantKeysAccepted() {
	r.t.Helper()
	for _, header := range [][]string{
		{"api-key", teamKey},
		{"Authorization", "Bearer " + teamKey},
		{"Authorization", "bearer  " + teamKey},
		{"Ocp-Apim-Subscription-Key", teamKey},
		{"api-key", teamKey, "Authorization", "Bearer " + teamKey, "Ocp-Apim-Subscription-Key", teamKey},
		{"api-key", teamKey, "Connection", "api-key, authorization, x-request-id"},
		{"api-key", teamKey, "x-functions-key", "anything", "X-MS-CLIENT-PRINCIPAL", "anything", "api_key", "canary-of-a-neighbour"},
	} {
		if a := r.post(chatPath, hello, header...); a.status != http.StatusOK {
			r.t.Errorf("%v: %d %s", header[:1], a.status, a.body)
		} else if l := r.lineOf(a); l.Consumer != "key-team" || l.Key != "TEAM_KEY" {
			r.t.Errorf("%v: the log has it from key %q of %q", header[:1], l.Key, l.Consumer)
		}
	}
	r.wantNoBackendRequest()
	text, _ := json.Marshal(r.sim.Journal())
	for _, secret := range []string{teamKey, "canary-of-a-neighbour"} {
		if strings.Contains(string(text), secret) {
			r.t.Errorf("%q reached a backend", secret)
		}
	}
}

// However a path is written, it has the same lock.
func TestPathSpellingsNeverBypassAuthentication(t *testing.T) {
	t.Parallel()
	r := start(t, keyed())
	for _, path := range []string{
		"/health/../openai/v1/chat/completions", "/health/live/../../openai/v1/chat/completions", "//openai/v1/chat/completions", "/openai//v1/chat/completions",
		"/openai/v1/chat/completions/", "/openai/./v1/chat/completions", "/openai/v1/../v1/chat/completions", "/OPENAI/V1/CHAT/COMPLETIONS", "/%6fpenai/v1/chat/completions",
		"/openai%2fv1/chat/completions", "/openai/v1/chat%2fcompletions", "/openai/v1/chat/completions;a=b", "/openai/v1/chat/completions%3fapi-version=1",
		"/openai/v1/chat/completions?health=live", "/v1/chat/completions", "/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/gpt-4o%2f..%2f..%2fhealth/chat/completions",
		"/openai/deployments/%2e%2e/chat/completions", "/openai/v1/models", "/v1/responses", "/openai/v1/nothing", "/v1/",
	} {
		for _, method := range []string{"POST", "GET", "HEAD", "OPTIONS", "DELETE", "TRACE"} {
			a := ask(t.Context(), t, method, r.host.URL+path, hello, "X-HTTP-Method-Override", "GET")
			if a.status != http.StatusUnauthorized && a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
				t.Errorf("%s %s without a key: %d %s", method, path, a.status, a.body)
			}
		}
	}
	if n := len(r.sim.Journal()); n != 0 {
		t.Errorf("backends saw %d requests without a credential", n)
	}
}

// Guesses cost the guesser, and nobody else: every one is refused, good
// requests pass meanwhile, and the log is not flooded.
func TestGuessedKeysAreRefusedUnderLoad(t *testing.T) {
	t.Parallel()
	r := start(t, keyed())
	const guessers, each = 8, 400
	var flood sync.WaitGroup
	for n := range guessers {
		flood.Go(func() {
			for k := range each {
				guess := teamKey[:k%len(teamKey)] + strings.Repeat(string(rune('a'+n)), 20)
				if a := r.post(chatPath, hello, "api-key", guess); a.status != http.StatusUnauthorized {
					t.Errorf("a guess: %d %s", a.status, a.body)
					return
				}
			}
		})
	}
	began := time.Now()
	for range 100 {
		if a := r.post(chatPath, hello, "api-key", teamKey); a.status != http.StatusOK {
			t.Errorf("a good key under the flood: %d %s", a.status, a.body)
		}
	}
	t.Logf("100 good requests under the flood took %v", time.Since(began).Round(time.Millisecond))
	flood.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.host.WaitLine(ctx, "refusals without a line of their own"); err != nil {
		t.Error("the log had a line for every guess")
	}
	if n := len(r.sim.Journal()); n != 100 {
		t.Errorf("backends saw %d requests, want the 100 good ones", n)
	}
}
