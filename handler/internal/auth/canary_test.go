package auth_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/auth/entra"
	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore/memory"
)

// fixture is an authenticator with static keys, issued keys and tokens.
type fixture struct {
	auth   *auth.Authenticator
	store  *memory.Store
	feed   *quota.ChangeFeed
	tokens *entra.Verifier
	signer *rsa.PrivateKey
	issuer string
	mu     sync.Mutex
	output strings.Builder // everything that operators or callers can read
}

func (h *fixture) record(what ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range what {
		fmt.Fprintf(&h.output, "%v %+v %#v\n", w, w, w)
	}
}

func newFixture(t *testing.T, static string) *fixture {
	t.Helper()
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := &fixture{store: new(memory.Store), signer: signer}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	h.issuer = server.URL
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": h.issuer, "jwks_uri": h.issuer + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "kid": "k", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(signer.N.FillBytes(make([]byte, 256))),
		}}})
	})
	if h.tokens, err = entra.New(entra.Config{Issuer: h.issuer, Audience: "api://spillway"}); err != nil {
		t.Fatal(err)
	}
	h.feed = &quota.ChangeFeed{Store: h.store}
	cache := &keys.Cache{Store: h.store, Feed: h.feed, OnError: func(err error) { h.record(err) }}
	h.feed.Subscribe(cache.OnFeedRead)
	t.Cleanup(cache.Close)
	who := &consumer.Consumer{Name: "team-a"}
	h.auth, err = auth.New(auth.Settings{
		AcceptKeys: true, Consumers: []*consumer.Consumer{who}, IssuedKeys: cache, Verifier: h.tokens,
		StaticKeys: []auth.StaticKey{{Consumer: who, Setting: "TEAM_A_KEY", Value: static}}, TokenRules: []auth.TokenRule{{Consumer: who, AppID: "app"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *fixture) token(t *testing.T) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": h.issuer, "aud": "api://spillway", "azp": "app", "oid": "oid-1", "exp": time.Now().Add(time.Hour).Unix(), "canary": "CANARY-CLAIM",
	})
	token.Header["kid"] = "k"
	signed, err := token.SignedString(h.signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Valid, altered and misplaced credentials, concurrently: no part of them may be
// in an error, an identity or the table.
func TestNoCredentialInErrorsIdentitiesOrTable(t *testing.T) {
	const static = "CANARY-STATIC-0123456789"
	h := newFixture(t, static)
	issued, _, err := (&keys.Issuer{Store: h.store, Feed: h.feed}).Add(t.Context(), "team-a", 0)
	if err != nil {
		t.Fatal(err)
	}
	token := h.token(t)
	good := []string{static, issued, token}
	var accepted, refused big.Int
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			chance := mathrand.New(mathrand.NewPCG(uint64(worker), 1))
			for range 400 {
				header, query, spoilt := mutate(chance, good)
				id, err := h.auth.Authenticate(context.WithoutCancel(t.Context()), header, query)
				h.record(err, id.Caller, id.KeyID, auth.Reason(err))
				h.mu.Lock()
				if err == nil {
					accepted.Add(&accepted, big.NewInt(1))
				} else {
					refused.Add(&refused, big.NewInt(1))
				}
				h.mu.Unlock()
				if spoilt && err == nil {
					t.Errorf("accepted with %v?%s", header, query)
				}
			}
		})
	}
	all.Wait()
	rows, _, err := h.store.List(t.Context(), "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	h.record(rows)
	if accepted.Int64() < 300 || refused.Int64() < 300 {
		t.Errorf("%v accepted, %v refused: too few of a kind", &accepted, &refused)
	}
	parts := append(strings.Split(token, "."), static[7:], "CANARY", issued, issued[4:24])
	for _, part := range parts {
		if strings.Contains(h.output.String(), part) {
			t.Errorf("%q is in the output", part)
		}
	}
	h.record("planted: " + issued)
	if !strings.Contains(h.output.String(), issued) {
		t.Error("a planted leak is not found")
	}
}

// mutate returns a request with some credential, altered half of the time.
func mutate(chance *mathrand.Rand, good []string) (header http.Header, query string, spoilt bool) {
	secret := good[chance.IntN(len(good))]
	header = http.Header{}
	if spoilt = chance.IntN(2) == 0; spoilt {
		at := chance.IntN(len(secret))
		secret = secret[:at] + string(rune('!'+chance.IntN(15))) + secret[at:]
	}
	switch name := []string{"Api-Key", "Authorization", "Ocp-Apim-Subscription-Key"}[chance.IntN(3)]; name {
	case "Authorization":
		header.Set(name, "Bearer "+secret)
	default:
		header.Set(name, secret)
		spoilt = spoilt || strings.HasPrefix(secret, "ey") // a token is no key
	}
	switch chance.IntN(8) {
	case 0:
		query, spoilt = "api-key="+secret, true
	case 1:
		header["Api-Key"], spoilt = []string{secret, secret}, true
	case 2:
		header.Set("X-Functions-Key", secret)
	}
	return header, query, spoilt
}
