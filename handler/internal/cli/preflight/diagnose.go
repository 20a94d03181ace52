package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"spillway/handler/internal/backend"
)

// scope is what a response is evidence about.
type scope uint8

const (
	scopeNone       scope = iota // it is as it should be
	scopeDeployment              // this deployment is not there
	scopePath                    // nothing is at this path, or in this version
	scopeResource                // all of the resource
)

var (
	dataActionPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("data action `([^`]{1,160})`") })
	principalPattern  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("principal `([A-Za-z0-9-]{1,64})`") })
)

// diagnose finds what is wrong according to the response to a test request, and
// with what. An error that concerns only the test request itself proves that
// path, version and credential are accepted (docs/azure-openai.md#errors).
func diagnose(a *testResponse, t *backend.Target) (scope, diagnosis) {
	text := strings.ToLower(a.code + " " + a.message)
	switch {
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return scopeResource, diagnoseRefusal(a, t, text)
	case strings.Contains(text, "deploymentnotfound"), strings.Contains(text, "model_not_found"), strings.Contains(text, "existing deployment to match"):
		return scopeDeployment, diagnosis{"it does not exist (" + a.code + ")", `Create it, or correct "deployments"; one made in the last 5 minutes may need a moment.`}
	case a.status == http.StatusTooManyRequests: // a throttle is no fault, whatever version its text names
		return scopeNone, diagnosis{}
	case a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed:
		return scopePath, diagnosis{a.summary(), "Check that the endpoint is the resource's address without a path of its own."}
	case strings.Contains(text, "api version"), strings.Contains(text, "api-version"):
		return scopePath, diagnosis{a.summary(), "Use a resource in a region and cloud that has this version."}
	case a.status >= 300 && a.status < 400:
		return scopeResource, diagnosis{a.summary() + ", a redirect, which is never followed", "Write the address that it points to."}
	case a.status == http.StatusRequestTimeout, a.status >= 500:
		return scopeResource, diagnosis{a.summary() + ", so it fails now", "Run this again in a minute; if it stays, see Azure's status page and the resource's health."}
	case a.status < 300 && !a.isObject:
		return scopeResource, diagnosis{a.summary() + " with something other than JSON", "Check that the endpoint is an address of Azure OpenAI, and not of a portal or a sign-in page."}
	}
	return scopeNone, diagnosis{}
}

// diagnoseRefusal explains a 401 or 403 by the service's message
// (docs/azure-openai.md#authentication).
func diagnoseRefusal(a *testResponse, t *backend.Target, text string) diagnosis {
	switch {
	case strings.Contains(text, "permissiondenied"), strings.Contains(text, "data action"):
		return missingRole(a)
	case strings.Contains(text, "authenticationtypedisabled"), strings.Contains(text, "key based authentication is disabled"):
		return diagnosis{"keys are disabled at this resource", `Write "auth": {"mode": "managed-identity"} and give the identity the role Cognitive Services OpenAI User.`}
	case strings.Contains(text, "virtual network"), strings.Contains(text, "firewall"):
		return diagnosis{"its network rules do not admit this machine", "Add the app's subnet, or this machine's address, to the resource's network rules, or run this from inside the network."}
	case strings.Contains(text, "public access is disabled"), strings.Contains(text, "private endpoint"):
		return diagnosis{"it has no public access, and was not reached through its private endpoint", "Run this from inside the network, and link the private DNS zone privatelink.openai.azure.com to it."}
	case strings.Contains(text, "temporarily blocked"):
		return diagnosis{"the resource is blocked by Azure's abuse monitoring", "See https://aka.ms/aoaicodeofconduct and open a support request; weight 0 drains the backend until then."}
	case strings.Contains(text, "access token"), strings.Contains(text, "audience"):
		return diagnosis{"the token is refused: of another tenant or audience, or expired", "Check that the identity and the resource are in one tenant, and this machine's clock."}
	case strings.Contains(text, "subscription key"), strings.Contains(text, "invalid_api_key"):
		return badKey(t)
	}
	return diagnosis{a.summary() + ", for an unknown reason", "Check the resource's keys, roles and network rules."}
}

func missingRole(a *testResponse) diagnosis {
	who, what := "the identity", "the data action"
	if m := principalPattern().FindStringSubmatch(a.message); m != nil {
		who += " " + m[1]
	}
	if m := dataActionPattern().FindStringSubmatch(a.message); m != nil {
		what += " " + m[1]
	}
	return diagnosis{who + " lacks " + what, "Give it the role Cognitive Services OpenAI User on this resource (Owner and Contributor allow no inference) and wait 5 minutes."}
}

func badKey(t *backend.Target) diagnosis {
	_, keyed := t.Credential.(backend.APIKey)
	switch {
	case keyed && t.OpenAI:
		return diagnosis{"the key is refused", "Put a key that this server accepts into the app setting that auth.setting names."}
	case keyed:
		return diagnosis{"the key is refused, or the endpoint is another resource's", "Copy KEY 1 of this very resource into the app setting that auth.setting names."}
	}
	return diagnosis{"a credential is demanded that was not sent", `Write "auth": {"mode": "managed-identity"}, or "api-key" with its setting.`}
}

// diagnoseTransport explains why a request got no response.
func diagnoseTransport(host string, err error) diagnosis {
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, errNoCredential):
		return diagnoseCredential(err)
	case errors.As(err, &lookup):
		return diagnosis{"the name " + host + " is not found by DNS", "Correct the endpoint; with a private endpoint, link its private DNS zone to this network."}
	case isTLSError(err):
		return diagnosis{"TLS with " + host + " failed: " + tlsReason(err), "Use the name that the certificate is for; behind an inspecting proxy, add its root to the system's."}
	case errors.Is(err, syscall.ECONNREFUSED):
		return diagnosis{host + " refuses connections", "Correct host and port of the endpoint, or start what should listen there."}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return diagnosis{"there is no route to " + host, "Check routes, firewall and private endpoint of this network."}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return diagnosis{"no answer came from " + host + " in time", "Check firewall, private endpoint and network rules; if it is only slow, run this again."}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return diagnosis{host + " closes the connection without an answer", "Check that the endpoint serves HTTP, and what is between it and this machine."}
	case errors.Is(err, context.Canceled):
		return diagnosis{"the run was cancelled", "Run it again."}
	}
	return diagnosis{"no HTTP answer came from " + host, "Check that the endpoint is an address of Azure OpenAI."}
}

// diagnoseCredential explains why there is no credential to send.
func diagnoseCredential(err error) diagnosis {
	if errors.Is(err, backend.ErrIdentityRefused) {
		return diagnosis{"the identity was refused a token", `Assign the identity to this app, and check auth.clientId or AZURE_CLIENT_ID.`}
	}
	return diagnosis{"there is no token of the identity", `On a developer's machine sign in with "az login"; in Azure assign a managed identity to the app, and check auth.clientId or AZURE_CLIENT_ID.`}
}

// isTLSError reports whether the handshake failed. crypto/tls has no type for
// most of its errors, only a prefix.
func isTLSError(err error) bool {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	return errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &alert) ||
		strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "x509: ") || strings.Contains(err.Error(), "TLS handshake")
}

func tlsReason(err error) string {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &name):
		return "the certificate is for another name"
	case errors.As(err, &authority):
		return "the certificate is signed by an authority that is not trusted here"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired or is not valid yet, or this machine's clock is wrong"
	case errors.As(err, &record):
		return "it does not speak TLS on this port"
	case strings.Contains(err.Error(), "timeout"):
		return "the handshake does not end"
	}
	return "the handshake was refused"
}
