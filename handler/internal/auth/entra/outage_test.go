package entra

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"spillway/handler/internal/auth"
)

func (i *issuer) accepts(v *Verifier, id string) error {
	i.t.Helper()
	_, err := v.Verify(i.t.Context(), sign(i.t, id, i.claims()))
	return err
}

func TestUnknownKeyIDFloodFetchesOncePerInterval(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	if err := i.accepts(v, "one"); err != nil {
		t.Fatal(err)
	}
	i.advance(6 * time.Minute)
	before := i.fetches.Load()
	header := sign(t, "stranger", i.claims())
	_, rest, _ := strings.Cut(header, ".")
	var flood sync.WaitGroup
	for worker := range 20 {
		flood.Go(func() {
			for n := range 500 {
				head, _, _ := strings.Cut(forge(fmt.Sprintf(`{"alg":"RS256","kid":"k%d-%d"}`, worker, n), "", ""), ".")
				if _, err := v.Verify(t.Context(), head+"."+rest); !errors.Is(err, auth.ErrSigningKey) {
					t.Errorf("unknown key id: %v", err)
					return
				}
			}
		})
	}
	flood.Wait()
	if n := i.fetches.Load() - before; n != 1 {
		t.Errorf("10000 unknown key ids: %d fetches, want 1", n)
	}
	if i.maxConcurrent.Load() != 1 {
		t.Errorf("%d fetches at once", i.maxConcurrent.Load())
	}
	if err := i.accepts(v, "one"); err != nil {
		t.Errorf("a good token after the flood: %v", err)
	}
}

func TestNewSigningKeyAcceptedAtFirstToken(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	if err := i.accepts(v, "one"); err != nil {
		t.Fatal(err)
	}
	i.publish("one", "two")
	i.advance(6 * time.Minute)
	if err := i.accepts(v, "two"); err != nil {
		t.Errorf("first token of the new key: %v", err)
	}
	if err := i.accepts(v, "one"); err != nil {
		t.Errorf("old key, still published: %v", err)
	}
	i.publish("two")
	i.advance(refreshAfter + time.Minute)
	_ = i.accepts(v, "two") // causes a refresh
	v.keys.running.Wait()
	if err := i.accepts(v, "one"); !errors.Is(err, auth.ErrSigningKey) {
		t.Errorf("a key that the issuer withdrew: %v", err)
	}
}

// The first refresh does not count against unknown key ids: a key that comes
// into use right after it is found. The next one has to wait.
func TestUnknownKeyFetchedRightAfterFirstRefresh(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	if err := i.accepts(v, "one"); err != nil {
		t.Fatal(err)
	}
	i.advance(time.Second)
	i.publish("one", "two")
	if err := i.accepts(v, "two"); err != nil {
		t.Errorf("a key that came a second after the first refresh: %v", err)
	}
	i.publish("one", "two", "stranger")
	i.advance(unknownKeyInterval - time.Second)
	if err := i.accepts(v, "stranger"); !errors.Is(err, auth.ErrSigningKey) || i.fetches.Load() != 2 {
		t.Errorf("within the gap: %v after %d fetches, want no third one", err, i.fetches.Load())
	}
	i.advance(2 * time.Second)
	if err := i.accepts(v, "stranger"); err != nil {
		t.Errorf("after the gap: %v", err)
	}
}

func TestKeysSurviveIssuerOutage(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"500":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"HTML":           func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>sorry</html>") },
		"no keys":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"null":           func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `null`) },
		"redirect":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
		"a weak key":     jwks(`{"keys":[` + weakJWK() + `]}`),
		"an odd e":       jwks(`{"keys":[{"kty":"RSA","kid":"one","n":"` + strings.Repeat("_", 342) + `","e":"BQ"}]}`),
		"a huge e":       jwks(`{"keys":[{"kty":"RSA","kid":"one","n":"` + strings.Repeat("_", 342) + `","e":"` + strings.Repeat("A", 400) + `"}]}`),
		"a huge n":       jwks(`{"keys":[{"kty":"RSA","kid":"one","n":"` + strings.Repeat("_", 100_000) + `","e":"AQAB"}]}`),
		"a secret":       jwks(`{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}`),
		"for encrypting": jwks(`{"keys":[{"kty":"RSA","use":"enc","kid":"one","n":"` + strings.Repeat("_", 342) + `","e":"AQAB"}]}`),
		"a body without end": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			v := i.verifier()
			if err := i.accepts(v, "one"); err != nil {
				t.Fatal(err)
			}
			i.answers(answer)
			for range 24 {
				i.advance(time.Hour)
				if err := i.accepts(v, "one"); err != nil {
					t.Fatalf("during the outage: %v", err)
				}
				v.keys.running.Wait()
			}
			if i.fetches.Load() < 20 {
				t.Errorf("%d fetches in a day: the keys were not refreshed", i.fetches.Load())
			}
			if err := v.Ready(); err != nil {
				t.Errorf("readiness with good keys: %v", err)
			}
			i.answers(nil)
			i.publish("two")
			i.advance(time.Hour)
			if err := i.accepts(v, "two"); err != nil {
				t.Errorf("after the outage: %v", err)
			}
			i.answers(answer)
			i.advance(73 * time.Hour)
			if err := i.accepts(v, "two"); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("keys older than maxKeyAge: %v", err)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	i := newIssuer(t)
	var visited bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		visited = true
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{publicJWK("stranger")}})
	}))
	i.answers(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) })
	err := i.accepts(i.verifier(), "stranger")
	elsewhere.Close()
	if !errors.Is(err, auth.ErrUnavailable) || visited {
		t.Errorf("keys from behind a redirect: %v, visited %v", err, visited)
	}
}

func jwks(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func weakJWK() string {
	k := publicJWK("weak")
	return fmt.Sprintf(`{"kty":"RSA","kid":"one","n":%q,"e":%q}`, k["n"], k["e"])
}

func TestNoKeysIsUnavailable(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	if err := v.Ready(); err == nil {
		t.Error("ready before any key was fetched")
	}
	i.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for range 5 {
		if err := i.accepts(v, "one"); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("without keys: %v, want ErrUnavailable", err)
		}
	}
	if n := i.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for five tokens in one moment", n)
	}
	if err := v.Ready(); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("readiness: %v, want the reason", err)
	}
	i.answers(nil)
	i.advance(5 * time.Second)
	if err := i.accepts(v, "one"); err != nil || v.Ready() != nil {
		t.Errorf("keys are back: %v, %v", err, v.Ready())
	}
}

func TestHangingIssuerHonoursRequestDeadline(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	release := make(chan struct{})
	i.answers(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := v.Verify(ctx, sign(t, "one", i.claims()))
	v.keys.mu.Lock()
	fetching := v.keys.inFlight != nil
	v.keys.mu.Unlock()
	if !errors.Is(err, auth.ErrUnavailable) || !fetching {
		t.Errorf("%v, while fetching: %v; want ErrUnavailable before the fetch ended", err, fetching)
	}
}

func TestRunFetchesBeforeFirstToken(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { v.Run(ctx) })
	for v.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	before := i.fetches.Load()
	if err := i.accepts(v, "one"); err != nil || i.fetches.Load() != before {
		t.Errorf("first token: %v, %d more fetches", err, i.fetches.Load()-before)
	}
	cancel()
	running.Wait()
}

func BenchmarkVerify(b *testing.B) {
	key := signers()["one"]
	v, err := New(Config{Issuer: "https://issuer.example", Audience: audience})
	if err != nil {
		b.Fatal(err)
	}
	v.keys.keys = map[string]*rsa.PublicKey{"one": &key.PublicKey}
	v.keys.lastSuccess, v.keys.lastAttempt = time.Now(), time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": "https://issuer.example", "aud": audience, "azp": client, "exp": time.Now().Add(time.Hour).Unix()})
	token.Header["kid"] = "one"
	signed, err := token.SignedString(key)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := v.Verify(b.Context(), signed); err != nil {
			b.Fatal(err)
		}
	}
}
