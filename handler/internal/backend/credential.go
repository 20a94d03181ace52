package backend

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// What a credential can lack.
var (
	// ErrNoCallerToken: the backend takes the caller's own Entra token, and the
	// caller brought none. It says nothing about the backend.
	ErrNoCallerToken = errors.New("upstream: the caller brought no Entra token to pass through")
	// ErrCredentialUnavailable: this process has no token yet, or its last one ran out.
	ErrCredentialUnavailable = errors.New("upstream: credential unavailable")
	// ErrIdentityRefused: the identity itself was refused; waiting will not help.
	ErrIdentityRefused = errors.New("upstream: identity refused")
)

// Credential proves to a target who we are. Implementations are safe for
// concurrent use and return by the end of ctx.
type Credential interface {
	// Apply writes the credential into out, given the caller's own headers.
	// Errors wrap ErrCallerToken, ErrCredential or ErrIdentity.
	Apply(ctx context.Context, out, caller http.Header) error
}

// APIKey is the key of a resource.
type APIKey struct {
	Key    string
	Bearer bool // as Authorization: Bearer, which OpenAI-compatible servers take; else api-key
}

// Apply never fails.
func (k APIKey) Apply(_ context.Context, out, _ http.Header) error {
	if k.Bearer {
		out["Authorization"] = []string{"Bearer " + k.Key}
		return nil
	}
	out["Api-Key"] = []string{k.Key}
	return nil
}

// NoCredential is no credential.
type NoCredential struct{}

// Apply writes nothing.
func (NoCredential) Apply(context.Context, http.Header, http.Header) error { return nil }

// PassThrough is the caller's own Entra token, for callers who hold the OpenAI
// role themselves. Keys of ours are never passed on.
type PassThrough struct{}

// Apply forwards the caller's bearer token if it has the shape of a JWT.
func (PassThrough) Apply(_ context.Context, out, caller http.Header) error {
	values := caller["Authorization"]
	if len(values) != 1 {
		return ErrNoCallerToken
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || !isJWT(token) {
		return ErrNoCallerToken
	}
	out["Authorization"] = []string{"Bearer " + token}
	return nil
}

// isJWT reports whether s is three non-empty parts of base64url.
func isJWT(s string) bool {
	parts := 1
	last := -1
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if i == last+1 {
				return false
			}
			parts, last = parts+1, i
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return parts == 3 && last < len(s)-1
}
