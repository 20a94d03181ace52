package request

import (
	"slices"
	"strings"
)

// known are the headers of a request, in their canonical form, that SDKs send and that
// a service reads as saying how to answer. None of them names an object
// (docs/azure-openai.md#request-headers).
var known = map[string]bool{
	"Accept": true, "Accept-Language": true, "Content-Language": true, "Content-Type": true, "Date": true, "If-Range": true, "Range": true, "User-Agent": true,
	"Baggage": true, "Request-Id": true, "Traceparent": true, "Tracestate": true, "X-Client-Request-Id": true, "X-Correlation-Id": true,
	"X-Ms-Client-Request-Id": true, "X-Ms-Correlation-Request-Id": true, "X-Ms-Return-Client-Request-Id": true, "X-Ms-Useragent": true,
	"Repeatability-First-Sent": true, "Openai-Beta": true, "Aoai-Evals": true, "Extra-Parameters": true, "Foundry-Features": true,
	"X-Ms-Service-Tier":                    true,
	"X-Ms-Oai-Image-Generation-Deployment": true,
	"Anthropic-Beta":                       true, "Anthropic-Version": true, "Anthropic-Dangerous-Direct-Browser-Access": true,
}

// IsKnownHeader reports whether a header, by its canonical name, is one that the
// published services read from the SDKs' requests.
func IsKnownHeader(name string) bool {
	return known[name] || strings.HasPrefix(name, "X-Stainless-") || IsSharedKey(name)
}

// sharedKeys are how the names of headers end by which a backend, or what stands in
// front of it, finds an earlier request or a session again, whoever sent that.
var sharedKeys = []string{
	"Idempotency-Key", "Idempotency-Token", "Repeatability-Request-Id", "Repeatability-Client-Id", "Operation-Id",
	"Session-Id", "Session-Affinity", "Conversation-Id", "Conv-Id", "Cache-Key", "Isolation-Key",
}

// IsSharedKey reports whether a header, by its canonical name, has a backend find an
// earlier request or a session again.
func IsSharedKey(name string) bool {
	return slices.ContainsFunc(sharedKeys, func(end string) bool { return strings.HasSuffix(name, end) })
}
