package proxy

import (
	"bytes"
	"net/http"

	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
	"spillway/handler/internal/openai/operations"
)

// actingTools are the types of tools that act on the server's side.
var actingTools = [...][]byte{[]byte(`"mcp_servers"`), []byte(`"code_execution`), []byte(`"mcp"`), []byte(`"code_interpreter"`), []byte(`"computer`), []byte(`"container`), []byte(`"shell"`)}

// Acts reports whether the request has effects that must not happen twice: it
// changes stored objects, continues in the background, or has tools that act. It
// errs on the side of true, which only forgoes a repetition.
func (r *Request) Acts() bool {
	switch {
	case r.Parsed.Background, r.Parsed.Conversation != "":
		return true
	case r.Operation.State.Stored():
		return r.Method != http.MethodGet && r.Method != http.MethodHead
	case r.Operation.Dialect != operations.Responses && r.Operation.Dialect != operations.Messages:
		return false
	}
	for _, tool := range actingTools {
		if bytes.Contains(r.Body, tool) {
			return true
		}
	}
	return false
}

// surelyNotReceived reports whether a backend has certainly not acted on a request:
// there was no connection, or it answered with a refusal.
func surelyNotReceived(o health.Outcome, status int) bool {
	switch {
	case o.Class == health.Throttled, o.Class == health.Misconfigured:
		return true
	case status == http.StatusServiceUnavailable, status >= 400 && status < 500 && status != http.StatusRequestTimeout:
		return true
	}
	switch o.Reason {
	case "dns", "refused", "unreachable", "tls", "credential unavailable", "503":
		return true
	}
	return false
}

// kind is what decides how long the first content of the answer takes.
func (r *Request) kind() latency.Kind {
	at := r.Parsed.ReasoningSpan
	return latency.KindOf(r.Parsed.Stream, r.Parsed.PromptBytes, effortOf(r.Body[at.From:at.To]))
}

// effortOf reads the value of reasoning_effort, or effort in an object.
func effortOf(value []byte) latency.Effort {
	if _, nested, ok := bytes.Cut(value, []byte(`"effort"`)); ok {
		value = bytes.TrimLeft(nested, " \t\r\n:")
	}
	switch {
	case bytes.HasPrefix(value, []byte(`"none"`)), bytes.HasPrefix(value, []byte(`"minimal"`)), bytes.HasPrefix(value, []byte(`"low"`)):
		return latency.LowEffort
	case bytes.HasPrefix(value, []byte(`"medium"`)):
		return latency.MediumEffort
	case bytes.HasPrefix(value, []byte(`"high"`)), bytes.HasPrefix(value, []byte(`"xhigh"`)):
		return latency.HighEffort
	}
	return latency.DefaultEffort
}

// consumerName is "" for an anonymous caller.
func (r *Request) consumerName() string {
	if r.Consumer == nil {
		return ""
	}
	return r.Consumer.Name
}
