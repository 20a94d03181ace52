package auth

import (
	"net/http"
	"net/url"
	"strings"
)

// credential is what a request offers as proof: one of the two, never both.
type credential struct {
	key   string
	token string
}

// Longer credentials are not looked at.
const (
	maxKeyLength   = 512
	maxTokenLength = 16 << 10
)

// extract finds the one credential of a request. The same key in api-key and in
// Authorization is one (facts/reliability.md rule 8: an SDK does that); two
// different ones are none. Other headers, x-functions-key and those of EasyAuth
// among them, prove nothing.
func (a *Authenticator) extract(h http.Header, rawQuery string) (credential, error) {
	if inQuery(rawQuery) {
		return credential{}, ErrInQuery
	}
	apiKey, authorization := h["Api-Key"], h["Authorization"]
	subscription := h["Ocp-Apim-Subscription-Key"]
	if len(apiKey) > 1 || len(subscription) > 1 || len(authorization) > 1 {
		return credential{}, ErrDuplicate
	}
	key, err := sameKey(first(apiKey), first(subscription))
	if err != nil {
		return credential{}, err
	}
	bearer := bearerToken(first(authorization))
	if a.verifier != nil && isJWT(bearer) && (key == "" || !a.acceptKeys) {
		return credential{token: bearer}, nil
	}
	if !isJWT(bearer) || a.verifier == nil {
		key, err = sameKey(key, bearer)
	}
	if err == nil && key == "" {
		err = ErrMissing
	}
	return credential{key: key}, err
}

// sameKey is the one key of two places, of which either may be empty.
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

// bearerToken is the credential of an Authorization header; "" when its scheme is
// another one.
func bearerToken(header string) string {
	scheme, rest, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.Trim(rest, " \t")
}

// isJWT reports whether a bearer is written like a signed JWT: three parts in
// base64url. Anything else is a key.
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

// inQuery reports whether a query has a parameter that is meant as a
// credential. The host's own ?code= is none.
func inQuery(raw string) bool {
	if raw == "" {
		return false
	}
	values, _ := url.ParseQuery(raw) // what cannot be parsed is not looked at by anybody
	for name := range values {
		switch strings.ToLower(name) {
		case "api-key", "api_key", "apikey", "subscription-key", "ocp-apim-subscription-key", "access_token", "authorization", "bearer", "token":
			return true
		}
	}
	return false
}
