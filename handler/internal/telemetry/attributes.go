package telemetry

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
)

// Values of metric attributes come from configuration or from fixed
// vocabularies, never from callers: the number of series is bounded.

// text is an attribute; one with an empty value is left out by setOf.
func text(name, value string) attribute.KeyValue { return attribute.String(name, value) }

// setOf makes a set of the attributes that have a value.
func setOf(attributes []attribute.KeyValue) attribute.Set {
	return attribute.NewSet(present(attributes)...)
}

// present returns a copy without empty texts and without zero attributes.
func present(attributes []attribute.KeyValue) []attribute.KeyValue {
	return slices.DeleteFunc(slices.Clone(attributes), func(a attribute.KeyValue) bool {
		return !a.Valid() || a.Value.Type() == attribute.STRING && a.Value.AsString() == ""
	})
}

// slotModel is the model of the backend's slot: one request may have tried
// backends of several models.
func slotModel(slots []string, b *balancer.Backend) string {
	if int(b.Slot) >= len(slots) {
		return ""
	}
	_, model, _ := strings.Cut(slots[b.Slot], "/")
	return model
}

// methodName is the method, or OpenTelemetry's name for one that is not known.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "_OTHER"
}

// ending is how the delivery of a response ended.
type ending uint8

const (
	whole      ending = iota
	brokenOff         // the backend, or the end of this process, cut it off
	callerLeft        // the caller did
)

// endingOf is how the delivery ended; nil = nothing was delivered.
func endingOf(r *proxy.Result) ending {
	switch {
	case r == nil || !r.Delivery.Broken:
		return whole
	case r.Delivery.CallerLeft:
		return callerLeft
	}
	return brokenOff
}

// errorType is OpenTelemetry's error.type; "" = the request succeeded.
func errorType(code string, status int, end ending) string {
	switch {
	case end == brokenOff:
		return "broken"
	case end == callerLeft:
		return "caller_left"
	case code != "":
		return code
	case status >= http.StatusBadRequest:
		return strconv.Itoa(status)
	}
	return ""
}

// statusCode is the zero attribute, and thus left out, for a status that is
// none of HTTP's.
func statusCode(status int) attribute.KeyValue {
	if status < 100 || status > 599 {
		return attribute.KeyValue{}
	}
	return attribute.Int("http.response.status_code", status)
}

// operationName is OpenTelemetry's name of an operation where it has one.
func operationName(operation string) string {
	switch operation {
	case "completions":
		return "text_completion"
	case "responses", "compact", "messages":
		return "chat"
	case "":
		return "other"
	}
	return operation
}

// providerName is OpenTelemetry's name of who serves; nil = nobody did.
func providerName(b *balancer.Backend) string {
	if b != nil && b.OpenAI {
		return "openai"
	}
	return "azure.ai.openai"
}

// server is the address of a backend, as attributes.
type server [2]attribute.KeyValue

// serverOf reads the address of an endpoint.
func serverOf(u *url.URL) server {
	port, _ := strconv.Atoi(u.Port())
	switch {
	case port != 0:
	case u.Scheme == "http":
		port = 80
	default:
		port = 443
	}
	return server{text("server.address", u.Hostname()), attribute.Int("server.port", port)}
}

// serversOf reads the endpoints, by balancer.Backend.Index.
func serversOf(endpoints []*url.URL) []server {
	all := make([]server, len(endpoints))
	for i, u := range endpoints {
		all[i] = serverOf(u)
	}
	return all
}

// serverAttributes returns the address of a backend: nothing for one without an endpoint, or
// for nil.
func serverAttributes(servers []server, b *balancer.Backend) []attribute.KeyValue {
	if b == nil || b.Index >= len(servers) {
		return nil
	}
	return servers[b.Index][:]
}
