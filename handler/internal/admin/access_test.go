package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/auth"
)

// Guesses of the key are slowed down for the address that they come from, and for
// nobody else; they are counted, and reported once a minute.
func TestGuessesAreSlowedCountedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keyedScenario()
		const guesses = 1000
		var reports []string
		w.cfg.KeysRefused = func(n uint64, address string) { reports = append(reports, fmt.Sprintf("%d from %s", n, address)) }
		operators := New(w.cfg)
		try := func(from, key string) int {
			t.Helper()
			got := testRequest{path: "/ops/api/status", from: from, header: map[string]string{keyHeader: key}}.to(t, operators)
			if wait := got.Header().Get("Retry-After"); (wait != "") != (got.Code == http.StatusTooManyRequests) {
				t.Errorf("%d with Retry-After %q", got.Code, wait)
			}
			return got.Code
		}
		codes := map[int]int{}
		for i := range guesses {
			codes[try("198.51.100.7:1", fmt.Sprintf("guess-%d", i))]++
		}
		if codes[http.StatusUnauthorized] != attemptBurst || codes[http.StatusTooManyRequests] != guesses-attemptBurst {
			t.Errorf("%v", codes)
		}
		if try("198.51.100.7:2", testKey) != http.StatusTooManyRequests || try("198.51.100.8:1", testKey) != http.StatusOK {
			t.Error("the right key: must wait from that address, and from no other")
		}
		time.Sleep(attemptInterval)
		if try("198.51.100.7:3", testKey) != http.StatusOK || try("198.51.100.7:3", "wrong") != http.StatusUnauthorized || try("198.51.100.7:3", testKey) != http.StatusTooManyRequests {
			t.Error("after a while one more attempt is left")
		}
		if n := operators.RefusedKeys(); n != guesses+3 {
			t.Errorf("%d are counted", n)
		}
		time.Sleep(3 * refusalInterval)
		synctest.Wait()
		if len(reports) != 2 || reports[0] != "1 from 198.51.100.7" || reports[1] != fmt.Sprintf("%d from 198.51.100.7", guesses+2) {
			t.Errorf("reported %q", reports)
		}
	})
}

func TestAttemptsAreBounded(t *testing.T) {
	var a attempts
	now := time.Now()
	for i := range 3 * maxAddresses {
		a.refuse(fmt.Sprint(i), now, true)
	}
	if len(a.byAddress) > maxAddresses {
		t.Errorf("%d addresses are kept", len(a.byAddress))
	}
	if sameCaller("2001:db8::1") != sameCaller("2001:db8::ffff") || sameCaller("2001:db8::1") == sameCaller("2001:db8:1::1") || sameCaller("192.0.2.1") == sameCaller("192.0.2.2") {
		t.Error("addresses of one network")
	}
}

// Only the Functions host may say whom a request comes from.
func TestAddressIsTheHostsOnlyBehindTheHost(t *testing.T) {
	for _, c := range []struct {
		hosted       bool
		remote, sent string
		want         string
	}{
		{false, "192.0.2.1:5", "203.0.113.9", "192.0.2.1"},
		{true, "127.0.0.1:5", "203.0.113.9", "203.0.113.9"},
		{true, "127.0.0.1:5", "203.0.113.9:443", "203.0.113.9"},
		{true, "127.0.0.1:5", "10.0.0.1, 203.0.113.9", "203.0.113.9"},
		{true, "127.0.0.1:5", "[2001:db8::1]:443", "2001:db8::1"},
		{true, "127.0.0.1:5", "::ffff:203.0.113.9", "203.0.113.9"},
		{true, "127.0.0.1:5", "forged\nline", "unknown"},
		{true, "127.0.0.1:5", "", "127.0.0.1"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.sent != "" {
			r.Header.Set("X-Forwarded-For", c.sent)
		}
		if got := clientAddress(r, c.hosted); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestOperatorsByRole(t *testing.T) {
	tokens := map[string]auth.Claims{
		"a.operator.x": {Caller: "oid-1", Name: "eve@contoso.com\u202e", Roles: []string{"Call", "Spillway.Operator"}},
		"a.caller.x":   {Caller: "oid-2", Name: "bob@contoso.com", Roles: []string{"Call"}},
	}
	w := keyedScenario()
	w.cfg.Role = "Spillway.Operator"
	w.cfg.Verify = func(_ context.Context, token string) (auth.Claims, error) {
		switch claims, ok := tokens[token]; {
		case ok:
			return claims, nil
		case token == "a.down.x":
			return auth.Claims{}, fmt.Errorf("issuer: %w", auth.ErrUnavailable)
		}
		return auth.Claims{}, auth.ErrSignature
	}
	w.cfg.TraceID = func(http.Header) string { return "4bf9" }
	var accesses []Access
	w.cfg.Access = func(a *Access) { accesses = append(accesses, *a) }
	h := mount(w.cfg)
	bearer := func(token string) map[string]string {
		return map[string]string{"Authorization": "Bearer " + token, nameHeader: "somebody else"}
	}
	for token, want := range map[string]int{
		"a.operator.x": http.StatusOK, "a.caller.x": http.StatusForbidden, "a.forged.x": http.StatusUnauthorized, "a.down.x": http.StatusServiceUnavailable, testKey: http.StatusOK,
	} {
		if got := (testRequest{path: "/ops/api/status", header: bearer(token)}).to(t, h); got.Code != want {
			t.Errorf("%s: %d %s", token, got.Code, got.Body)
		}
	}
	if got := (testRequest{method: http.MethodPost, path: "/ops/api/backends/ptu-uksouth/drain", header: bearer("a.operator.x")}).to(t, h); got.Code != http.StatusOK {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	if a := w.actions[0]; a.Who != "eve@contoso.com" || a.Object != "oid-1" || a.Key != "" || a.Trace != "4bf9" || !strings.HasPrefix(a.From, "10.") {
		t.Errorf("audited %+v", a)
	}
	if got := (testRequest{method: http.MethodPost, path: "/ops/api/backends/ptu-uksouth/drain", header: bearer("a.caller.x")}).to(t, h); got.Code != http.StatusForbidden || len(w.actions) != 1 {
		t.Errorf("a caller drains: %d %s", got.Code, got.Body)
	}
	if len(accesses) != 7 || accesses[5].Status != http.StatusOK || accesses[5].Method != http.MethodPost || accesses[5].Path != "/ops/api/backends/{backend}/drain" || accesses[5].Who != "eve@contoso.com" || accesses[6].Status != http.StatusForbidden {
		t.Errorf("%+v", accesses)
	}
	w.cfg.Key = ""
	w.cfg.Open = true
	h = mount(w.cfg)
	for token, want := range map[string]int{"a.operator.x": http.StatusOK, "": http.StatusUnauthorized, testKey: http.StatusUnauthorized} {
		if got := (testRequest{path: "/ops/api/status", header: bearer(token)}).to(t, h); got.Code != want {
			t.Errorf("by role alone, %q: %d %s", token, got.Code, got.Body)
		}
	}
}
