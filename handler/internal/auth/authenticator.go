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

// Ring finds the keys that were issued at run time (package keys).
type Ring interface {
	// Find returns the name of the consumer that has the key, and the key's
	// id. It is ErrUnknown or ErrExpired otherwise, and waits for the table
	// only for a key that it has not heard of.
	Find(ctx context.Context, digest Digest) (consumer, keyID string, err error)
}

// Token is what a verified token says of its bearer.
type Token struct {
	AppID   string // the application that asked for it
	Caller  string // oid, else sub
	Roles   []string
	Groups  []string
	Overage bool // there are groups that it does not name
}

// Verifier checks tokens (package entra). It returns a Refusal, or an error
// that is ErrUnavailable.
type Verifier interface {
	Verify(ctx context.Context, token string) (Token, error)
}

// Authenticator turns a request's credential into a consumer. Make it with New;
// it is safe for concurrent use.
type Authenticator struct {
	open    bool
	keys    bool
	static  map[Digest]*staticKey
	decoy   staticKey
	ring    Ring
	tokens  Verifier
	byName  map[string]*consumer.Consumer
	matches []Match
}

type staticKey struct {
	digest   Digest
	consumer *consumer.Consumer
	id       string
}

// Authenticate says who a request with these headers and this query comes from.
// The error is a [Refusal] or wraps [ErrUnavailable]; neither holds anything of
// the credential.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header, rawQuery string) (Identity, error) {
	if a.open {
		return Identity{}, nil
	}
	offer, err := a.offered(h, rawQuery)
	switch {
	case err != nil:
		return Identity{}, err
	case offer.token != "":
		return a.byToken(ctx, offer.token)
	case !a.keys || len(offer.key) > longestKey:
		return Identity{}, ErrUnknown
	}
	return a.byKey(ctx, offer.key)
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
	if a.ring == nil {
		return Identity{}, ErrUnknown
	}
	name, id, err := a.ring.Find(ctx, digest)
	if err != nil {
		return Identity{}, err
	}
	who, ok := a.byName[name]
	if !ok {
		return Identity{}, ErrUnknown // its consumer is not configured any more
	}
	return Identity{Consumer: who, KeyID: id}, nil
}

func (a *Authenticator) byToken(ctx context.Context, token string) (Identity, error) {
	if len(token) > longestToken {
		return Identity{}, ErrMalformed
	}
	t, err := a.tokens.Verify(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	needsGroups := false
	for i := range a.matches {
		m := &a.matches[i]
		if m.fits(&t) {
			return Identity{Consumer: m.Consumer, Caller: t.Caller}, nil
		}
		needsGroups = needsGroups || m.Group != ""
	}
	if t.Overage && needsGroups {
		return Identity{}, ErrOverage
	}
	return Identity{}, ErrUnmapped
}

// Match is which tokens belong to a consumer: those that fit everything that is
// not "". A Match of nothing fits none.
type Match struct {
	Consumer *consumer.Consumer
	AppID    string
	Role     string
	Group    string
}

func (m *Match) fits(t *Token) bool {
	return m.AppID+m.Role+m.Group != "" &&
		(m.AppID == "" || strings.EqualFold(m.AppID, t.AppID)) &&
		(m.Role == "" || has(t.Roles, m.Role)) &&
		(m.Group == "" || has(t.Groups, strings.ToLower(m.Group)) || has(t.Groups, m.Group))
}

func has(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
