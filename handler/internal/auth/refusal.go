package auth

import "errors"

// Refusal is why a credential was not accepted: for the log and the metrics,
// never for the caller, who learns only that it was not. It holds nothing of
// the credential.
type Refusal string

func (r Refusal) Error() string { return "credential refused: " + string(r) }

// The refusals. All of them are one answer to the caller: 401
// (facts/reliability.md T50).
const (
	ErrMissing     Refusal = "none was sent"
	ErrDuplicate   Refusal = "the same header was sent twice"
	ErrConflicting Refusal = "two headers hold different ones"
	ErrInQuery     Refusal = "it was sent in the query, where every log on the way keeps it"
	ErrUnknown     Refusal = "nobody has this key"
	ErrExpired     Refusal = "it has expired"
	ErrNotYet      Refusal = "it is not valid yet"
	ErrMalformed   Refusal = "it is no token that Entra ID issues"
	ErrAlgorithm   Refusal = "its signature is of a kind that is not accepted"
	ErrSigningKey  Refusal = "it is signed by a key that the issuer does not have"
	ErrSignature   Refusal = "its signature is wrong"
	ErrIssuer      Refusal = "it comes from another issuer"
	ErrAudience    Refusal = "it was made for another audience"
	ErrTenant      Refusal = "it comes from another tenant"
	ErrNoApp       Refusal = "it names no application: an ID token, not an access token"
	ErrUnmapped    Refusal = "it is valid, and no consumer is configured for its application, roles or groups"
	ErrOverage     Refusal = "it is valid and leaves out its groups, because there are too many: map its consumer by appId or role"
)

// ErrUnavailable is not the caller's fault: what a credential is checked
// against has never been there. The answer is 503.
var ErrUnavailable = errors.New("credentials cannot be checked yet")

// Reason is the bounded vocabulary of the refusals, for labels; "" for any
// other error.
func Reason(err error) string {
	var r Refusal
	if errors.As(err, &r) {
		return string(r)
	}
	return ""
}
