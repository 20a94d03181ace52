package backend

import (
	"net/http"
	"strings"

	"spillway/handler/internal/backend/http1"
	"spillway/handler/internal/proxy"
)

// imageDeploymentHeader names a second deployment on the same resource
// (facts/azure-openai.md §1.1).
const imageDeploymentHeader = "X-Ms-Oai-Image-Generation-Deployment"

// ownHeaders is what we write ourselves into a request, over the caller's headers
// of the same name; a nil value takes one away. At most three are added, with
// the credential, besides the caller's id where it is asked for (design.md §5.4).
func (t *Target) ownHeaders(r *proxy.Request, passes func(name string) bool) http.Header {
	over := make(http.Header, 8)
	added := []string{"identity", r.ID} // nothing is ever inflated
	over["Accept-Encoding"] = added[:1:1]
	if _, ok := r.Header["X-Ms-Client-Request-Id"]; (!ok || !passes("X-Ms-Client-Request-Id")) && r.ID != "" {
		over["X-Ms-Client-Request-Id"] = added[1:]
	}
	if values := r.Header[imageDeploymentHeader]; len(values) > 0 && passes(imageDeploymentHeader) {
		t.renameImageDeployment(over, values[0])
	}
	if t.CallerHeader != "" {
		over[t.CallerHeader] = nil // what the caller wrote there is not believed
		if r.Caller != "" {
			over[t.CallerHeader] = []string{r.Caller}
		}
	}
	return over
}

// headerFilter tells which of the caller's headers a backend gets to see: all but
// those that are hop-by-hop, the caller's credentials, the platform's and the
// host's.
func headerFilter(caller http.Header) func(name string) bool {
	hops := caller["Connection"]
	if len(hops) == 0 {
		return forwardable
	}
	return func(name string) bool { return forwardable(name) && !http1.Listed(hops, name) }
}

func forwardable(name string) bool { return !withheld(name) }

// merged is the headers of a message in one. The values are shared with the
// caller's and must not be written.
func (m *message) merged() http.Header {
	out := make(http.Header, len(m.caller)+len(m.own)+1)
	for name, values := range m.caller {
		if m.forwards(name) {
			out[name] = values
		}
	}
	for name, values := range m.own {
		out[name] = values
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // none, rather than Go's
	}
	return out
}

// renameImageDeployment looks the second deployment up like the first. A name
// that the resource is not configured to have is dropped.
func (t *Target) renameImageDeployment(over http.Header, name string) {
	if t.Deployments == nil {
		return
	}
	over[imageDeploymentHeader] = nil
	if deployment, ok := t.Deployments[name]; ok {
		over[imageDeploymentHeader] = []string{deployment}
	}
}

// withheld reports whether a header, by its canonical name, is not for a
// backend. Names with an underscore are all withheld: some servers read them
// as if it were a dash.
func withheld(name string) bool {
	return strings.IndexByte(name, '_') >= 0 || isHopByHop(name) || isCredentialHeader(name) || isPlatformHeader(name)
}

func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Host", "Content-Length", "Expect", "Accept-Encoding", "Via", "Max-Forwards", "Alt-Used",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// isCredentialHeader reports whether a header holds, or may hold, what the caller
// proved itself with. A Referer may hold a URL with a key in it.
func isCredentialHeader(name string) bool {
	switch name {
	case "Authorization", "Api-Key", "Apikey", "X-Api-Key", "X-Apikey", "Ocp-Apim-Subscription-Key", "Subscription-Key",
		"X-Functions-Key", "X-Functions-Clientid", "Cookie", "Cookie2", "Referer",
		"X-Auth-Token", "X-Access-Token", "X-Authorization", "X-Goog-Api-Key", "X-Ms-Authorization-Auxiliary", "X-Ms-Site-Token":
		return true
	}
	return strings.HasPrefix(name, "X-Ms-Client-Principal") || strings.HasPrefix(name, "X-Ms-Token-")
}

// isPlatformHeader reports whether a header was put there by the front end, by the
// Functions host (facts/azure-functions-host.md §1.3, §3.4), or steers us.
func isPlatformHeader(name string) bool {
	switch name {
	case "Forwarded", "Client-Ip", "X-Client-Ip", "X-Client-Port", "X-Real-Ip", "True-Client-Ip", "Disguised-Host", "Was-Default-Hostname",
		"X-Original-Url", "X-Original-Host", "X-Original-For", "X-Original-Proto", "X-Rewrite-Url", "X-Waws-Unencoded-Url",
		"X-Site-Deployment-Id", "X-Ms-Coldstart", "X-Ms-Invocation-Id", "X-Ms-Spillover-Deployment",
		"X-Azure-Clientip", "X-Azure-Socketip", "X-Azure-Fdid", "X-Azure-Ref", "X-Azure-Requestchain", "X-Fd-Healthprobe":
		return true
	}
	for _, prefix := range [...]string{"X-Forwarded-", "X-Azure-Functions-", "X-Arr-", "X-Appservice-", "X-Appgw-", "X-Spillway-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
