package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/consumer"
)

const (
	keyA  = "0123456789abcdef-team-a"
	keyB  = "0123456789abcdef-team-b"
	newA  = "fedcba9876543210-team-a"
	token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
)

type fakeRing map[Digest]string

func (f fakeRing) Lookup(_ context.Context, d Digest) (string, string, error) {
	switch who := f[d]; who {
	case "":
		return "", "", ErrUnknown
	case "expired":
		return "", "", ErrExpired
	case "away":
		return "", "", ErrUnavailable
	default:
		return who, "id", nil
	}
}

func (fakeRing) WellFormed(key string) bool { return strings.HasPrefix(key, "spw_") }

// The table is away. A key that it may have is not called wrong; one that it cannot
// have is.
func TestUnknownKeyWithoutTheTable(t *testing.T) {
	a, _ := teams()
	auth, err := New(Settings{
		AcceptKeys: true, Consumers: []*consumer.Consumer{a}, StaticKeys: []StaticKey{{a, "TEAM_A_KEY", keyA}},
		IssuedKeys: fakeRing{DigestOf("spw_issued"): "away", DigestOf(newA): "away"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]error{"spw_issued": ErrUnavailable, newA: ErrUnknown, keyA: nil} {
		if _, err := auth.Authenticate(t.Context(), header("api-key", key), ""); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", key, err, want)
		}
	}
}

// fakeVerifier accepts one token.
type fakeVerifier struct {
	claims Claims
	calls  int
}

func (f *fakeVerifier) Verify(_ context.Context, t string) (Claims, error) {
	f.calls++
	if t != token {
		return Claims{}, ErrSignature
	}
	return f.claims, nil
}

func teams() (a, b *consumer.Consumer) {
	return &consumer.Consumer{Name: "team-a"}, &consumer.Consumer{Name: "team-b"}
}

func keysOnly(t *testing.T) *Authenticator {
	t.Helper()
	a, b := teams()
	auth, err := New(Settings{
		AcceptKeys: true, Consumers: []*consumer.Consumer{a, b},
		StaticKeys: []StaticKey{{a, "TEAM_A_KEY", keyA}, {a, "TEAM_A_KEY_2", newA}, {b, "TEAM_B_KEY", keyB}},
		IssuedKeys: fakeRing{
			DigestOf("spw_issued"): "team-b", DigestOf("spw_expired"): "expired", DigestOf("spw_orphan"): "team-of-old",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[http.CanonicalHeaderKey(pairs[i])] = append(h[http.CanonicalHeaderKey(pairs[i])], pairs[i+1])
	}
	return h
}

func TestKeyHeaders(t *testing.T) {
	auth := keysOnly(t)
	for _, c := range []struct {
		name string
		h    http.Header
		who  string
	}{
		{"api-key", header("api-key", keyA), "team-a"},
		{"bearer", header("Authorization", "Bearer "+keyB), "team-b"},
		{"bearer in lower case with blanks", header("Authorization", "bearer   "+keyB+" "), "team-b"},
		{"subscription key", header("Ocp-Apim-Subscription-Key", keyA), "team-a"},
		{"Anthropic's header", header("x-api-key", keyA), "team-a"},
		{"the old key and the new one", header("api-key", newA), "team-a"},
		{"an SDK that sends both", header("api-key", keyA, "Authorization", "Bearer "+keyA), "team-a"},
		{"all three the same", header("api-key", keyA, "Authorization", "Bearer "+keyA, "Ocp-Apim-Subscription-Key", keyA), "team-a"},
		{"issued at run time", header("api-key", "spw_issued"), "team-b"},
		{"a key and another scheme", header("api-key", keyA, "Authorization", "Basic dTpw"), "team-a"},
	} {
		id, err := auth.Authenticate(t.Context(), c.h, "api-version=2024-10-21&code=hostkey")
		if err != nil || id.Consumer == nil || id.Consumer.Name != c.who {
			t.Errorf("%s: %+v, %v; want %s", c.name, id, err, c.who)
		}
	}
}

func TestRejectedCredentials(t *testing.T) {
	auth := keysOnly(t)
	for _, c := range []struct {
		name  string
		h     http.Header
		query string
		want  Error
	}{
		{"nothing", header(), "", ErrMissing},
		{"an empty key", header("api-key", ""), "", ErrMissing},
		{"bearer of nothing", header("Authorization", "Bearer "), "", ErrMissing},
		{"a key without its scheme", header("Authorization", keyA), "", ErrMissing},
		{"another scheme", header("Authorization", "Basic "+keyA), "", ErrMissing},
		{"api-key twice", http.Header{"Api-Key": {keyA, keyA}}, "", ErrDuplicate},
		{"a valid and another key", http.Header{"Api-Key": {keyA, "other"}}, "", ErrDuplicate},
		{"authorization twice", http.Header{"Authorization": {"Bearer " + keyA, "Bearer " + keyB}}, "", ErrDuplicate},
		{"two keys in two headers", header("api-key", keyA, "Authorization", "Bearer "+keyB), "", ErrConflicting},
		{"two keys in the other two", header("api-key", keyA, "Ocp-Apim-Subscription-Key", keyB), "", ErrConflicting},
		{"two keys, one of Anthropic's header", header("api-key", keyA, "x-api-key", keyB), "", ErrConflicting},
		{"x-api-key twice", http.Header{"X-Api-Key": {keyA, keyB}}, "", ErrDuplicate},
		{"duplicates that the host joined", header("api-key", keyA+", "+keyB), "", ErrUnknown},
		{"an underscore for a dash", http.Header{"Api_key": {keyA}}, "", ErrMissing},
		{"the header without its dash", header("x-apikey", keyA), "", ErrMissing},
		{"the host's own key", header("x-functions-key", keyA), "", ErrMissing},
		{"EasyAuth headers", header("x-ms-client-principal-name", "team-a", "x-ms-client-principal", "eyJ9", "x-ms-token-aad-access-token", token), "", ErrMissing},
		{"a name of a consumer", header("x-user", "team-a", "x-consumer", "team-a"), "", ErrMissing},
		{"in the query", header(), "api-key=" + keyA, ErrInQuery},
		{"in the query and in a header", header("api-key", keyA), "Subscription-Key=" + keyA, ErrInQuery},
		{"escaped in the query", header("api-key", keyA), "api%2Dkey=" + keyA, ErrInQuery},
		{"in upper case", header("api-key", strings.ToUpper(keyA)), "", ErrUnknown},
		{"escaped", header("api-key", strings.ReplaceAll(keyA, "-", "%2D")), "", ErrUnknown},
		{"one character short", header("api-key", keyA[:len(keyA)-1]), "", ErrUnknown},
		{"one character long", header("api-key", keyA+"x"), "", ErrUnknown},
		{"a look-alike letter", header("api-key", strings.Replace(keyA, "a", "а", 1)), "", ErrUnknown},
		{"its digest", header("api-key", fmt.Sprintf("%x", DigestOf(keyA))), "", ErrUnknown},
		{"a megabyte", header("api-key", strings.Repeat("k", 1<<20)), "", ErrUnknown},
		{"a token where tokens are not taken", header("Authorization", "Bearer "+token), "", ErrUnknown},
		{"expired", header("api-key", "spw_expired"), "", ErrExpired},
		{"of a consumer that was removed", header("api-key", "spw_orphan"), "", ErrUnknown},
	} {
		id, err := auth.Authenticate(t.Context(), c.h, c.query)
		if !errors.Is(err, c.want) || id != (Identity{}) {
			t.Errorf("%s: %+v, %v; want %v", c.name, id, err, c.want)
		}
		if Reason(err) == "" || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "0123456789") {
			t.Errorf("%s: the error %v must be one of the fixed reasons, without the key", c.name, err)
		}
	}
}

func withTokens(t *testing.T, keys bool, matches ...TokenRule) (*Authenticator, *fakeVerifier) {
	t.Helper()
	a, b := teams()
	for i := range matches {
		if matches[i].Consumer == nil {
			matches[i].Consumer = b
		}
	}
	v := &fakeVerifier{claims: Claims{AppID: "App-1", Caller: "oid-1", Roles: []string{"reader"}, Groups: []string{"g1"}}}
	s := Settings{AcceptKeys: keys, Verifier: v, Consumers: []*consumer.Consumer{a, b}, TokenRules: matches}
	if keys {
		s.StaticKeys = []StaticKey{{a, "TEAM_A_KEY", keyA}}
	}
	auth, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return auth, v
}

func TestKeyAndTokenOfDifferentConsumersAreRefused(t *testing.T) {
	auth, v := withTokens(t, true, TokenRule{AppID: "app-1"})
	id, err := auth.Authenticate(t.Context(), header("api-key", keyA, "Authorization", "Bearer "+token), "")
	if !errors.Is(err, ErrConflicting) {
		t.Errorf("a key of team-a and a token of team-b: %+v, %v, want ErrConflicting", id, err)
	}
	const backends = "e30.e30.c2ln" // a token that is not for the gateway
	id, err = auth.Authenticate(t.Context(), header("api-key", keyA, "Authorization", "Bearer "+backends), "")
	if err != nil || id.Consumer.Name != "team-a" {
		t.Errorf("a key and a token for a backend: %+v, %v", id, err)
	}
	id, err = auth.Authenticate(t.Context(), header("Authorization", "Bearer "+token), "")
	if err != nil || id.Consumer.Name != "team-b" || id.Caller != "oid-1" {
		t.Errorf("token alone: %+v, %v", id, err)
	}
	if _, err = auth.Authenticate(t.Context(), header("api-key", "wrong", "Authorization", "Bearer "+token), ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("a wrong key and a valid token: %v, want ErrUnknown", err)
	}
	if id, err = auth.Authenticate(t.Context(), header("Authorization", "Bearer "+keyA), ""); err != nil || id.Consumer.Name != "team-a" {
		t.Errorf("a bearer key: %+v, %v", id, err)
	}
	asked := v.calls
	for _, odd := range []string{"a.b", "a.b.c.d.e", "..", "a..c", "a.b.c d", "a.b.ü", ".b.c"} {
		if _, err := auth.Authenticate(t.Context(), header("Authorization", "Bearer "+odd), ""); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v, want an unknown key", odd, err)
		}
	}
	if v.calls != asked {
		t.Error("something that is no token was verified as one")
	}
}

func TestKeyHeaderIgnoredWhenOnlyTokensAreAccepted(t *testing.T) {
	auth, _ := withTokens(t, false, TokenRule{AppID: "APP-1"})
	if id, err := auth.Authenticate(t.Context(), header("api-key", "placeholder", "Authorization", "Bearer "+token), ""); err != nil || id.Consumer.Name != "team-b" {
		t.Errorf("a placeholder key and a token, tokens only: %+v, %v", id, err)
	}
	if _, err := auth.Authenticate(t.Context(), header("api-key", keyA), ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("a key, tokens only: %v", err)
	}
	if _, err := auth.Authenticate(t.Context(), header("Authorization", "Bearer "+strings.Repeat("a", 9000)+"."+strings.Repeat("b", 9000)+".c"), ""); !errors.Is(err, ErrMalformed) {
		t.Errorf("a token of 18 kB: %v", err)
	}
}

func TestTokenRulesRequireEveryClaim(t *testing.T) {
	for _, c := range []struct {
		name  string
		match TokenRule
		want  error
	}{
		{"application", TokenRule{AppID: "app-1"}, nil},
		{"role", TokenRule{Role: "reader"}, nil},
		{"group", TokenRule{Group: "G1"}, nil},
		{"all three", TokenRule{AppID: "app-1", Role: "reader", Group: "g1"}, nil},
		{"application right, role wrong", TokenRule{AppID: "app-1", Role: "writer"}, ErrUnmapped},
		{"application wrong", TokenRule{AppID: "app-2"}, ErrUnmapped},
		{"role in other letters", TokenRule{Role: "Reader"}, ErrUnmapped},
		{"group wrong", TokenRule{Group: "g2"}, ErrUnmapped},
	} {
		auth, _ := withTokens(t, false, c.match)
		_, err := auth.Authenticate(t.Context(), header("Authorization", "Bearer "+token), "")
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	auth, v := withTokens(t, false, TokenRule{Group: "g9"})
	v.claims.Overage = true
	if _, err := auth.Authenticate(t.Context(), header("Authorization", "Bearer "+token), ""); !errors.Is(err, ErrGroupsOverage) {
		t.Errorf("groups left out of the token: %v", err)
	}
}

func TestInvalidSettings(t *testing.T) {
	a, b := teams()
	both := []*consumer.Consumer{a, b}
	good := []StaticKey{{a, "A", keyA}}
	for _, c := range []struct {
		name string
		s    Settings
		want string
	}{
		{"nothing asked for", Settings{}, "SPILLWAY_AUTH"},
		{"none and keys", Settings{AllowAnonymous: true, AcceptKeys: true, Consumers: both, StaticKeys: good}, `write "none" alone`},
		{"keys without consumers", Settings{AcceptKeys: true}, `add "consumers"`},
		{"keys that nobody can have", Settings{AcceptKeys: true, Consumers: both}, `"keySetting"`},
		{"tokens of nobody", Settings{Verifier: &fakeVerifier{}, Consumers: both}, `"entra"`},
		{"an empty rule", Settings{Verifier: &fakeVerifier{}, Consumers: both, TokenRules: []TokenRule{{Consumer: a}}}, `empty "entra" rule`},
		{"a short key", Settings{AcceptKeys: true, Consumers: both, StaticKeys: []StaticKey{{a, "A", "secret"}}}, "6 characters"},
		{"one key for two", Settings{AcceptKeys: true, Consumers: both, StaticKeys: []StaticKey{{a, "A", keyA}, {b, "B", keyA}}}, "as well"},
		{"three keys for one", Settings{AcceptKeys: true, Consumers: both, StaticKeys: []StaticKey{{a, "A", keyA}, {a, "A2", keyB}, {a, "A3", newA}}}, "more than 2 keys"},
	} {
		auth, err := New(c.s)
		if err == nil || auth != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), keyA) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: the error contains a key: %v", c.name, err)
		}
	}
}

func TestAnonymousAccess(t *testing.T) {
	auth, err := New(Settings{AllowAnonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	id, err := auth.Authenticate(t.Context(), header("api-key", "whatever"), "")
	if err != nil || id != (Identity{}) {
		t.Errorf("%+v, %v, want the anonymous identity", id, err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	f.Add("api-key", "k", "Bearer x", "a=b")
	f.Add("Authorization", "Bearer a.b.c", "Bearer", "%zz")
	a, b := teams()
	auth, err := New(Settings{
		AcceptKeys: true, Consumers: []*consumer.Consumer{a, b}, StaticKeys: []StaticKey{{a, "A", keyA}},
		Verifier: &fakeVerifier{}, TokenRules: []TokenRule{{Consumer: b, AppID: "app"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value, authorization, query string) {
		if strings.Contains(value+authorization, keyA) || strings.Contains(authorization+value, token) {
			return
		}
		h := http.Header{"Authorization": {authorization}}
		h.Add(name, value)
		if id, err := auth.Authenticate(t.Context(), h, query); err == nil || id != (Identity{}) {
			t.Errorf("%q: %q, %q, %q was accepted as %+v", name, value, authorization, query, id)
		}
	})
}

// The order of the consumers in the document decides nothing.
func TestMostSpecificRuleOfATokenDecides(t *testing.T) {
	eu, us := &consumer.Consumer{Name: "eu"}, &consumer.Consumer{Name: "us"}
	app, role, group := TokenRule{AppID: "app-1"}, TokenRule{Role: "reader"}, TokenRule{Group: "g1"}
	appRole := TokenRule{AppID: "app-1", Role: "reader"}
	of := func(c *consumer.Consumer, r TokenRule) TokenRule {
		r.Consumer = c
		return r
	}
	for _, tt := range []struct {
		name  string
		rules []TokenRule
		want  string // "" = refused as ambiguous
	}{
		{"more members win", []TokenRule{of(us, role), of(eu, appRole)}, "eu"},
		{"the same in another order", []TokenRule{of(eu, appRole), of(us, role)}, "eu"},
		{"an app and a role", []TokenRule{of(eu, app), of(us, role)}, ""},
		{"a role and a group", []TokenRule{of(us, group), of(eu, role)}, ""},
		{"two rules of one consumer", []TokenRule{of(eu, app), of(eu, role)}, "eu"},
		{"one does not match", []TokenRule{of(us, TokenRule{Role: "writer"}), of(eu, role)}, "eu"},
	} {
		v := &fakeVerifier{claims: Claims{AppID: "App-1", Roles: []string{"reader"}, Groups: []string{"g1"}}}
		auth, err := New(Settings{Verifier: v, Consumers: []*consumer.Consumer{eu, us}, TokenRules: tt.rules})
		if err != nil {
			t.Fatal(err)
		}
		id, err := auth.Authenticate(t.Context(), header("Authorization", "Bearer "+token), "")
		if tt.want == "" && !errors.Is(err, ErrAmbiguous) || tt.want != "" && (err != nil || id.Consumer.Name != tt.want) {
			t.Errorf("%s: %+v, %v, want %q", tt.name, id, err, tt.want)
		}
	}
}
