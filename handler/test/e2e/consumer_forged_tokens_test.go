package e2e_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/golang-jwt/jwt/v5"

	"spillway/handler/internal/auth"
)

// forgery is a token that must not let anybody in, and why it is refused.
type forgery struct {
	token string
	why   auth.Error
}

// Attacks on tokens (docs/security.md#tokens): each is refused for
// the right reason, in one and the same answer for each, without a byte to a backend and
// without a question to whoever a token names.
func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	var lured atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { lured.Add(1) }))
	defer trap.Close()
	i := startIssuer(t)
	i.generate("pss", "PS256")
	i.generate("curve", "ES256")
	r := start(t, i.trusting())
	r.wantAuthenticated("a good token", i.token())
	served, fetched := len(r.sim.Journal()), i.fetches()
	texts := map[auth.Error]string{}
	for name, f := range forgeries(i, trap.URL) {
		a := r.withToken(f.token)
		wantRefusal(t, a, http.StatusUnauthorized, "invalid_api_key")
		if a.header.Get("X-Should-Retry") != "false" || texts[f.why] != "" && a.body != texts[f.why] {
			t.Errorf("%s: another answer than to other such tokens: %v %s", name, a.header, a.body)
		}
		texts[f.why] = a.body
		if l := r.lineOf(a); l.Cause != f.why.Error() {
			t.Errorf("%s: refused because %q, want %q", name, l.Cause, f.why.Error())
		}
	}
	if n := len(r.sim.Journal()) - served; n != 0 {
		t.Errorf("backends saw %d requests", n)
	}
	if n := lured.Load(); n != 0 {
		t.Errorf("addresses that tokens name were asked %d times", n)
	}
	if n := i.fetches() - fetched; n > 1 {
		t.Errorf("the issuer's keys were fetched %d times", n)
	}
	r.wantAuthenticated("a good token after all that", i.token())
}

func forgeries(i *issuer, trap string) map[string]forgery {
	all := signatures(i)
	for _, more := range []map[string]forgery{headers(i, trap), wrongClaims(i), wrongTimes(i)} {
		for name, f := range more {
			all[name] = f
		}
	}
	return all
}

func encoded(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// raw signs any header and any claims, well formed or not.
func (i *issuer) raw(header, claims string) string {
	i.t.Helper()
	input := encoded(header) + "." + encoded(claims)
	signature, err := jose.SigningMethodRS256.Sign(input, i.keys["one"])
	if err != nil {
		i.t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// signedAs signs valid claims with any method.
func (i *issuer) signedAs(method jose.SigningMethod, key any, header map[string]any) string {
	i.t.Helper()
	token := jose.NewWithClaims(method, i.claims())
	token.Header["kid"] = "one"
	for k, v := range header {
		token.Header[k] = v
	}
	text, err := token.SignedString(key)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

func (i *issuer) claimsText(pairs ...any) string {
	text, err := json.Marshal(i.claims(pairs...))
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

// signatures are tokens that nobody signed, or not as it must be.
func signatures(i *issuer) map[string]forgery {
	good, claims := i.token(), encoded(i.claimsText("oid", "somebody-else"))
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	other := i.token("oid", "somebody-else")
	public := &i.keys["one"].PublicKey
	der, _ := x509.MarshalPKIXPublicKey(public)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	stranger, _ := rsa.GenerateKey(rand.Reader, 2048)
	curve, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	algorithm := auth.ErrAlgorithm
	return map[string]forgery{
		"alg none":                         {encoded(`{"alg":"none","kid":"one"}`) + "." + claims + ".", algorithm},
		"alg None, with a signature":       {encoded(`{"alg":"None","kid":"one"}`) + "." + claims + "." + signature, algorithm},
		"alg nOnE":                         {encoded(`{"alg":"nOnE","kid":"one"}`) + "." + claims + ".", algorithm},
		"no alg":                           {encoded(`{"kid":"one"}`) + "." + claims + "." + signature, algorithm},
		"HS256 with the public key as PEM": {i.signedAs(jose.SigningMethodHS256, asPEM, nil), algorithm},
		"HS256 with the public key as DER": {i.signedAs(jose.SigningMethodHS256, der, nil), algorithm},
		"HS256 with the modulus":           {i.signedAs(jose.SigningMethodHS256, public.N.Bytes(), nil), algorithm},
		"HS256 with nothing":               {i.signedAs(jose.SigningMethodHS256, []byte{}, nil), algorithm},
		"RS512 by the right key":           {i.signedAs(jose.SigningMethodRS512, i.keys["one"], nil), algorithm},
		"PS256 by the right key":           {i.signedAs(jose.SigningMethodPS256, i.keys["one"], nil), algorithm},
		"PS256 by the issuer's own":        {i.sign("pss", i.claims()), algorithm},
		"ES256 by the issuer's own":        {i.sign("curve", i.claims()), algorithm},
		"ES256 by a stranger":              {i.signedAs(jose.SigningMethodES256, curve, nil), algorithm},
		"ES256 with r = s = 0":             {encoded(`{"alg":"ES256","kid":"curve"}`) + "." + claims + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), algorithm},
		"no signature":                     {head + "." + body + ".", auth.ErrSignature},
		"another token's signature":        {head + "." + body + other[strings.LastIndex(other, "."):], auth.ErrSignature},
		"other claims under a signature":   {head + "." + claims + "." + signature, auth.ErrSignature},
		"signature cut short":              {good[:len(good)-6], auth.ErrSignature},
		"signature of zeroes":              {head + "." + body + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 256)), auth.ErrSignature},
		"signed by a stranger":             {i.signedAs(jose.SigningMethodRS256, stranger, nil), auth.ErrSignature},
		"encrypted, of five parts":         {good + "." + body + "." + body, auth.ErrUnknown},
		"of two parts":                     {head + "." + body, auth.ErrUnknown},
		"claims that are no JSON":          {i.raw(`{"alg":"RS256","kid":"one"}`, "claims"), auth.ErrMalformed},
		"header that is no JSON":           {i.raw("header", i.claimsText()), auth.ErrMalformed},
		"longer than any header":           {good + strings.Repeat("A", 20<<10), auth.ErrMalformed},
	}
}

// headers are tokens whose header would have the key looked for elsewhere.
func headers(i *issuer, trap string) map[string]forgery {
	stranger, _ := rsa.GenerateKey(rand.Reader, 2048)
	jwk := map[string]any{
		"kty": "RSA", "kid": "one", "alg": "RS256", "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(stranger.E)).Bytes()),
		"n": base64.RawURLEncoding.EncodeToString(stranger.N.Bytes()),
	}
	by := func(header map[string]any) string { return i.signedAs(jose.SigningMethodRS256, stranger, header) }
	mine := func(header map[string]any) string {
		return i.signedAs(jose.SigningMethodRS256, i.keys["one"], header)
	}
	return map[string]forgery{
		"kid of a file":          {mine(map[string]any{"kid": "../../../../dev/null"}), auth.ErrSigningKey},
		"kid of a query":         {mine(map[string]any{"kid": "' OR 1=1 --"}), auth.ErrSigningKey},
		"kid of an address":      {mine(map[string]any{"kid": trap + "/keys"}), auth.ErrSigningKey},
		"kid with a null":        {mine(map[string]any{"kid": "one\x00"}), auth.ErrSigningKey},
		"kid in capitals":        {mine(map[string]any{"kid": "ONE"}), auth.ErrSigningKey},
		"kid of 5,000 letters":   {mine(map[string]any{"kid": strings.Repeat("k", 5000)}), auth.ErrSigningKey},
		"kid that is a number":   {mine(map[string]any{"kid": 1}), auth.ErrSigningKey},
		"kid that is a list":     {mine(map[string]any{"kid": []string{"one"}}), auth.ErrSigningKey},
		"no kid":                 {mine(map[string]any{"kid": nil}), auth.ErrSigningKey},
		"key in the header":      {by(map[string]any{"jwk": jwk}), auth.ErrSignature},
		"keys at jku":            {by(map[string]any{"jku": trap + "/keys"}), auth.ErrSignature},
		"certificate at x5u":     {by(map[string]any{"x5u": trap + "/cert", "x5c": []string{"MIIB"}}), auth.ErrSignature},
		"keys at jku, own kid":   {by(map[string]any{"jku": trap + "/keys", "kid": "mine"}), auth.ErrSigningKey},
		"critical extension":     {mine(map[string]any{"crit": []string{"exp"}, "exp": 1}), auth.ErrMalformed},
		"payload not encoded":    {mine(map[string]any{"b64": false, "crit": []string{"b64"}}), auth.ErrMalformed},
		"alg that is a number":   {i.raw(`{"alg":256,"kid":"one"}`, i.claimsText()), auth.ErrAlgorithm},
		"alg in small letters":   {i.raw(`{"alg":"rs256","kid":"one"}`, i.claimsText()), auth.ErrAlgorithm},
		"two algs, good one 1st": {i.raw(`{"alg":"RS256","alg":"none","kid":"one"}`, i.claimsText()), auth.ErrAlgorithm},
	}
}

// wrongClaims are tokens of the right issuer's key for somebody else.
func wrongClaims(i *issuer) map[string]forgery {
	all := map[string]forgery{}
	add := func(name string, why auth.Error, pairs ...any) { all[name] = forgery{i.token(pairs...), why} }
	const other = "77777777-2222-3333-4444-555555555555"
	for name, iss := range map[string]any{
		"v2 of another tenant": strings.Replace(i.url, tenantID, other, 1), "v1 of another tenant": "https://sts.windows.net/" + other + "/",
		"with a slash": i.url + "/", "in capitals": strings.ToUpper(i.url), "a prefix": i.url[:len(i.url)-1], "both in one": i.url + "," + v1Issuer,
		"nobody": nil, "a list": []string{i.url}, "the public cloud": "https://login.microsoftonline.com/" + tenantID + "/v2.0",
	} {
		add("issuer: "+name, auth.ErrIssuer, "iss", iss)
	}
	for name, aud := range map[string]any{
		"Graph": "00000003-0000-0000-c000-000000000000", "Azure OpenAI": "https://cognitiveservices.azure.com", "with a slash": "api://" + resourceID + "/",
		"a suffix": "x" + resourceID, "a prefix": resourceID[:30], "nobody": nil, "empty": "", "of two": []string{resourceID, "other"},
		"in capitals": "API://" + resourceID, "a number": 7, "none of none": []string{}, "with a scope": "api://" + resourceID + "/.default",
	} {
		add("audience: "+name, auth.ErrAudience, "aud", aud)
	}
	add("tenant of a guest", auth.ErrTenant, "tid", other)
	add("tenant that is a number", auth.ErrTenant, "tid", 1)
	add("ID token", auth.ErrNoApplication, "azp", nil)
	add("two applications", auth.ErrMalformed, "appid", strangerID)
	add("application of nobody", auth.ErrUnmapped, "azp", strangerID)
	add("role of another name", auth.ErrUnmapped, "azp", strangerID, "roles", []string{strings.ToLower(roleName), roleName + "2"})
	add("role in the scopes", auth.ErrUnmapped, "azp", strangerID, "scp", roleName)
	add("role that is a text", auth.ErrUnmapped, "azp", strangerID, "roles", roleName)
	add("group in the roles", auth.ErrUnmapped, "azp", strangerID, "roles", []string{groupID})
	add("groups left out", auth.ErrGroupsOverage, "azp", strangerID, "_claim_names", map[string]string{"groups": "src1"})
	return all
}

// wrongTimes are tokens of another time.
func wrongTimes(i *issuer) map[string]forgery {
	now := time.Now()
	spoilt := func(exp string) string {
		text := bytes.Replace([]byte(i.claimsText("exp", 12345)), []byte("12345"), []byte(exp), 1)
		return i.raw(`{"alg":"RS256","kid":"one"}`, string(text))
	}
	return map[string]forgery{
		"expired":                {i.token("exp", now.Add(-6*time.Minute).Unix()), auth.ErrExpired},
		"expired long ago":       {i.token("exp", 1000), auth.ErrExpired},
		"not valid yet":          {i.token("nbf", now.Add(6*time.Minute).Unix()), auth.ErrNotYetValid},
		"issued in the future":   {i.token("iat", now.Add(6*time.Minute).Unix()), auth.ErrNotYetValid},
		"without an end":         {i.token("exp", nil), auth.ErrMalformed},
		"end that is a text":     {i.token("exp", "never"), auth.ErrMalformed},
		"end that is no number":  {spoilt("1e309"), auth.ErrMalformed},
		"end before the world":   {i.token("exp", -1), auth.ErrExpired},
		"end after all time":     {spoilt("1e300"), auth.ErrExpired},
		"beginning is a text":    {i.token("nbf", "soon"), auth.ErrMalformed},
		"end in several numbers": {i.token("exp", []int64{now.Unix() + 3600}), auth.ErrMalformed},
	}
}
