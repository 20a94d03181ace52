package simulator

import (
	"maps"
	"slices"
	"strings"
)

// kind is where in a request's life an action strikes.
type kind int

const (
	kindOK        kind = iota // serves
	kindSlow                  // goes on, later
	kindAnswer                // answers instead of the deployment
	kindTransport             // does to the connection what no answer does
	kindStream                // lets the stream begin, then spoils it
	kindUpload                // strikes while the body is being read
)

// actions are all that a Fault can do.
var actions = map[string]kind{
	"ok": kindOK, "headers": kindSlow, "slow": kindSlow, "slow-upload": kindUpload,

	"status": kindAnswer, "429": kindAnswer, "429-token": kindAnswer, "429-call": kindAnswer, "429-2025": kindAnswer,
	"429-short": kindAnswer, "429-capacity": kindAnswer, "429-nocapacity": kindAnswer, "429-v1": kindAnswer,
	"429-ptu": kindAnswer, "429-flex": kindAnswer, "429-empty": kindAnswer,
	"401-key": kindAnswer, "401-token": kindAnswer, "401-permission": kindAnswer, "403-permission": kindAnswer,
	"403-network": kindAnswer, "403-private": kindAnswer, "403-keys-disabled": kindAnswer, "403-blocked": kindAnswer,
	"404-deployment": kindAnswer, "404-resource": kindAnswer, "400-context": kindAnswer, "400-filter": kindAnswer,
	"400-invalid": kindAnswer, "400-version": kindAnswer, "400-model": kindAnswer,
	"408": kindAnswer, "409": kindAnswer, "413": kindAnswer, "422": kindAnswer, "424": kindAnswer, "431": kindAnswer,
	"500": kindAnswer, "502-html": kindAnswer, "502-empty": kindAnswer, "503": kindAnswer, "503-envoy": kindAnswer,
	"504-html": kindAnswer, "empty-200": kindAnswer, "error-200": kindAnswer, "html-200": kindAnswer,
	"wrong-type-200": kindAnswer, "half-json-200": kindAnswer, "gzip-200": kindAnswer, "gzip-bomb-200": kindAnswer,
	"redirect": kindAnswer, "filter-outage": kindOK, "filter-output": kindOK,

	"refuse": kindTransport, "reset-before-headers": kindTransport, "eof-before-headers": kindTransport,
	"reset-in-headers": kindTransport, "reset-after-headers": kindTransport, "hang-before-headers": kindTransport,
	"hang-after-headers": kindTransport, "truncated-200": kindTransport, "slow-drip": kindTransport,
	"length-short": kindTransport, "length-negative": kindTransport, "length-two": kindTransport,
	"http10-200": kindTransport, "early-hints-200": kindTransport, "trailers-200": kindTransport,
	"garbage": kindTransport, "close-idle": kindOK,

	"stream-429": kindStream, "stream-404": kindStream, "stream-error": kindStream, "cut-clean": kindStream,
	"cut-abort": kindStream, "cut-reset": kindStream, "hang-mid-stream": kindStream, "drip-stream": kindStream,
	"bad-json": kindStream, "no-done": kindStream, "no-finish": kindStream, "huge-event": kindStream,
	"no-blank-line": kindStream, "cr-lines": kindStream, "bom": kindStream, "bad-utf8": kindStream,
	"nul": kindStream, "failed-uncoded": kindStream, "incomplete": kindStream,
}

// Actions are the short names of all actions, sorted.
func Actions() []string { return slices.Sorted(maps.Keys(actions)) }

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, ", ")
}
