package simulator

import (
	"maps"
	"slices"
	"strings"
)

// actionKind is where in a request's life an action strikes.
type actionKind int

const (
	actionServes       actionKind = iota // serves
	actionDelays                         // goes on, later
	actionResponds                       // answers instead of the deployment
	actionBreaksConn                     // does to the connection what no answer does
	actionBreaksStream                   // lets the stream begin, then spoils it
	actionDelaysUpload                   // strikes while the body is being read
)

// actions are all that a Fault can do.
var actions = map[string]actionKind{
	"ok": actionServes, "headers": actionDelays, "slow": actionDelays, "slow-upload": actionDelaysUpload,

	"status": actionResponds, "429": actionResponds, "429-token": actionResponds, "429-call": actionResponds, "429-2025": actionResponds,
	"429-short": actionResponds, "429-capacity": actionResponds, "429-nocapacity": actionResponds, "429-v1": actionResponds,
	"429-ptu": actionResponds, "429-flex": actionResponds, "429-empty": actionResponds,
	"401-key": actionResponds, "401-token": actionResponds, "401-permission": actionResponds, "403-permission": actionResponds,
	"403-network": actionResponds, "403-private": actionResponds, "403-keys-disabled": actionResponds, "403-blocked": actionResponds,
	"404-deployment": actionResponds, "404-resource": actionResponds, "400-context": actionResponds, "400-filter": actionResponds,
	"400-invalid": actionResponds, "400-version": actionResponds, "400-model": actionResponds,
	"408": actionResponds, "409": actionResponds, "413": actionResponds, "422": actionResponds, "424": actionResponds, "431": actionResponds,
	"500": actionResponds, "502-html": actionResponds, "502-empty": actionResponds, "503": actionResponds, "503-envoy": actionResponds,
	"504-html": actionResponds, "empty-200": actionResponds, "error-200": actionResponds, "html-200": actionResponds,
	"wrong-type-200": actionResponds, "half-json-200": actionResponds, "gzip-200": actionResponds, "gzip-bomb-200": actionResponds,
	"redirect": actionResponds, "filter-outage": actionServes, "filter-output": actionServes,

	"refuse": actionBreaksConn, "reset-before-headers": actionBreaksConn, "eof-before-headers": actionBreaksConn,
	"reset-in-headers": actionBreaksConn, "reset-after-headers": actionBreaksConn, "hang-before-headers": actionBreaksConn,
	"hang-after-headers": actionBreaksConn, "truncated-200": actionBreaksConn, "slow-drip": actionBreaksConn,
	"length-short": actionBreaksConn, "length-negative": actionBreaksConn, "length-two": actionBreaksConn,
	"http10-200": actionBreaksConn, "early-hints-200": actionBreaksConn, "trailers-200": actionBreaksConn,
	"garbage": actionBreaksConn, "close-idle": actionServes,

	"stream-429": actionBreaksStream, "stream-404": actionBreaksStream, "stream-error": actionBreaksStream, "cut-clean": actionBreaksStream,
	"cut-abort": actionBreaksStream, "cut-reset": actionBreaksStream, "hang-mid-stream": actionBreaksStream, "drip-stream": actionBreaksStream,
	"bad-json": actionBreaksStream, "no-done": actionBreaksStream, "no-finish": actionBreaksStream, "huge-event": actionBreaksStream,
	"no-blank-line": actionBreaksStream, "cr-lines": actionBreaksStream, "bom": actionBreaksStream, "bad-utf8": actionBreaksStream,
	"nul": actionBreaksStream, "failed-uncoded": actionBreaksStream, "incomplete": actionBreaksStream,
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
