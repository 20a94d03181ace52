package simulator

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// AuthMode is how a resource treats credentials
// (docs/azure-openai.md#authentication).
type AuthMode string

// The modes. Each but AuthOrdinary and AuthAnonymous has its own error.
const (
	AuthOrdinary     AuthMode = ""
	AuthAnonymous    AuthMode = "anonymous"     // no credential is needed
	AuthKeysDisabled AuthMode = "keys-disabled" // tokens only: 403 for keys
	AuthNoRole       AuthMode = "no-role"       // tokens lack the data action: 401 PermissionDenied
	AuthNetwork      AuthMode = "network"       // 403 Virtual Network/Firewall
	AuthPrivate      AuthMode = "private"       // 403 public access disabled
	AuthBlocked      AuthMode = "blocked"       // 403 abuse block
)

var authModes = []AuthMode{
	AuthOrdinary, AuthAnonymous, AuthKeysDisabled, AuthNoRole, AuthNetwork, AuthPrivate, AuthBlocked,
}

func (m AuthMode) known() bool { return slices.Contains(authModes, m) }

// authorize checks a request's credential; nil accepts it.
func (c *call) authorize() *apiError {
	switch c.res.Auth {
	case AuthAnonymous:
		return nil
	case AuthNetwork:
		return networkDenied()
	case AuthPrivate:
		return publicAccessDisabled()
	case AuthBlocked:
		return resourceBlocked()
	case AuthOrdinary, AuthKeysDisabled, AuthNoRole: // depends on the credential
	}
	bearer, isBearer := bearerToken(c.r.Header)
	// A bearer token takes precedence over a key.
	if isBearer && (looksLikeJWT(bearer) || c.route.family != familyV1) {
		return c.authorizeToken(bearer)
	}
	key := c.r.Header.Get("api-key")
	if isBearer {
		key = bearer
	}
	return c.authorizeKey(key)
}

func (c *call) authorizeKey(key string) *apiError {
	if c.res.Auth == AuthKeysDisabled && key != "" {
		return keyAuthDisabled()
	}
	if key == "" {
		return invalidKey()
	}
	if len(c.res.Keys) == 0 {
		return nil
	}
	for _, good := range c.res.Keys {
		if subtle.ConstantTimeCompare([]byte(key), []byte(good)) == 1 {
			return nil
		}
	}
	return invalidKey()
}

func (c *call) authorizeToken(token string) *apiError {
	if len(c.res.Tokens) > 0 && !slices.Contains(c.res.Tokens, token) {
		return invalidToken()
	}
	if len(c.res.Tokens) == 0 && !goodJWT(token, c.arrived) {
		return invalidToken()
	}
	if c.res.Auth == AuthNoRole {
		return permissionDenied(c.route)
	}
	return nil
}

func bearerToken(h http.Header) (string, bool) {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

func looksLikeJWT(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}

// goodJWT checks a token's shape, audience and expiry, but no signature.
func goodJWT(token string, now time.Time) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Aud string `json:"aud"`
		Exp int64  `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return false
	}
	return goodAudience(claims.Aud) && (claims.Exp == 0 || now.Unix() < claims.Exp)
}

func goodAudience(aud string) bool {
	switch strings.TrimSuffix(aud, "/") {
	case "", "https://cognitiveservices.azure.com", "https://ai.azure.com":
		return true
	default:
		return false
	}
}
