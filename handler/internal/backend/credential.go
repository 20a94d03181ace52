package backend

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// Errors of [Credential.Apply].
var (
	// ErrNoCallerToken: the backend takes the caller's own Entra ID token, and
	// the caller sent none. It tells nothing about the backend.
	ErrNoCallerToken = errors.New("backend: the caller sent no Entra ID token to pass through")
	// ErrCredentialUnavailable: this process has no valid token.
	ErrCredentialUnavailable = errors.New("backend: credential unavailable")
	// ErrIdentityRefused: the identity was refused; waiting does not help.
	ErrIdentityRefused = errors.New("backend: identity refused")
)

// Credential authenticates this program to a target. Implementations are safe
// for concurrent use and return by the end of ctx.
type Credential interface {
	// Apply writes the credential into out, given the caller's own headers. Its
	// errors wrap ErrNoCallerToken, ErrCredentialUnavailable or
	// ErrIdentityRefused.
	Apply(ctx context.Context, out, caller http.Header) error
}

// APIKey is the key of a resource.
type APIKey struct {
	Key    string
	Bearer bool // as Authorization: Bearer, which OpenAI-compatible servers take; else api-key
}

// Apply writes the key. It returns no error.
func (k APIKey) Apply(_ context.Context, out, _ http.Header) error {
	if k.Bearer {
		out["Authorization"] = []string{"Bearer " + k.Key}
		return nil
	}
	out["Api-Key"] = []string{k.Key}
	return nil
}

// NoCredential is for targets without authentication.
type NoCredential struct{}

// Apply writes nothing.
func (NoCredential) Apply(context.Context, http.Header, http.Header) error { return nil }

// PassThrough is the caller's own Entra ID token, for callers that hold a role
// on the resource. Keys of this gateway are never passed through.
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
