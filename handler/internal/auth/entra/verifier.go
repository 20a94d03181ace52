// Package entra verifies access tokens of Entra ID: that the tenant's issuer
// signed them, that they are for this service, and that they are valid now
// (docs/security.md#tokens). It does not know consumers.
//
// golang-jwt parses tokens and checks signatures and instants. The key set is
// in this package: it bounds what unknown key ids may cost and survives an
// outage of the issuer (docs/decisions.md#a-key-set-of-our-own-for-entra-id).
package entra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"spillway/handler/internal/auth"
)

// Config is what tokens are verified against.
type Config struct {
	Tenant   string // id or domain of the tenant; "" only with Issuer
	Audience string // one or more, separated by commas
	Issuer   string // one or more, separated by commas, instead of the tenant's; keys are those of the first

	Authority string           // base address of tenants' metadata; "" = the public cloud
	Client    *http.Client     // nil = one with short timeouts
	Now       func() time.Time // nil = time.Now
}

// Verifier verifies access tokens. It is safe for concurrent use.
type Verifier struct {
	keys      *keySet
	parser    *jwt.Parser
	tenant    string // the configured one, when it is an id
	issuers   []string
	audiences []string
}

// Entra ID in the public cloud.
const (
	publicCloud    = "https://login.microsoftonline.com"
	v1IssuerFormat = "https://sts.windows.net/%s/" // of v1 tokens, in every cloud
	leeway         = 5 * time.Minute
)

var guidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// New checks the configuration. Nothing is fetched before Run or the first
// token.
func New(cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &Verifier{issuers: splitList(cfg.Issuer), audiences: audiences(cfg.Audience)}
	tenant := strings.ToLower(cfg.Tenant)
	if guidPattern.MatchString(tenant) {
		v.tenant = tenant
	}
	metadata, err := cfg.metadata(tenant)
	if err != nil {
		return nil, err
	}
	if len(v.audiences) == 0 {
		return nil, errors.New(`entra: SPILLWAY_ENTRA_AUDIENCE is missing, so a token for any other service would be accepted: set it to the application id or App ID URI that callers ask tokens for, for example "api://spillway"`)
	}
	v.keys = newKeySet(cfg, metadata)
	v.parser = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(cfg.Now))
	return v, nil
}

// metadata returns the address of the issuer's OpenID configuration.
func (cfg *Config) metadata(tenant string) (string, error) {
	base := strings.TrimSuffix(cfg.Authority, "/")
	if base == "" {
		base = publicCloud
	}
	base += "/" + url.PathEscape(tenant) + "/v2.0"
	if issuers := splitList(cfg.Issuer); len(issuers) > 0 {
		base = strings.TrimSuffix(issuers[0], "/")
	} else {
		switch tenant {
		case "":
			return "", errors.New("entra: SPILLWAY_ENTRA_TENANT is missing, so tokens of every tenant would be accepted: set it to the id of your tenant")
		case "common", "organizations", "consumers":
			return "", fmt.Errorf("entra: SPILLWAY_ENTRA_TENANT %q is every tenant: set it to the id of your own", tenant)
		}
	}
	u, err := url.Parse(base)
	if err != nil || !secureURL(u) {
		return "", fmt.Errorf("entra: issuer %q is no https URL: set SPILLWAY_ENTRA_ISSUER to the iss of your tokens", base)
	}
	return base + "/.well-known/openid-configuration", nil
}

// secureURL reports whether the URL is https, or http on loopback.
func secureURL(u *url.URL) bool {
	local := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && local)
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func audiences(s string) []string {
	all := splitList(s)
	for _, a := range all {
		if id, ok := strings.CutPrefix(a, "api://"); ok && guidPattern.MatchString(strings.ToLower(id)) {
			all = append(all, id)
		}
	}
	return all
}

// Run fetches the keys, so that the first token need not wait for them, until
// ctx is done; then it waits for a running fetch.
func (v *Verifier) Run(ctx context.Context) { v.keys.run(ctx) }

// Ready returns nil when tokens can be verified, else the reason for an
// operator to read.
func (v *Verifier) Ready() error { return v.keys.ready() }

// State returns whether tokens can be verified, and why the keys could not be
// fetched last; nil = they could, or nobody tried yet.
func (v *Verifier) State() (usable bool, err error) {
	v.keys.mu.Lock()
	defer v.keys.mu.Unlock()
	return v.keys.usable(), v.keys.lastErr
}

// Verify verifies a token. The error is an [auth.Error], or
// [auth.ErrUnavailable] when there are no keys of the issuer; neither contains
// any part of the token.
func (v *Verifier) Verify(ctx context.Context, token string) (auth.Claims, error) {
	claims := jwt.MapClaims{}
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		return v.key(ctx, t)
	})
	if err != nil {
		return auth.Claims{}, authError(err)
	}
	return v.checkClaims(claims)
}

// key returns the key that the token's header names. The parser calls it for
// RS256 only.
func (v *Verifier) key(ctx context.Context, t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical {
		return nil, auth.ErrMalformed
	}
	kid, ok := t.Header["kid"].(string)
	if !ok || kid == "" || len(kid) > maxKeyID {
		return nil, auth.ErrSigningKey
	}
	return v.keys.lookup(ctx, kid)
}

// authError replaces the library's error, whose text may quote the token.
func authError(err error) error {
	var r auth.Error
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, auth.ErrUnavailable):
		return auth.ErrUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return auth.ErrUnavailable
	case errors.Is(err, jwt.ErrTokenExpired):
		return auth.ErrExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return auth.ErrNotYetValid
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return auth.ErrAlgorithm
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return signatureError(err)
	}
	return auth.ErrMalformed
}

// signatureError distinguishes a wrong signature from an algorithm that is not
// accepted: the library has one error for both.
func signatureError(err error) auth.Error {
	if strings.Contains(err.Error(), "signing method") {
		return auth.ErrAlgorithm
	}
	return auth.ErrSignature
}

// checkClaims checks issuer, tenant and audience of a token with a valid
// signature.
func (v *Verifier) checkClaims(c jwt.MapClaims) (auth.Claims, error) {
	tenant, issuers := v.trustedIssuers()
	issuer, _ := c["iss"].(string)
	if !slices.Contains(issuers, issuer) {
		return auth.Claims{}, auth.ErrIssuer
	}
	if tid, present := c["tid"]; present && tenant != "" && tid != tenant {
		return auth.Claims{}, auth.ErrTenant
	}
	if !v.audienceMatches(c["aud"]) {
		return auth.Claims{}, auth.ErrAudience
	}
	if exp, ok := c["exp"].(float64); !ok || exp < 1 || exp > 1<<40 {
		return auth.Claims{}, auth.ErrMalformed // larger floats are no valid time
	}
	return readClaims(c)
}

// trustedIssuers returns the tenant's id and the issuers of its tokens.
func (v *Verifier) trustedIssuers() (tenant string, issuers []string) {
	if len(v.issuers) > 0 {
		return v.tenant, v.issuers
	}
	issuer := v.keys.issuer()
	tenant = tenantOf(issuer)
	if tenant == "" || v.tenant != "" && tenant != v.tenant {
		return v.tenant, nil
	}
	return tenant, []string{issuer, fmt.Sprintf(v1IssuerFormat, tenant)}
}

// tenantOf returns the tenant's id in a v2 issuer, or "".
func tenantOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	id, ok := strings.CutSuffix(strings.TrimPrefix(u.Path, "/"), "/v2.0")
	if !ok || !guidPattern.MatchString(id) {
		return ""
	}
	return id
}

// audienceMatches reports whether the audience is a single configured one.
func (v *Verifier) audienceMatches(aud any) bool {
	switch aud := aud.(type) {
	case string:
		return slices.Contains(v.audiences, aud)
	case []any:
		if len(aud) == 1 {
			s, ok := aud[0].(string)
			return ok && slices.Contains(v.audiences, s)
		}
	}
	return false
}

// readClaims returns the caller's application, identity, roles and groups.
func readClaims(c jwt.MapClaims) (auth.Claims, error) {
	appid, _ := c["appid"].(string)
	azp, _ := c["azp"].(string)
	switch {
	case appid == "" && azp == "":
		return auth.Claims{}, auth.ErrNoApplication
	case appid != "" && azp != "" && appid != azp:
		return auth.Claims{}, auth.ErrMalformed
	}
	claims := auth.Claims{AppID: max(appid, azp), Roles: stringList(c["roles"]), Groups: stringList(c["groups"])}
	claims.Caller, _ = c["oid"].(string)
	if claims.Caller == "" {
		claims.Caller, _ = c["sub"].(string)
	}
	for _, name := range []string{"preferred_username", "upn", "unique_name", "app_displayname"} {
		if claims.Name == "" {
			claims.Name, _ = c[name].(string)
		}
	}
	names, _ := c["_claim_names"].(map[string]any)
	_, elsewhere := names["groups"]
	_, marked := c["hasgroups"]
	claims.Overage = elsewhere || marked
	return claims, nil
}

func stringList(claim any) []string {
	values, _ := claim.([]any)
	var all []string
	for _, v := range values {
		if s, ok := v.(string); ok {
			all = append(all, s)
		}
	}
	return all
}
