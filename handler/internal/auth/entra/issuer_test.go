package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	ourTenant = "11111111-2222-3333-4444-555555555555"
	client    = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	resource  = "99999999-8888-7777-6666-555555555555"
	audience  = "api://" + resource
)

// signers are made once: RSA keys are slow to make.
var signers = sync.OnceValue(func() map[string]*rsa.PrivateKey {
	all := map[string]*rsa.PrivateKey{}
	for id, bits := range map[string]int{"one": 2048, "two": 2048, "stranger": 2048, "weak": 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		all[id] = key
	}
	return all
})

// issuer serves a tenant's metadata and keys.
type issuer struct {
	*httptest.Server
	t             *testing.T
	fetches       atomic.Int64 // of the keys
	maxConcurrent atomic.Int64 // fetches at once

	mu     sync.Mutex
	now    time.Time
	keys   []map[string]any
	answer http.HandlerFunc // instead of the keys; nil = the keys
	tenant string
	iss    string // what the metadata call the issuer; "" = the tenant's
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, tenant: ourTenant, now: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)}
	var inside atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		iss := i.iss
		i.mu.Unlock()
		if iss == "" {
			iss = i.v2()
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": iss, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.maxConcurrent.Store(max(i.maxConcurrent.Load(), inside.Add(1)))
		defer inside.Add(-1)
		i.mu.Lock()
		keys, answer := i.keys, i.answer
		i.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	i.publish("one")
	return i
}

// v2 returns the issuer of v2 tokens, as this server's metadata name it.
func (i *issuer) v2() string { return i.URL + "/" + i.tenant + "/v2.0" }

func publicJWK(id string) map[string]any {
	key := signers()[id]
	return map[string]any{
		"kty": "RSA", "use": "sig", "kid": id,
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

func (i *issuer) publish(ids ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = nil
	for _, id := range ids {
		i.keys = append(i.keys, publicJWK(id))
	}
}

func (i *issuer) answers(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

func (i *issuer) advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

func (i *issuer) clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

// verifier trusts this issuer's tenant.
func (i *issuer) verifier() *Verifier {
	i.t.Helper()
	v, err := New(Config{Tenant: ourTenant, Audience: audience, Authority: i.URL, Now: i.clock})
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(v.keys.running.Wait)
	return v
}

// claims returns the claims of a valid v2 access token of an application.
func (i *issuer) claims() jwt.MapClaims {
	now := i.clock()
	return jwt.MapClaims{
		"iss": i.v2(), "aud": resource, "tid": ourTenant, "azp": client, "oid": "oid-1", "sub": "sub-1", "ver": "2.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(75 * time.Minute).Unix(), "roles": []string{"llm.use"},
	}
}

// sign signs claims with the key of this name and sets its id.
func sign(t *testing.T, id string, c jwt.MapClaims) string {
	t.Helper()
	return signAs(t, jwt.SigningMethodRS256, signers()[id], map[string]any{"kid": id}, c)
}

func signAs(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for k, v := range header {
		token.Header[k] = v
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// forge returns a token with any header, claims and signature.
func forge(header, claims, signature string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf("%s.%s.%s", encode([]byte(header)), encode([]byte(claims)), signature)
}

func with(c jwt.MapClaims, pairs ...any) jwt.MapClaims {
	out := jwt.MapClaims{}
	for k, v := range c {
		out[k] = v
	}
	for k := 0; k < len(pairs); k += 2 {
		if pairs[k+1] == nil {
			delete(out, pairs[k].(string))
			continue
		}
		out[pairs[k].(string)] = pairs[k+1]
	}
	return out
}
