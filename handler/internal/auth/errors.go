package auth

import "errors"

// Error is why a credential was not accepted: for the log and the metrics,
// never for the caller, who learns only that it was not. It holds nothing of
// the credential.
type Error string

func (r Error) Error() string { return "credential refused: " + string(r) }

// The refusals. All of them are one answer to the caller: 401
// (facts/reliability.md T50).
const (
	ErrMissing       Error = "none was sent"
	ErrDuplicate     Error = "the same header was sent twice"
	ErrConflicting   Error = "two headers hold different ones"
	ErrInQuery       Error = "it was sent in the query, where every log on the way keeps it"
	ErrUnknown       Error = "nobody has this key"
	ErrExpired       Error = "it has expired"
	ErrNotYetValid   Error = "it is not valid yet"
	ErrMalformed     Error = "it is no token that Entra ID issues"
	ErrAlgorithm     Error = "its signature is of a kind that is not accepted"
	ErrSigningKey    Error = "it is signed by a key that the issuer does not have"
	ErrSignature     Error = "its signature is wrong"
	ErrIssuer        Error = "it comes from another issuer"
	ErrAudience      Error = "it was made for another audience"
	ErrTenant        Error = "it comes from another tenant"
	ErrNoApplication Error = "it names no application: an ID token, not an access token"
	ErrUnmapped      Error = "it is valid, and no consumer is configured for its application, roles or groups"
	ErrGroupsOverage Error = "it is valid and leaves out its groups, because there are too many: map its consumer by appId or role"
)

// ErrUnavailable is not the caller's fault: what a credential is checked
// against has never been there. The answer is 503.
var ErrUnavailable = errors.New("credentials cannot be checked yet")

// Reason is the bounded vocabulary of the refusals, for labels; "" for any
// other error.
func Reason(err error) string {
	var r Error
	if errors.As(err, &r) {
		return string(r)
	}
	return ""
}
