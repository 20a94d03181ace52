package relay

import (
	"net/http"
	"net/textproto"
	"strings"
)

// passed reports whether a response header may reach callers. It is a list of
// what is known to be harmless, so that no header of tomorrow names a backend
// (facts/reliability.md §3.2 T24). Backends' x-ratelimit-* speak of one
// backend and would mislead.
func passed(name string) bool {
	switch name {
	case "Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range", "Accept-Ranges",
		"X-Content-Type-Options", "X-Ms-Client-Request-Id", "X-Ms-Rai-Invoked", "Openai-Version", "Openai-Processing-Ms",
		"Deprecation", "Sunset":
		return true
	}
	return false
}

// waits reports whether a header says how long to wait. Only a refusal by the
// one backend that can serve has them.
func waits(name string) bool {
	return name == "Retry-After" || name == "Retry-After-Ms" || name == "X-Ms-Retry-After-Ms"
}

// copyHeader writes the headers that pass. What stands in dst already is ours
// and stays.
func copyHeader(dst http.Header, res *http.Response) {
	src := res.Header
	hops := src["Connection"]
	for name, values := range src {
		pass := passed(name) || res.StatusCode == http.StatusTooManyRequests && waits(name)
		if _, ours := dst[name]; !ours && pass && !listed(hops, name) {
			dst[name] = values
		}
	}
	dst.Set("Cache-Control", "no-store")
}

// listed reports whether a Connection header makes name hop-by-hop.
func listed(hops []string, name string) bool {
	for _, value := range hops {
		for option := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(textproto.TrimString(option), name) {
				return true
			}
		}
	}
	return false
}

// mediaType is the type without its parameters, in lower case; "" when there
// is none.
func mediaType(h http.Header) string {
	value, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(textproto.TrimString(value))
}
