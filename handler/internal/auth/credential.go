package auth

import (
	"net/http"
	"net/url"
	"strings"
)

// credential is a request's credential: a key, a token, or both.
type credential struct {
	key   string
	token string
}

// Longer credentials are refused unread.
const (
	maxKeyLength   = 512
	maxTokenLength = 16 << 10
)

// extract returns the one credential of a request. The same key in two headers
// is one credential, as an SDK sends it; two different ones are refused
// (docs/security.md#credentials). Other headers, x-functions-key and those of
// EasyAuth among them, are no credentials.
func (a *Authenticator) extract(h http.Header, rawQuery string) (credential, error) {
	if inQuery(rawQuery) {
		return credential{}, ErrInQuery
	}
	apiKey, authorization := h["Api-Key"], h["Authorization"]
	subscription, anthropic := h["Ocp-Apim-Subscription-Key"], h["X-Api-Key"]
	if len(apiKey) > 1 || len(subscription) > 1 || len(anthropic) > 1 || len(authorization) > 1 {
		return credential{}, ErrDuplicate
	}
	key, err := sameKey(first(apiKey), first(subscription))
	if err == nil {
		key, err = sameKey(key, first(anthropic))
	}
	if err != nil {
		return credential{}, err
	}
	bearer := bearerToken(first(authorization))
	if a.verifier != nil && isJWT(bearer) {
		if !a.acceptKeys {
			key = ""
		}
		return credential{key: key, token: bearer}, nil
	}
	key, err = sameKey(key, bearer)
	if err == nil && key == "" {
		err = ErrMissing
	}
	return credential{key: key}, err
}

// sameKey merges the keys of two headers, of which either may be empty.
func sameKey(a, b string) (string, error) {
	switch {
	case a == "" || a == b:
		return b, nil
	case b == "":
		return a, nil
	}
	return "", ErrConflicting
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return strings.Trim(values[0], " \t")
}

// bearerToken returns the credential of an Authorization header, or "" for
// another scheme.
func bearerToken(header string) string {
	scheme, rest, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.Trim(rest, " \t")
}

// isJWT reports whether a bearer credential has the form of a signed JWT: three
// parts in base64url. Anything else is a key.
func isJWT(bearer string) bool {
	parts := 0
	for part := range strings.SplitSeq(bearer, ".") {
		parts++
		if part == "" && parts < 3 || strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return parts == 3
}

// inQuery reports whether a query has a parameter that is a credential by its
// name. The Functions host's own ?code= is not.
func inQuery(raw string) bool {
	if raw == "" {
		return false
	}
	values, _ := url.ParseQuery(raw) // what cannot be parsed is not forwarded either
	for name := range values {
		switch strings.ToLower(name) {
		case "api-key", "api_key", "apikey", "subscription-key", "ocp-apim-subscription-key", "access_token", "authorization", "bearer", "token":
			return true
		}
	}
	return false
}
