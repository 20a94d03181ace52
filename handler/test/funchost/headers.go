package funchost

import (
	"net"
	"net/http"
	"net/textproto"
	"strings"
)

// hostVersion is the host of Core Tools 4.14.0 (facts/azure-functions-host.md §0).
const hostVersion = "4.1052.200"

// isDropped are the headers that the host's proxy passes in neither direction (D 19, D 25).
func isDropped(name string) bool {
	switch strings.ToLower(name) {
	case "connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection",
		"proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "proxy-features",
		"proxy-instruction", "security-scheme", "alpn", "close", "http2-settings",
		"upgrade-insecure-requests", "te", "alt-svc", "strict-transport-security":
		return true
	}
	return false
}

// proxiedHeader is the header that the handler gets in proxy mode (D 17 to D 19).
func proxiedHeader(r *http.Request, invocation string) http.Header {
	header := http.Header{}
	for name, values := range r.Header {
		if !isDropped(name) {
			header[name] = joinValues(name, values)
		}
	}
	header.Del("Forwarded")
	header.Del("X-Forwarded-Prefix")
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	header.Set("X-Forwarded-For", remote)
	header.Set("X-Forwarded-Host", r.Host)
	header.Set("X-Forwarded-Proto", "http")
	header.Set("X-Azure-Functions-Invocationid", invocation)
	header.Set("X-Azure-Functions-Hostversion", hostVersion)
	header.Set("X-Ms-Invocation-Id", invocation)
	return header
}

// joinValues joins the lines of a header as .NET's client does.
func joinValues(name string, values []string) []string {
	if len(values) < 2 {
		return values
	}
	separator := ", "
	switch name {
	case "Cookie":
		separator = "; "
	case "User-Agent":
		separator = " "
	}
	return []string{strings.Join(values, separator)}
}

// forwardedHeader is the header that the handler gets in forward mode (D 45):
// the caller's own, less what describes a body, with the host's mark at the
// end of User-Agent.
func forwardedHeader(r *http.Request, invocation string) http.Header {
	header := http.Header{}
	for name, values := range r.Header {
		lost := strings.HasPrefix(name, "Content-") && name != "Content-Type" && name != "Content-Length"
		if !lost && name != "Transfer-Encoding" && name != "Connection" && name != "Allow" && name != "Expires" && name != "Last-Modified" {
			header[name] = joinValues(name, values)
		}
	}
	header.Set("User-Agent", strings.TrimSpace(r.Header.Get("User-Agent")+" Azure-Functions-Host/"+hostVersion))
	header.Set("X-Azure-Functions-Invocationid", invocation)
	header.Set("X-Azure-Functions-Hostversion", hostVersion)
	return header
}

// copyResponseHeader puts the handler's header on the answer to the caller. What the
// handler did not say is not made up: no Content-Type is guessed.
func copyResponseHeader(to http.Header, response *http.Response) {
	for name, values := range response.Header {
		if !isDropped(name) {
			to[name] = values
		}
	}
	if _, typed := to["Content-Type"]; !typed {
		to["Content-Type"] = nil
	}
	for name := range response.Trailer {
		to.Add("Trailer", textproto.CanonicalMIMEHeaderKey(name))
	}
}
