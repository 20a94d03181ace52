package relay

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"spillway/handler/internal/proxy"
)

// forwardedHeader reports whether a response header may reach callers. It is an
// allowlist, so that no header that Azure adds later names a backend. The
// x-ratelimit-* headers describe one backend only, and would mislead
// (docs/security.md#headers-that-pass).
func forwardedHeader(name string) bool {
	switch name {
	case "Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range", "Accept-Ranges",
		"X-Content-Type-Options", "X-Ms-Client-Request-Id", "X-Ms-Rai-Invoked", "Openai-Version", "Openai-Processing-Ms",
		"Deprecation", "Sunset":
		return true
	}
	return false
}

// copyHeader copies the headers that may pass, unless dst has them already.
func copyHeader(dst, src http.Header) {
	hops := src["Connection"]
	for name, values := range src {
		if _, ours := dst[name]; !ours && forwardedHeader(name) && !httpguts.HeaderValuesContainsToken(hops, name) {
			dst[name] = values
		}
	}
	dst.Set("Cache-Control", "no-store")
}

// maxRetryAfter is the longest wait that every SDK honours: some ignore more
// than a minute, others sleep however long it is
// (docs/azure-openai.md#sdk-retries).
const maxRetryAfter = 59 * time.Second

// setRetryAfter sets both headers from which SDKs read how long to wait.
func setRetryAfter(h http.Header, wait time.Duration) {
	wait = min(max(wait, time.Second), maxRetryAfter)
	h.Set("Retry-After-Ms", strconv.FormatInt(wait.Milliseconds(), 10))
	h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
}

// mediaType is the content type without its parameters, in lower case; "" when
// there is none.
func mediaType(h http.Header) string {
	value, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(textproto.TrimString(value))
}

// spillover reads which deployment served in place of the one that was asked
// (docs/azure-openai.md#spillover). Every response names its deployment, so the
// name alone means nothing.
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

// truncatedHeader is a header's value, cut to a length fit for a log.
func truncatedHeader(h http.Header, name string) string {
	v := h.Get(name)
	return v[:min(len(v), 64)]
}
