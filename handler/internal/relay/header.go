package relay

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/backend/http1"
	"spillway/handler/internal/proxy"
)

// forwardedHeader reports whether a response header may reach callers. It is a list of
// what is known to be harmless, so that no header of tomorrow names a backend
// (facts/reliability.md §3.2 T24). Backends' x-ratelimit-* speak of one
// backend and would mislead.
func forwardedHeader(name string) bool {
	switch name {
	case "Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range", "Accept-Ranges",
		"X-Content-Type-Options", "X-Ms-Client-Request-Id", "X-Ms-Rai-Invoked", "Openai-Version", "Openai-Processing-Ms",
		"Deprecation", "Sunset":
		return true
	}
	return false
}

// copyHeader writes the headers that pass. What stands in dst already is ours
// and stays.
func copyHeader(dst, src http.Header) {
	hops := src["Connection"]
	for name, values := range src {
		if _, ours := dst[name]; !ours && forwardedHeader(name) && !http1.Listed(hops, name) {
			dst[name] = values
		}
	}
	dst.Set("Cache-Control", "no-store")
}

// maxRetryAfter is the longest wait that every SDK takes well: some sleep
// whatever they are told, others ignore more (facts/reliability.md rule 3).
const maxRetryAfter = 59 * time.Second

// setRetryAfter says how long to wait, in both headers that SDKs read.
func setRetryAfter(h http.Header, wait time.Duration) {
	wait = min(max(wait, time.Second), maxRetryAfter)
	h.Set("Retry-After-Ms", strconv.FormatInt(wait.Milliseconds(), 10))
	h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
}

// mediaType is the type without its parameters, in lower case; "" when there
// is none.
func mediaType(h http.Header) string {
	value, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(textproto.TrimString(value))
}

// spillover is what the headers say of a deployment that let another one serve.
// Every answer names its deployment; it is only worth a word when that is not
// the one that was asked.
func spillover(h http.Header) proxy.Spillover {
	from := h["X-Ms-Spillover-From-Deployment"]
	over := h["X-Ms-Is-Spilled-Over"]
	if len(from) == 0 && (len(over) == 0 || over[0] != "true") {
		return proxy.Spillover{}
	}
	return proxy.Spillover{
		From: truncatedHeader(h, "X-Ms-Spillover-From-Deployment"), To: truncatedHeader(h, "X-Ms-Deployment-Name"), Error: truncatedHeader(h, "X-Ms-Spillover-Error"),
	}
}

// truncatedHeader is a header's value at a length that a log can bear.
func truncatedHeader(h http.Header, name string) string {
	v := h.Get(name)
	return v[:min(len(v), 64)]
}
