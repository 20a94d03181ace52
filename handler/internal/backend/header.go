package backend

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// imageDeploymentHeader names a second deployment of the same resource
// (docs/azure-openai.md#addresses).
const imageDeploymentHeader = "X-Ms-Oai-Image-Generation-Deployment"

// clientRequestID is the header by which Azure's logs find a request
// (docs/azure-openai.md#correlation-headers).
const clientRequestID = "X-Ms-Client-Request-Id"

// newHeader is the header of a request to the target: the caller's headers that
// are for a backend, and ours over them. Besides the credential it adds at most
// Accept-Encoding, the request id, and the caller's id where the target has a
// header for it. The values are shared with the caller's and must not be
// written to.
func (t *Target) newHeader(r *proxy.Request) http.Header {
	out := make(http.Header, len(r.Header)+4)
	hops := r.Header["Connection"]
	for name, values := range r.Header {
		if !withheld(name) && (!r.Fenced || request.IsKnownHeader(name) || slices.Contains(t.PassHeaders, name)) && !httpguts.HeaderValuesContainsToken(hops, name) {
			out[name] = values
		}
	}
	if kinds := out["Content-Type"]; len(kinds) > 1 {
		out["Content-Type"] = kinds[:1:1] // the body was read by the first
	}
	added := []string{"identity", r.ID}
	out["Accept-Encoding"] = added[:1:1]
	if _, ok := out[clientRequestID]; !ok && r.ID != "" {
		out[clientRequestID] = added[1:]
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // or net/http adds its own
	}
	t.mapImageDeployment(out)
	if t.CallerHeader != "" {
		delete(out, t.CallerHeader) // the caller's own claim is not forwarded
		if r.Caller != "" {
			out[t.CallerHeader] = []string{r.Caller}
		}
	}
	return out
}

// mapImageDeployment replaces the second deployment by the resource's own name
// of it, and removes one that the resource does not have.
func (t *Target) mapImageDeployment(out http.Header) {
	values := out[imageDeploymentHeader]
	if len(values) == 0 || t.Deployments == nil {
		return
	}
	delete(out, imageDeploymentHeader)
	if deployment, ok := t.Deployments[values[0]]; ok {
		out[imageDeploymentHeader] = []string{deployment}
	}
}

// renameKey moves a resource's key to the header that Anthropic's API has for it
// (docs/azure-openai.md#anthropic-messages).
func renameKey(out http.Header) {
	if key, ok := out["Api-Key"]; ok {
		delete(out, "Api-Key")
		out["X-Api-Key"] = key
	}
}

// withheld reports whether a header, by its canonical name, must not reach a
// backend. That is each name with an underscore: some servers read it as a
// dash.
func withheld(name string) bool {
	return strings.IndexByte(name, '_') >= 0 || isHopByHop(name) || isCredentialHeader(name) || isPlatformHeader(name) || chooses(name)
}

// chooses reports whether a header, by its name, chooses a deployment or project of
// those that the gateway's credential reaches. That of the image tool is checked.
func chooses(name string) bool {
	return name != imageDeploymentHeader && slices.ContainsFunc(choosing, func(word string) bool { return strings.Contains(name, word) })
}

// choosing are in the names of what chooses, as headers write them.
var choosing = []string{"Deployment", "Model", "Project", "Organization"}

func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Host", "Content-Length", "Expect", "Accept-Encoding", "Via", "Max-Forwards", "Alt-Used",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// isCredentialHeader reports whether a header holds, or may hold, a credential
// of the caller. A Referer may hold a URL with a key in it.
func isCredentialHeader(name string) bool {
	switch name {
	case "Authorization", "Api-Key", "Apikey", "X-Api-Key", "X-Apikey", "Ocp-Apim-Subscription-Key", "Subscription-Key",
		"X-Functions-Key", "X-Functions-Clientid", "Cookie", "Cookie2", "Referer",
		"X-Auth-Token", "X-Access-Token", "X-Authorization", "X-Goog-Api-Key", "X-Ms-Authorization-Auxiliary", "X-Ms-Site-Token":
		return true
	}
	return strings.HasPrefix(name, "X-Ms-Client-Principal") || strings.HasPrefix(name, "X-Ms-Token-")
}

// isPlatformHeader reports whether a header was added by the front end or the
// Functions host (docs/functions-host.md#keys-and-identity-headers), or controls
// the gateway.
func isPlatformHeader(name string) bool {
	switch name {
	case "Forwarded", "Client-Ip", "X-Client-Ip", "X-Client-Port", "X-Real-Ip", "True-Client-Ip", "Disguised-Host", "Was-Default-Hostname",
		"X-Original-Url", "X-Original-Host", "X-Original-For", "X-Original-Proto", "X-Rewrite-Url", "X-Waws-Unencoded-Url",
		"X-Ms-Coldstart", "X-Ms-Invocation-Id",
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
