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

// house is everything that proves who calls, put together.
type house struct {
	auth   *auth.Authenticator
	store  *memory.Store
	board  *quota.ChangeFeed
	tokens *entra.Verifier
	signer *rsa.PrivateKey
	issuer string
	mu     sync.Mutex
	said   strings.Builder // everything that an operator or a caller could get to read
}

func (h *house) hear(what ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range what {
		fmt.Fprintf(&h.said, "%v %+v %#v\n", w, w, w)
	}
}

func build(t *testing.T, static string) *house {
	t.Helper()
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{store: new(memory.Store), signer: signer}
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
	h.board = &quota.ChangeFeed{Store: h.store}
	ring := &keys.Ring{Store: h.store, Board: h.board, Trouble: func(err error) { h.hear(err) }}
	h.board.OnRead = append(h.board.OnRead, ring.Heard)
	t.Cleanup(ring.Close)
	who := &consumer.Consumer{Name: "team-a"}
	h.auth, err = auth.New(auth.Settings{
		Keys: true, Consumers: []*consumer.Consumer{who}, Ring: ring, Tokens: h.tokens,
		Static: []auth.StaticKey{{Consumer: who, Setting: "TEAM_A_KEY", Value: static}}, Matches: []auth.Match{{Consumer: who, AppID: "app"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) token(t *testing.T) string {
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

// Good, spoilt and misplaced credentials, many at once: nothing of any of them
// may be in an error, an identity or the table.
func TestNoCredentialIsEverShown(t *testing.T) {
	const static = "CANARY-STATIC-0123456789"
	h := build(t, static)
	issued, _, err := (&keys.Issuer{Store: h.store, Board: h.board}).Add(t.Context(), "team-a", 0)
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
				header, query, spoilt := scramble(chance, good)
				id, err := h.auth.Authenticate(context.WithoutCancel(t.Context()), header, query)
				h.hear(err, id.Caller, id.KeyID, auth.Reason(err))
				h.mu.Lock()
				if err == nil {
					accepted.Add(&accepted, big.NewInt(1))
				} else {
					refused.Add(&refused, big.NewInt(1))
				}
				h.mu.Unlock()
				if spoilt && err == nil {
					t.Errorf("let in with %v?%s", header, query)
				}
			}
		})
	}
	all.Wait()
	rows, _, err := h.store.List(t.Context(), "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	h.hear(rows)
	if accepted.Int64() < 300 || refused.Int64() < 300 {
		t.Errorf("%v let in, %v refused: the test tells nothing", &accepted, &refused)
	}
	parts := append(strings.Split(token, "."), static[7:], "CANARY", issued, issued[4:24])
	for _, part := range parts {
		if strings.Contains(h.said.String(), part) {
			t.Errorf("%q was shown", part)
		}
	}
	h.hear("planted: " + issued)
	if !strings.Contains(h.said.String(), issued) {
		t.Error("a planted leak is not found: the search tells nothing")
	}
}

// scramble is a request with some credential, spoilt half of the time.
func scramble(chance *mathrand.Rand, good []string) (header http.Header, query string, spoilt bool) {
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
