package auth

import "errors"

// Error is why a credential was refused. It is for the log and the metrics: the
// caller gets the same 401 for each. It contains no part of the credential.
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
	ErrUnmapped      Error = "valid, but no consumer is configured for its application, roles or groups"
	ErrGroupsOverage Error = "valid, but without its groups, because there are too many: map its consumer by appId or role"
)

// ErrUnavailable means that credentials cannot be verified: the keys to verify
// them with were never read. The answer is 503.
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
