package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"spillway/handler/internal/backend"
)

// diagnoseTransport says why no answer came from a host, and what to do.
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
		return diagnosis{"there is no way to " + host, "Check routes, firewall and private endpoint of this network."}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return diagnosis{"no answer came from " + host + " in time", "Check firewall, private endpoint and network rules on the way; if it is only slow, run this again."}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return diagnosis{host + " closes the connection without an answer", "Check that the endpoint speaks HTTP, and what lies on the way to it."}
	case errors.Is(err, context.Canceled):
		return diagnosis{"the examination was broken off", "Run it again."}
	}
	return diagnosis{"no HTTP answer came from " + host, "Check that the endpoint is an address of Azure OpenAI."}
}

// diagnoseCredential is a request that was not made because we could not say who we are.
func diagnoseCredential(err error) diagnosis {
	if errors.Is(err, backend.ErrIdentityRefused) {
		return diagnosis{"the identity was refused a token", `Assign the identity to this app, and check auth.clientId or AZURE_CLIENT_ID.`}
	}
	return diagnosis{"there is no token of the identity", `On a developer's machine sign in with "az login"; in Azure assign a managed identity to the app, and check auth.clientId or AZURE_CLIENT_ID.`}
}

// isTLSError reports whether the secure channel could not be made. crypto/tls
// has no type for most of its errors, only its prefix.
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
