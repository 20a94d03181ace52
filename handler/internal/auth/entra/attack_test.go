package entra

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"spillway/handler/internal/auth"
)

func TestValidTokens(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	good := i.claims()
	for name, c := range map[string]jwt.MapClaims{
		"v2":                            good,
		"v1":                            with(good, "iss", "https://sts.windows.net/"+ourTenant+"/", "aud", audience, "ver", "1.0", "azp", nil, "appid", client),
		"audience in a list":            with(good, "aud", []string{audience}),
		"expired within leeway":         with(good, "exp", i.clock().Add(-299*time.Second).Unix()),
		"not yet, within leeway":        with(good, "nbf", i.clock().Add(299*time.Second).Unix()),
		"without nbf and iat":           with(good, "nbf", nil, "iat", nil),
		"of a managed identity":         with(good, "idtyp", "app", "xms_mirid", "/subscriptions/x"),
		"of a user, for an application": with(good, "scp", "user_impersonation", "roles", nil),
		"with a fraction of time":       with(good, "exp", float64(i.clock().Unix())+3600.5),
	} {
		got, err := v.Verify(t.Context(), sign(t, "one", c))
		if err != nil || got.AppID != client || got.Caller != "oid-1" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := v.Verify(t.Context(), sign(t, "one", with(good, "oid", nil, "groups", []any{"g1", 7, "g2"}, "_claim_names", map[string]any{"groups": "src1"})))
	if err != nil || got.Caller != "sub-1" || len(got.Groups) != 2 || !got.Overage || got.Roles[0] != "llm.use" {
		t.Errorf("groups and subject: %+v, %v", got, err)
	}
}

// Attacks with a single token (docs/security.md#tokens).
func TestForgedTokens(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	good := i.claims()
	now := i.clock()
	body, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	one := signers()["one"]
	spki, err := x509.MarshalPKIXPublicKey(&one.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	publicJWK, err := json.Marshal(publicJWK("one"))
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, kid := jwt.SigningMethodRS256, map[string]any{"kid": "one"}
	genuine := sign(t, "one", good)
	parts := strings.Split(genuine, ".")
	stranger := signers()["stranger"]

	for _, c := range []struct {
		name  string
		token string
		want  auth.Error
	}{
		{"alg none", forge(`{"alg":"none","kid":"one"}`, string(body), ""), auth.ErrAlgorithm},
		{"alg None", forge(`{"alg":"None","kid":"one"}`, string(body), ""), auth.ErrAlgorithm},
		{"alg nOnE with a signature", forge(`{"alg":"nOnE","kid":"one"}`, string(body), parts[2]), auth.ErrAlgorithm},
		{"alg missing", forge(`{"kid":"one"}`, string(body), parts[2]), auth.ErrAlgorithm},
		{"alg a number", forge(`{"alg":5,"kid":"one"}`, string(body), parts[2]), auth.ErrAlgorithm},
		{"HS256 with the public key in PEM", signAs(t, jwt.SigningMethodHS256, publicPEM, kid, good), auth.ErrAlgorithm},
		{"HS256 with the public key in DER", signAs(t, jwt.SigningMethodHS256, spki, kid, good), auth.ErrAlgorithm},
		{"HS256 with the public key as JWK", signAs(t, jwt.SigningMethodHS256, publicJWK, kid, good), auth.ErrAlgorithm},
		{"HS512 with the modulus", signAs(t, jwt.SigningMethodHS512, one.N.Bytes(), kid, good), auth.ErrAlgorithm},
		{"PS256 for RS256", signAs(t, jwt.SigningMethodPS256, one, kid, good), auth.ErrAlgorithm},
		{"RS512 for RS256", signAs(t, jwt.SigningMethodRS512, one, kid, good), auth.ErrAlgorithm},
		{"ES256", signAs(t, jwt.SigningMethodES256, curve, kid, good), auth.ErrAlgorithm},
		{"ES256 with r = s = 0", forge(`{"alg":"ES256","kid":"one"}`, string(body), base64.RawURLEncoding.EncodeToString(make([]byte, 64))), auth.ErrAlgorithm},
		{"RS256 relabelled PS256", forge(`{"alg":"PS256","kid":"one"}`, string(body), parts[2]), auth.ErrAlgorithm},
		{"empty signature", parts[0] + "." + parts[1] + ".", auth.ErrSignature},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 256)), auth.ErrSignature},
		{"claims changed", forge(`{"alg":"RS256","kid":"one"}`, strings.Replace(string(body), "oid-1", "oid-2", 1), parts[2]), auth.ErrSignature},
		{"signed by another key under a known id", signAs(t, rs, stranger, kid, good), auth.ErrSignature},
		{"signed by another key", sign(t, "stranger", good), auth.ErrSigningKey},
		{"kid missing", signAs(t, rs, one, nil, good), auth.ErrSigningKey},
		{"kid a number", signAs(t, rs, one, map[string]any{"kid": 1}, good), auth.ErrSigningKey},
		{"kid a path", signAs(t, rs, stranger, map[string]any{"kid": "../../dev/null"}, good), auth.ErrSigningKey},
		{"kid SQL", signAs(t, rs, stranger, map[string]any{"kid": "' OR 1=1 --"}, good), auth.ErrSigningKey},
		{"kid of a kilobyte", signAs(t, rs, stranger, map[string]any{"kid": strings.Repeat("k", 1024)}, good), auth.ErrSigningKey},
		{"crit", signAs(t, rs, one, map[string]any{"kid": "one", "crit": []string{"b64"}, "b64": false}, good), auth.ErrMalformed},
		{"crit of nothing", signAs(t, rs, one, map[string]any{"kid": "one", "crit": []string{}}, good), auth.ErrMalformed},
		{"expired", sign(t, "one", with(good, "exp", now.Add(-301*time.Second).Unix())), auth.ErrExpired},
		{"exp missing", sign(t, "one", with(good, "exp", nil)), auth.ErrMalformed},
		{"exp a text", sign(t, "one", with(good, "exp", fmt.Sprint(now.Add(time.Hour).Unix()))), auth.ErrMalformed},
		{"exp 1e309", forgeSigned(t, string(bytes.Replace(body, fmt.Appendf(nil, `"exp":%d`, now.Add(75*time.Minute).Unix()), []byte(`"exp":1e309`), 1))), auth.ErrMalformed},
		{"exp 1e300", sign(t, "one", with(good, "exp", 1e300)), ""},
		{"exp negative", sign(t, "one", with(good, "exp", -1)), auth.ErrExpired},
		{"exp null", forgeSigned(t, string(bytes.Replace(body, fmt.Appendf(nil, `"exp":%d`, now.Add(75*time.Minute).Unix()), []byte(`"exp":null`), 1))), auth.ErrMalformed},
		{"not valid yet", sign(t, "one", with(good, "nbf", now.Add(301*time.Second).Unix())), auth.ErrNotYetValid},
		{"issued in the future", sign(t, "one", with(good, "iat", now.Add(301*time.Second).Unix())), auth.ErrNotYetValid},
		{"another audience: Graph", sign(t, "one", with(good, "aud", "00000003-0000-0000-c000-000000000000")), auth.ErrAudience},
		{"audience missing", sign(t, "one", with(good, "aud", nil)), auth.ErrAudience},
		{"audience with a slash", sign(t, "one", with(good, "aud", audience+"/")), auth.ErrAudience},
		{"audience's beginning", sign(t, "one", with(good, "aud", audience[:len(audience)-1])), auth.ErrAudience},
		{"audience longer", sign(t, "one", with(good, "aud", audience+"x")), auth.ErrAudience},
		{"audience in upper case", sign(t, "one", with(good, "aud", strings.ToUpper(audience))), auth.ErrAudience},
		{"ours among other audiences", sign(t, "one", with(good, "aud", []string{"other", audience})), auth.ErrAudience},
		{"others behind ours", sign(t, "one", with(good, "aud", []string{audience, "other"})), auth.ErrAudience},
		{"audience an object", sign(t, "one", with(good, "aud", map[string]string{"a": audience})), auth.ErrAudience},
		{"issuer of another tenant, v2", sign(t, "one", with(good, "iss", strings.Replace(i.v2(), ourTenant, client, 1))), auth.ErrIssuer},
		{"issuer of another tenant, v1", sign(t, "one", with(good, "iss", "https://sts.windows.net/"+client+"/")), auth.ErrIssuer},
		{"issuer without its slash", sign(t, "one", with(good, "iss", "https://sts.windows.net/"+ourTenant)), auth.ErrIssuer},
		{"issuer with a slash more", sign(t, "one", with(good, "iss", i.v2()+"/")), auth.ErrIssuer},
		{"issuer template", sign(t, "one", with(good, "iss", strings.Replace(i.v2(), ourTenant, "{tenantid}", 1))), auth.ErrIssuer},
		{"issuer missing", sign(t, "one", with(good, "iss", nil)), auth.ErrIssuer},
		{"issuer a list", sign(t, "one", with(good, "iss", []string{i.v2()})), auth.ErrIssuer},
		{"tenant is another", sign(t, "one", with(good, "tid", client)), auth.ErrTenant},
		{"tenant is a list", sign(t, "one", with(good, "tid", []string{ourTenant})), auth.ErrTenant},
		{"an ID token", sign(t, "one", with(good, "azp", nil, "nonce", "n", "preferred_username", "a@b@contoso.com")), auth.ErrNoApplication},
		{"azp and appid disagree", sign(t, "one", with(good, "appid", resource)), auth.ErrMalformed},
		{"header in upper case", forge(`{"ALG":"RS256","KID":"one"}`, string(body), parts[2]), auth.ErrAlgorithm},
		{"claims are a list", forgeSigned(t, `["a"]`), auth.ErrMalformed},
		{"claims are no JSON", forgeSigned(t, `{"iss":`), auth.ErrMalformed},
		{"padding in base64", parts[0] + "=." + parts[1] + "." + parts[2], auth.ErrMalformed},
		{"garbage", "a.b.c", auth.ErrMalformed},
		{"empty parts", "..", auth.ErrMalformed},
		{"encrypted: five parts", genuine + ".x.y", auth.ErrMalformed},
	} {
		got, err := v.Verify(t.Context(), c.token)
		if auth.Reason(err) == "" || got.AppID != "" || c.want != "" && !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v; want %v", c.name, got, err, c.want)
		}
		for _, secret := range parts {
			if err != nil && strings.Contains(fmt.Sprintf("%v %#v", err, err), secret) {
				t.Errorf("%s: the error contains a part of the token", c.name)
			}
		}
	}
	if _, err := v.Verify(t.Context(), genuine); err != nil {
		t.Errorf("the genuine token afterwards: %v", err)
	}
}

// forgeSigned returns a token with any text as claims and a valid signature.
func forgeSigned(t *testing.T, claims string) string {
	t.Helper()
	text := forge(`{"alg":"RS256","kid":"one"}`, claims, "")
	text = strings.TrimSuffix(text, ".")
	signature, err := jwt.SigningMethodRS256.Sign(text, signers()["one"])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestRejectedAlgorithmsFetchNothing(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	body, _ := json.Marshal(i.claims())
	for _, alg := range []string{"none", "None", "HS256", "HS512", "PS256", "ES256", "EdDSA"} {
		_, err := v.Verify(t.Context(), forge(fmt.Sprintf(`{"alg":%q,"kid":"one"}`, alg), string(body), "AAAA"))
		if !errors.Is(err, auth.ErrAlgorithm) {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if n := i.fetches.Load(); n != 0 {
		t.Errorf("%d fetches for tokens that no key could make valid", n)
	}
}

func TestKeysInTokenHeadersAreIgnored(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier()
	var visits atomic.Int64
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		visits.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{publicJWK("stranger")}})
	}))
	defer attacker.Close()
	for _, kid := range []string{"one", "stranger"} {
		token := signAs(t, jwt.SigningMethodRS256, signers()["stranger"], map[string]any{
			"kid": kid, "jku": attacker.URL, "x5u": attacker.URL, "jwk": publicJWK("stranger"),
			"x5c": []string{base64.StdEncoding.EncodeToString([]byte("certificate"))}, "iss": attacker.URL,
		}, with(i.claims(), "iss", i.v2()))
		if _, err := v.Verify(t.Context(), token); auth.Reason(err) == "" {
			t.Errorf("kid %q: %v, want a refusal", kid, err)
		}
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the attacker's server got %d requests", n)
	}
}

func TestInvalidConfig(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Tenant: ourTenant}, "SPILLWAY_ENTRA_AUDIENCE"},
		{Config{Audience: audience}, "SPILLWAY_ENTRA_TENANT"},
		{Config{Audience: audience, Tenant: "common"}, "every tenant"},
		{Config{Audience: audience, Tenant: "Organizations"}, "every tenant"},
		{Config{Audience: audience, Issuer: "http://login.example.com/x"}, "https"},
		{Config{Audience: audience, Issuer: "login.example.com"}, "https"},
		{Config{Audience: " , ", Tenant: ourTenant}, "SPILLWAY_ENTRA_AUDIENCE"},
	} {
		if v, err := New(c.cfg); err == nil || v != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %q", c.cfg, err, c.want)
		}
	}
}

func TestIssuerMayBeNamedAndTenantMayBeADomain(t *testing.T) {
	i := newIssuer(t)
	named, err := New(Config{Issuer: i.v2() + ", https://sts.example/", Audience: "other," + audience, Now: i.clock})
	if err != nil {
		t.Fatal(err)
	}
	defer named.keys.running.Wait()
	for _, iss := range []string{i.v2(), "https://sts.example/"} {
		if _, err := named.Verify(t.Context(), sign(t, "one", with(i.claims(), "iss", iss))); err != nil {
			t.Errorf("issuer %s: %v", iss, err)
		}
	}
	if _, err := named.Verify(t.Context(), sign(t, "one", with(i.claims(), "iss", "https://sts.windows.net/"+ourTenant+"/"))); !errors.Is(err, auth.ErrIssuer) {
		t.Errorf("an issuer that was not named: %v", err)
	}
	domain, err := New(Config{Tenant: "contoso.onmicrosoft.com", Audience: audience, Authority: i.URL, Now: i.clock})
	if err != nil {
		t.Fatal(err)
	}
	defer domain.keys.running.Wait()
	if _, err := domain.Verify(t.Context(), sign(t, "one", i.claims())); err != nil {
		t.Errorf("tenant by domain: %v", err)
	}
	i.iss = "https://evil.example/common"
	odd := i.verifier()
	if _, err := odd.Verify(t.Context(), sign(t, "one", with(i.claims(), "iss", i.iss))); !errors.Is(err, auth.ErrIssuer) {
		t.Errorf("metadata that name another issuer: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiIsImtpZCI6Im9uZSJ9.eyJleHAiOjF9.AAAA")
	f.Add(forge(`{"alg":"none"}`, `{"exp":1e400}`, ""))
	f.Add("..")
	v, err := New(Config{Tenant: ourTenant, Audience: audience, Client: &http.Client{Transport: unreachable{}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(t.Context(), token); err == nil {
			t.Errorf("%q was accepted without any key", token)
		}
	})
}

type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("deaf") }
