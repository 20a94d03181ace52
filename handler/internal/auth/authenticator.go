package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"spillway/handler/internal/consumer"
)

// Identity is who a request comes from.
type Identity struct {
	Consumer *consumer.Consumer // nil: anybody, where everybody is let in
	Caller   string             // the token's oid, else its sub: a person or an application; "" for keys
	KeyID    string             // which of the consumer's keys, fit for a log; "" for tokens
}

// Digest is the SHA-256 of a key: all that is kept of one.
type Digest [sha256.Size]byte

// DigestOf is the digest of a key.
func DigestOf(key string) Digest { return sha256.Sum256([]byte(key)) }

// IssuedKeys finds the keys that were issued at run time (package keys).
type IssuedKeys interface {
	// Lookup returns the name of the consumer that has the key, and the key's
	// id. It is ErrUnknown or ErrExpired otherwise, and waits for the table
	// only for a key that it has not heard of.
	Lookup(ctx context.Context, digest Digest) (consumer, keyID string, err error)
}

// Claims is what a verified token says of its bearer.
type Claims struct {
	AppID   string // the application that asked for it
	Caller  string // oid, else sub
	Roles   []string
	Groups  []string
	Overage bool // there are groups that it does not name
}

// Verifier checks tokens (package entra). It returns a Refusal, or an error
// that is ErrUnavailable.
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

// Authenticate says who a request with these headers and this query comes from.
// The error is a [Error] or wraps [ErrUnavailable]; neither holds anything of
// the credential.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header, rawQuery string) (Identity, error) {
	if a.anonymous {
		return Identity{}, nil
	}
	cred, err := a.extract(h, rawQuery)
	switch {
	case err != nil:
		return Identity{}, err
	case cred.token != "":
		return a.byToken(ctx, cred.token)
	case !a.acceptKeys || len(cred.key) > maxKeyLength:
		return Identity{}, ErrUnknown
	}
	return a.byKey(ctx, cred.key)
}

// byKey takes the same way, and the same time, for every key that is not known
// here: what is looked up is a digest, which nobody can steer, and what is
// found is compared in constant time (facts/reliability.md T21).
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
	if err != nil {
		return Identity{}, err
	}
	c, ok := a.byName[name]
	if !ok {
		return Identity{}, ErrUnknown // its consumer is not configured any more
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
	needsGroups := false
	for i := range a.rules {
		m := &a.rules[i]
		if m.matches(&claims) {
			return Identity{Consumer: m.Consumer, Caller: claims.Caller}, nil
		}
		needsGroups = needsGroups || m.Group != ""
	}
	if claims.Overage && needsGroups {
		return Identity{}, ErrGroupsOverage
	}
	return Identity{}, ErrUnmapped
}

// TokenRule is which tokens belong to a consumer: those that fit everything that is
// not "". A TokenRule of nothing fits none.
type TokenRule struct {
	Consumer *consumer.Consumer
	AppID    string
	Role     string
	Group    string
}

func (m *TokenRule) matches(t *Claims) bool {
	return m.AppID+m.Role+m.Group != "" &&
		(m.AppID == "" || strings.EqualFold(m.AppID, t.AppID)) &&
		(m.Role == "" || contains(t.Roles, m.Role)) &&
		(m.Group == "" || contains(t.Groups, strings.ToLower(m.Group)) || contains(t.Groups, m.Group))
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
