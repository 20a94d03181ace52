package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"spillway/handler/internal/auth"
)

// The headers that an operator sends.
const (
	keyHeader  = "X-Spillway-Operator-Key"
	nameHeader = "X-Spillway-Operator"
)

// Verify verifies an access token of Entra ID (package entra). Its error wraps
// auth.ErrUnavailable while there are no keys to verify it with.
type Verify func(ctx context.Context, token string) (auth.Claims, error)

// access authenticates operators. It keeps the hash of the key, not the key.
type access struct {
	hasKey      bool
	keyless     bool
	key         [sha256.Size]byte
	fingerprint string // the first digits of the hash: identifies the key in the log
	verify      Verify // nil = tokens are not accepted
	role        string // that a token must have
	hosted      bool
	attempts    attempts
	origin      *http.CrossOriginProtection
}

func newAccess(cfg *Config) *access {
	g := &access{
		hasKey: cfg.Key != "", keyless: cfg.Open && cfg.Key == "" && cfg.Role == "", hosted: cfg.Hosted,
		verify: cfg.Verify, role: cfg.Role, origin: http.NewCrossOriginProtection(),
	}
	g.attempts.report = cfg.KeysRefused
	if g.hasKey {
		g.key = sha256.Sum256([]byte(cfg.Key))
		g.fingerprint = hex.EncodeToString(g.key[:4])
	}
	return g
}

// operator is who sends a request. The zero operator has no credential.
type operator struct {
	name     string // the token's, else what the request says, else "operator"
	identity string // the object id of the token; "" = by key, or without one
	key      string // the key's fingerprint; "" = by token, or without one
	address  string
}

// refusal is why a request is not served.
type refusal struct {
	status        int
	code, message string
	retryAfter    time.Duration
}

// enabled reports whether anything is served. Without a key only names of
// loopback are: another name that resolves to this machine is a DNS rebinding
// attack.
func (g *access) enabled(r *http.Request) bool {
	return g.hasKey || g.verify != nil || g.keyless && loopback(r.Host)
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// credential is the key or token that the request has; "" = none.
func credential(r *http.Request) string {
	if sent := r.Header.Get(keyHeader); sent != "" {
		return sent
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// authorize returns who sends the request, or why it is refused. A key is compared
// in constant time, and not at all while its address has sent too many wrong ones.
func (g *access) authorize(r *http.Request, now time.Time) (operator, *refusal) {
	who := operator{name: operatorName(r), address: clientAddress(r, g.hosted)}
	if g.keyless {
		return who, nil
	}
	sent := credential(r)
	switch {
	case sent == "":
		return who, g.unauthorized()
	case g.verify != nil && strings.Count(sent, ".") == 2:
		return g.byToken(r.Context(), who, sent, now)
	}
	from := sameCaller(who.address)
	if wait := g.attempts.retryAfter(from, now); wait > 0 {
		g.attempts.refuse(who.address, now, false)
		return who, &refusal{
			status: http.StatusTooManyRequests, code: "too_many_attempts", retryAfter: wait,
			message: "Too many wrong keys came from this address. Wait, and send the right one.",
		}
	}
	sum := sha256.Sum256([]byte(sent))
	if !g.hasKey || subtle.ConstantTimeCompare(sum[:], g.key[:]) != 1 {
		g.attempts.refuse(from, now, true)
		return who, g.unauthorized()
	}
	who.key = g.fingerprint
	return who, nil
}

// byToken is who the token is of: a signed name, which a request cannot choose.
func (g *access) byToken(ctx context.Context, who operator, token string, now time.Time) (operator, *refusal) {
	claims, err := g.verify(ctx, token)
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		return who, &refusal{
			status: http.StatusServiceUnavailable, code: "credential_unavailable", retryAfter: 2 * time.Second,
			message: "The token cannot be verified at the moment. Use the operators' key, or try again.",
		}
	case err != nil:
		g.attempts.refuse(who.address, now, false)
		return who, g.unauthorized()
	}
	who.identity, who.name = claims.Caller, cmp.Or(cleanName(claims.Name), claims.Caller)
	if !slices.Contains(claims.Roles, g.role) {
		return who, &refusal{
			status: http.StatusForbidden, code: "operator_role_required",
			message: "The token does not have the app role of operators (SPILLWAY_OPERATOR_ROLE). Ask for it to be assigned.",
		}
	}
	return who, nil
}

func (g *access) unauthorized() *refusal {
	var ways []string
	if g.hasKey {
		ways = append(ways, "the operators' key (SPILLWAY_OPERATOR_KEY) as x-spillway-operator-key or as Authorization: Bearer")
	}
	if g.verify != nil {
		ways = append(ways, "an Entra ID token with the app role of operators as Authorization: Bearer")
	}
	return &refusal{status: http.StatusUnauthorized, code: "operator_key_required", message: "Send " + strings.Join(ways, ", or ") + "."}
}

// csrfSafe reports whether the request cannot come from another site's page. The
// key is sent in a header, which another site does not know; without a key, a
// header is required that another site cannot send.
func (g *access) csrfSafe(r *http.Request) bool {
	if !g.keyless {
		return true
	}
	_, named := r.Header[nameHeader]
	return named && g.origin.Check(r) == nil
}

// operatorName is the name that the request gives, or "operator". It is not
// authenticated.
func operatorName(r *http.Request) string {
	text, err := url.PathUnescape(r.Header.Get(nameHeader))
	if err != nil {
		text = ""
	}
	return cmp.Or(cleanName(text), "operator")
}

// cleanName is a name as the log and the page show it.
func cleanName(text string) string {
	const most = 40
	runes := []rune(strings.TrimSpace(strings.Map(printable, text)))
	return string(runes[:min(len(runes), most)])
}

// printable drops characters that could break a log line, or change its
// direction.
func printable(r rune) rune {
	if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
		return -1
	}
	return r
}
