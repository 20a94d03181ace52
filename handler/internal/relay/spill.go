package relay

import (
	"net/http"

	"spillway/handler/internal/proxy"
)

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
