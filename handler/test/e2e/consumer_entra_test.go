package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// requestLine is the log line of a request.
type requestLine struct {
	Consumer string `json:"consumer"`
	Caller   string `json:"caller"`
	Key      string `json:"key"`
	Cause    string `json:"cause"`
	Status   int    `json:"status"`
	Attempts []struct {
		Backend string `json:"backend"`
	} `json:"attempts"`
}

// lineOf waits for the line of an answer: it is written asynchronously.
func (r *rig) lineOf(a answer) requestLine {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	id := a.header.Get("X-Request-Id")
	text, err := r.host.WaitLine(ctx, id)
	if err != nil || id == "" {
		r.t.Fatalf("no line for request %q: %v", id, err)
	}
	var line requestLine
	if err := json.Unmarshal([]byte(text.Text), &line); err != nil {
		r.t.Fatalf("%s: %v", text.Text, err)
	}
	return line
}

// withToken sends a request with a bearer token.
func (r *rig) withToken(token string) answer {
	r.t.Helper()
	return r.post(chatPath, hello, "Authorization", "Bearer "+token)
}

// wantAuthenticated checks that a token's bearer is served.
func (r *rig) wantAuthenticated(what, token string) {
	r.t.Helper()
	if a := r.withToken(token); a.status != http.StatusOK {
		r.t.Errorf("%s: %d %s", what, a.status, a.body)
	}
}

func (r *rig) wantRefused(what, token string) {
	r.t.Helper()
	if a := r.withToken(token); a.status != http.StatusUnauthorized {
		r.t.Errorf("%s: %d %s, want 401", what, a.status, a.body)
	}
}

// Tokens of both versions belong to the consumer of their application, group
// or role; who has one is in the log, and nothing of it reaches a backend.
func TestTokenIsMatchedByAppGroupOrRole(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	s := i.trusting()
	s.backends = []backend{{name: "withcaller", priority: 1, caller: "x-caller-id"}}
	r := start(t, s)
	v1 := []any{"iss", v1Issuer, "aud", "api://" + resourceID, "azp", nil, "ver", "1.0"}
	other := []any{"azp", strangerID}
	for name, c := range map[string]struct {
		claims           []any
		consumer, caller string
	}{
		"v2 of an application":        {nil, "app-team", "oid-1"},
		"v1 of an application":        {append(v1, "appid", appID), "app-team", "oid-1"},
		"v2 without oid":              {[]any{"oid", nil}, "app-team", "sub-1"},
		"app id in capitals":          {[]any{"azp", strings.ToUpper(appID)}, "app-team", "oid-1"},
		"managed identity":            {append(v1, "appid", appID, "oid", "mi-object", "sub", "mi-object", "idtyp", "app", "xms_mirid", "/subscriptions/x"), "app-team", "mi-object"},
		"v2 of a group":               {append(other, "groups", []string{"x", groupID}), "group-team", "oid-1"},
		"v1 of a role":                {append(v1, "appid", strangerID, "roles", []string{"Other", roleName}), "role-team", "oid-1"},
		"expired within the leeway":   {[]any{"exp", time.Now().Add(-2 * time.Minute).Unix()}, "app-team", "oid-1"},
		"early within the leeway":     {[]any{"nbf", time.Now().Add(2 * time.Minute).Unix()}, "app-team", "oid-1"},
		"audience as a list of one":   {[]any{"aud", []string{resourceID}}, "app-team", "oid-1"},
		"audience as the App ID URI":  {[]any{"aud", "api://" + resourceID}, "app-team", "oid-1"},
		"key of a consumer with keys": {nil, "key-team", ""},
	} {
		t.Run(name, func(t *testing.T) {
			token := i.token(c.claims...)
			if c.consumer == "key-team" {
				token = teamKey
			}
			a := r.post(chatPath, hello, "Authorization", "Bearer "+token, "X-Caller-Id", "somebody-else")
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if l := r.lineOf(a); l.Consumer != c.consumer || l.Caller != c.caller {
				t.Errorf("the log has it from %q of %q, want %q of %q", l.Caller, l.Consumer, c.caller, c.consumer)
			}
			seen := r.sim.Journal()
			if listed := seen[len(seen)-1].Header.Get("X-Caller-Id"); listed != c.caller {
				t.Errorf("the backend received the caller %q, want %q", listed, c.caller)
			}
		})
	}
	r.wantNoBackendRequest()
	if n := i.fetches(); n != 1 {
		t.Errorf("the issuer's keys were fetched %d times, want once", n)
	}
}

// wantNoBackendRequest checks that no backend saw a bearer or any key but ours.
func (r *rig) wantNoBackendRequest() {
	r.t.Helper()
	for _, e := range r.sim.Journal() {
		if e.Header.Get("Authorization") != "" || e.Header.Get("Api-Key") != backendKey {
			r.t.Errorf("the backend was shown Authorization %q, api-key %q", e.Header.Get("Authorization"), e.Header.Get("Api-Key"))
		}
	}
}

// An issuer that cannot be asked costs nobody anything whose key is known.
func TestIssuerOutageKeepsKnownKeys(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	i.generate("two", "RS256")
	i.hide("two") // not published yet
	r := start(t, i.trusting())
	good, unknown := i.token(), i.sign("two", i.claims())
	r.wantAuthenticated("before", good)
	i.setMode(hanging)
	var asking sync.WaitGroup
	var refused atomic.Bool
	asking.Go(func() {
		r.wantRefused("hanging: key unknown", unknown)
		refused.Store(true)
	})
	for i.fetches()+i.discoveryFetches() < 3 { // until it is asked because of that
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	r.wantAuthenticated("hanging: key known", good)
	if took := time.Since(began); took > 4*time.Second && refused.Load() { // who waits for the issuer waits as long as the other
		t.Errorf("a token of a known key waited %v for the issuer", took)
	}
	asking.Wait()
	for name, down := range map[string]func(){"failing": func() { i.setMode(failing) }, "rambling": func() { i.setMode(rambling) }, "refusing": i.refuse} {
		down()
		r.wantRefused(name+": key unknown", unknown)
		r.wantAuthenticated(name+": key known", good)
	}
}

// Without the issuer's keys nobody is let in by token, and that is not the
// caller's fault; keys of ours work; and it heals by itself.
func TestTokensAreRefusedBeforeKeysAreFetched(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	i.refuse()
	r := start(t, i.trusting())
	good := i.token()
	a := r.withToken(good)
	wantRefusal(t, a, http.StatusServiceUnavailable, "credential_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("no retry-after")
	}
	if a := r.post(chatPath, hello, "api-key", teamKey); a.status != http.StatusOK {
		t.Errorf("a key while the issuer is down: %d %s", a.status, a.body)
	}
	i.listen()
	deadline := time.Now().Add(time.Minute)
	for a = r.withToken(good); a.status == http.StatusServiceUnavailable && time.Now().Before(deadline); a = r.withToken(good) {
		time.Sleep(100 * time.Millisecond)
	}
	if a.status != http.StatusOK {
		t.Errorf("after the issuer was back: %d %s", a.status, a.body)
	}
	if n := len(r.sim.Journal()); n != 2 {
		t.Errorf("backends saw %d requests, want the key's and the last", n)
	}
}

// However many key ids are made up, the issuer is asked once, and good tokens
// pass meanwhile.
func TestUnknownKeyIDsFetchKeysOnce(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	r := start(t, i.trusting())
	good := i.token()
	r.wantAuthenticated("before", good)
	_, rest, _ := strings.Cut(good, ".")
	const floods, each = 8, 250
	var flood sync.WaitGroup
	for n := range floods {
		flood.Go(func() {
			for k := range each {
				head := encoded(fmt.Sprintf(`{"alg":"RS256","kid":"made-up-%d-%d"}`, n, k))
				if a := r.withToken(head + "." + rest); a.status != http.StatusUnauthorized {
					t.Errorf("unknown key id: %d %s", a.status, a.body)
					return
				}
			}
		})
	}
	for range 50 {
		r.wantAuthenticated("under the flood", good)
	}
	flood.Wait()
	if n := i.fetches(); n > 2 {
		t.Errorf("%d key ids that do not exist: the keys were fetched %d times, want once at the start and once more", floods*each, n)
	}
}

// The issuer's new key is accepted at its first token, and one that was
// withdrawn is not any more; tokens of the old key pass until then.
func TestNewSigningKeyIsAcceptedAtItsFirstToken(t *testing.T) {
	t.Parallel()
	i := startIssuer(t)
	r := start(t, i.trusting())
	old := i.token()
	r.wantAuthenticated("before", old)
	i.generate("two", "RS256")
	r.wantAuthenticated("the old key after the new one is there", old)
	i.hide("one")
	r.wantAuthenticated("the new key", i.sign("two", i.claims()))
	r.wantRefused("the key that was withdrawn", old)
	if n := i.fetches(); n != 2 {
		t.Errorf("the keys were fetched %d times, want 2", n)
	}
}
