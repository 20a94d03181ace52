package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/configstore"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/tablestore"
)

// failure is an error as it is printed: what happened, why, and what helps.
type failure struct {
	err  error // what is wrapped
	text string
	fix  string
}

func (f *failure) Error() string {
	if f.fix == "" {
		return f.text
	}
	return f.text + "\nfix: " + f.fix
}

func (f *failure) Unwrap() error { return f.err }

// explained turns the errors of shared state into what an operator can act on.
// Other errors say it themselves.
func explained(err error) error {
	const where = "the table of the shared state (SPILLWAY_STATE, else AzureWebJobsStorage)"
	switch {
	case err == nil, errors.Is(err, errUsage):
		return err
	case errors.Is(err, fleet.ErrNoSuchBackend):
		return &failure{err, err.Error(), "write a backend of the pool document, or backend/model; \"spillway backends list\" prints them"}
	case errors.Is(err, keys.ErrTooManyKeys):
		return &failure{err, strings.TrimPrefix(err.Error(), "keys: "), "\"spillway keys list\" prints them, \"spillway keys revoke ID\" ends one"}
	case errors.Is(err, configstore.ErrConflict):
		return &failure{err, err.Error(), "look at \"spillway config diff\", then push again"}
	case errors.Is(err, configstore.ErrTooLarge):
		return &failure{err, err.Error(), "leave out indentation and what is the default, or keep the document in a file of the app (SPILLWAY_CONFIG=@path)"}
	case errors.Is(err, configstore.ErrNoVersion):
		return &failure{err, err.Error(), "\"spillway config history\" lists them"}
	case errors.Is(err, configstore.ErrDamaged):
		return &failure{err, err.Error(), "see who else may write the table; delete the row, then push again"}
	case errors.Is(err, tablestore.ErrRefused) && noToken(err):
		return &failure{err, where + " was not asked: there is no token for it", "sign in with \"az login\" as somebody with the role Storage Table Data Contributor, or give a connection string"}
	case errors.Is(err, tablestore.ErrRefused):
		return &failure{err, where + " refuses the request: " + rootCause(err), "check the connection string, the role Storage Table Data Contributor, the account's firewall, and this machine's clock"}
	case errors.Is(err, tablestore.ErrUnknown):
		return &failure{err, where + " does not answer: " + rootCause(err), "check the name of the account, DNS, private endpoint and firewall from this machine; a write may have been applied: look before you repeat it"}
	}
	return err
}

func noToken(err error) bool { return strings.Contains(err.Error(), ": no token: ") }

// rootCause is the innermost part of an error that says something, without the
// address of a request, whose query may hold a signature.
func rootCause(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	var request *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", tableTimeout)
	case errors.As(err, &dns):
		return "there is no host " + dns.Name
	case errors.As(err, &op) && op.Addr != nil:
		return op.Op + " " + op.Addr.String() + ": " + op.Err.Error()
	case errors.As(err, &request):
		return request.Err.Error()
	}
	text := err.Error()
	for _, sentinel := range []error{tablestore.ErrRefused, tablestore.ErrUnknown} {
		if _, after, ok := strings.Cut(text, sentinel.Error()+": "); ok {
			text = after
		}
	}
	text, _, _ = strings.Cut(text, ": check the credential")
	return text
}
