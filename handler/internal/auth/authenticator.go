// Package auth identifies the caller of a request: the consumer whose key or
// token it carries (docs/security.md#credentials). It does not know paths, models
// or quotas.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"

	"spillway/handler/internal/consumer"
)

// Identity is the caller of a request.
type Identity struct {
	Consumer *consumer.Consumer // nil: anonymous access
	Caller   string             // the token's oid, else its sub: a user or an application; "" for keys
	KeyID    string             // id of the consumer's key, not secret; "" for tokens
}

// Digest is the SHA-256 of a key. Keys themselves are not kept.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a key.
func DigestOf(key string) Digest { return sha256.Sum256([]byte(key)) }

// IssuedKeys looks up keys that were issued at run time (package keys).
type IssuedKeys interface {
	// Lookup returns the name of the key's consumer and the key's id. The error
	// is ErrUnknown, ErrExpired, or ErrUnavailable where the table has to decide and
	// cannot be read. It may wait for the table when the key is unknown to this
	// instance.
	Lookup(ctx context.Context, digest Digest) (consumer, keyID string, err error)
	// WellFormed reports whether a text can be an issued key at all.
	WellFormed(key string) bool
}

// Claims are the claims of a verified token that identify its bearer.
type Claims struct {
	AppID   string // the application that requested the token
	Caller  string // oid, else sub
	Name    string // for people, and may change: preferred_username, upn or app_displayname
	Roles   []string
	Groups  []string
	Overage bool // the issuer left the groups out: there are too many
}

// Verifier verifies tokens (package entra). The error is an [Error] or wraps
// [ErrUnavailable].
type Verifier interface {
	Verify(ctx context.Context, token string) (Claims, error)
}

// Authenticator turns a request's credential into a consumer. Make it with New;
// it is safe for concurrent use.
type Authenticator struct {
	anonymous  bool
	acceptKeys bool
	static     map[Digest]*staticKey
	decoy      staticKey
	issued     IssuedKeys
	verifier   Verifier
	byName     map[string]*consumer.Consumer
	rules      []TokenRule
}

type staticKey struct {
	digest   Digest
	consumer *consumer.Consumer
	id       string
}

// Authenticate returns the caller of a request with these headers and this
// query. The error is an [Error] or wraps [ErrUnavailable]; neither contains
// any part of the credential.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header, rawQuery string) (Identity, error) {
	if a.anonymous {
		return Identity{}, nil
	}
	cred, err := a.extract(h, rawQuery)
	switch {
	case err != nil:
		return Identity{}, err
	case cred.token != "" && cred.key == "":
		return a.byToken(ctx, cred.token)
	case !a.acceptKeys || len(cred.key) > maxKeyLength:
		return Identity{}, ErrUnknown
	case cred.token != "":
		return a.byBoth(ctx, cred)
	}
	return a.byKey(ctx, cred.key)
}

// byBoth is for a key that is sent with a token. A token that is for somebody
// else, such as the backend, says nothing about who calls; one that names another
// consumer does.
func (a *Authenticator) byBoth(ctx context.Context, cred credential) (Identity, error) {
	key, err := a.byKey(ctx, cred.key)
	if err != nil {
		return Identity{}, err
	}
	token, err := a.byToken(ctx, cred.token)
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrAmbiguous):
		return Identity{}, err
	case err == nil && token.Consumer != key.Consumer:
		return Identity{}, ErrConflicting
	}
	return key, nil
}

// byKey takes the same path, and the same time, for every unknown key: it looks
// up a digest, which a caller cannot choose, and compares what it finds in
// constant time (docs/security.md#credentials).
func (a *Authenticator) byKey(ctx context.Context, key string) (Identity, error) {
	digest := DigestOf(key)
	found, ok := a.static[digest]
	if !ok {
		found = &a.decoy
	}
	if subtle.ConstantTimeCompare(found.digest[:], digest[:]) == 1 && ok {
		return Identity{Consumer: found.consumer, KeyID: found.id}, nil
	}
	if a.issued == nil {
		return Identity{}, ErrUnknown
	}
	name, id, err := a.issued.Lookup(ctx, digest)
	switch {
	case errors.Is(err, ErrUnavailable) && !a.issued.WellFormed(key):
		return Identity{}, ErrUnknown // the table cannot know it either
	case err != nil:
		return Identity{}, err
	}
	c, ok := a.byName[name]
	if !ok {
		return Identity{}, ErrUnknown // its consumer was removed from the configuration
	}
	return Identity{Consumer: c, KeyID: id}, nil
}

func (a *Authenticator) byToken(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxTokenLength {
		return Identity{}, ErrMalformed
	}
	claims, err := a.verifier.Verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	best, needsGroups := a.mostSpecific(&claims)
	switch {
	case len(best) > 0 && slices.ContainsFunc(best, func(r *TokenRule) bool { return r.Consumer != best[0].Consumer }):
		return Identity{}, ErrAmbiguous
	case len(best) > 0:
		return Identity{Consumer: best[0].Consumer, Caller: claims.Caller}, nil
	case claims.Overage && needsGroups:
		return Identity{}, ErrGroupsOverage
	}
	return Identity{}, ErrUnmapped
}

// mostSpecific returns the rules that match and name the most members: their
// order in the document decides nothing. needsGroups reports whether a rule did
// not match that names a group.
func (a *Authenticator) mostSpecific(claims *Claims) (best []*TokenRule, needsGroups bool) {
	for i := range a.rules {
		rule := &a.rules[i]
		switch {
		case !rule.matches(claims):
			needsGroups = needsGroups || rule.Group != ""
		case len(best) == 0 || rule.members() > best[0].members():
			best = []*TokenRule{rule}
		case rule.members() == best[0].members():
			best = append(best, rule)
		}
	}
	return best, needsGroups
}

// TokenRule assigns tokens to a consumer: those that match every member that is
// not "". The zero rule matches none.
type TokenRule struct {
	Consumer *consumer.Consumer
	AppID    string
	Role     string
	Group    string
}

func (m *TokenRule) matches(t *Claims) bool {
	return m.AppID+m.Role+m.Group != "" &&
		(m.AppID == "" || strings.EqualFold(m.AppID, t.AppID)) &&
		(m.Role == "" || slices.Contains(t.Roles, m.Role)) &&
		(m.Group == "" || slices.Contains(t.Groups, strings.ToLower(m.Group)) || slices.Contains(t.Groups, m.Group))
}

// members is how many claims the rule names.
func (m *TokenRule) members() (n int) {
	for _, name := range []string{m.AppID, m.Role, m.Group} {
		if name != "" {
			n++
		}
	}
	return n
}

// Error is why a credential was refused, for the log and the metrics. The caller gets
// 401 and a coarser reason. It contains no part of the credential.
type Error string

func (e Error) Error() string { return "credential refused: " + string(e) }

// The reasons. The caller gets 401 for each (docs/security.md#credentials).
const (
	ErrMissing       Error = "missing"
	ErrDuplicate     Error = "the same header was sent twice"
	ErrConflicting   Error = "two headers with different credentials"
	ErrInQuery       Error = "sent in the query, which logs record"
	ErrUnknown       Error = "unknown key"
	ErrExpired       Error = "expired"
	ErrNotYetValid   Error = "not valid yet"
	ErrMalformed     Error = "malformed token"
	ErrAlgorithm     Error = "signature algorithm not accepted"
	ErrSigningKey    Error = "signed by a key that the issuer does not publish"
	ErrSignature     Error = "invalid signature"
	ErrIssuer        Error = "another issuer"
	ErrAudience      Error = "another audience"
	ErrTenant        Error = "another tenant"
	ErrNoApplication Error = "no application named: an ID token, not an access token"
	ErrAmbiguous     Error = "valid, but the rules of two consumers match it equally"
	ErrUnmapped      Error = "valid, but no consumer is configured for its application, roles or groups"
	ErrGroupsOverage Error = "valid, but without its groups, because there are too many: map its consumer by appId or role"
)

// ErrUnavailable means that credentials cannot be verified: the keys to verify
// them with were never read, or do not have this one and cannot be read now. The
// answer is 503.
var ErrUnavailable = errors.New("credentials cannot be checked yet")

// Reason returns the text of an [Error], one of a fixed list; "" for any other
// error.
func Reason(err error) string {
	var e Error
	if errors.As(err, &e) {
		return string(e)
	}
	return ""
}
