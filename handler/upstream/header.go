package upstream

import (
	"net/http"
	"strings"

	"spillway/handler/proxy"
	"spillway/handler/upstream/http1"
)

// imageDeployment names a second deployment on the same resource
// (facts/azure-openai.md §1.1).
const imageDeployment = "X-Ms-Oai-Image-Generation-Deployment"

// header is what the backend gets to see: the caller's headers but for those
// that are hop-by-hop, the caller's credentials, the platform's and the
// host's. The values are shared with the caller's headers and must not be
// written. At most three are added, with the credential (design.md §5.4).
func (t *Target) header(r *proxy.Request) http.Header {
	in := r.Header
	hops := in["Connection"]
	out := make(http.Header, len(in)+4)
	for name, values := range in {
		if !withheld(name) && !http1.Listed(hops, name) {
			out[name] = values
		}
	}
	t.renameImageDeployment(out)
	t.nameCaller(out, r.Caller)
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // none, rather than Go's
	}
	added := []string{"identity", r.ID} // nothing is ever inflated
	out["Accept-Encoding"] = added[:1:1]
	if _, ok := out["X-Ms-Client-Request-Id"]; !ok && r.ID != "" {
		out["X-Ms-Client-Request-Id"] = added[1:]
	}
	return out
}

// nameCaller tells who calls, where that is asked for. What the caller wrote
// there itself is not believed.
func (t *Target) nameCaller(h http.Header, caller string) {
	if t.CallerHeader == "" {
		return
	}
	delete(h, t.CallerHeader)
	if caller != "" {
		h[t.CallerHeader] = []string{caller}
	}
}

// renameImageDeployment looks the second deployment up like the first. A name
// that the resource is not configured to have is dropped.
func (t *Target) renameImageDeployment(h http.Header) {
	values := h[imageDeployment]
	if len(values) == 0 || t.Deployments == nil {
		return
	}
	if deployment, ok := t.Deployments[values[0]]; ok {
		h[imageDeployment] = []string{deployment}
		return
	}
	delete(h, imageDeployment)
}

// withheld reports whether a header, by its canonical name, is not for a
// backend. Names with an underscore are all withheld: some servers read them
// as if it were a dash.
func withheld(name string) bool {
	return strings.IndexByte(name, '_') >= 0 || hopByHop(name) || credential(name) || platform(name)
}

func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Host", "Content-Length", "Expect", "Accept-Encoding", "Via", "Max-Forwards", "Alt-Used",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// credential reports whether a header holds, or may hold, what the caller
// proved itself with. A Referer may hold a URL with a key in it.
func credential(name string) bool {
	switch name {
	case "Authorization", "Api-Key", "Apikey", "X-Api-Key", "X-Apikey", "Ocp-Apim-Subscription-Key", "Subscription-Key",
		"X-Functions-Key", "X-Functions-Clientid", "Cookie", "Cookie2", "Referer",
		"X-Auth-Token", "X-Access-Token", "X-Authorization", "X-Goog-Api-Key", "X-Ms-Authorization-Auxiliary", "X-Ms-Site-Token":
		return true
	}
	return strings.HasPrefix(name, "X-Ms-Client-Principal") || strings.HasPrefix(name, "X-Ms-Token-")
}

// platform reports whether a header was put there by the front end, by the
// Functions host (facts/azure-functions-host.md §1.3, §3.4), or steers us.
func platform(name string) bool {
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
