package simulator

import (
	"maps"
	"slices"
)

// actionKind is the phase of a request in which an action applies.
type actionKind int

const (
	actionServes       actionKind = iota // serves the request
	actionDelays                         // delays it
	actionResponds                       // answers in its place
	actionBreaksConn                     // breaks the connection
	actionBreaksStream                   // begins the stream, then breaks it
	actionDelaysUpload                   // while the body is read
)

// actions are all actions by their short names.
var actions = map[string]actionKind{
	"ok": actionServes, "headers": actionDelays, "slow": actionDelays, "slow-upload": actionDelaysUpload,

	"status": actionResponds, "429": actionResponds, "429-token": actionResponds, "429-call": actionResponds, "429-2025": actionResponds,
	"429-short": actionResponds, "429-capacity": actionResponds, "429-nocapacity": actionResponds, "429-v1": actionResponds,
	"429-ptu": actionResponds, "429-flex": actionResponds, "429-empty": actionResponds,
	"401-key": actionResponds, "401-token": actionResponds, "401-permission": actionResponds, "403-permission": actionResponds,
	"403-network": actionResponds, "403-private": actionResponds, "403-keys-disabled": actionResponds, "403-blocked": actionResponds,
	"404-deployment": actionResponds, "404-resource": actionResponds, "400-context": actionResponds, "400-filter": actionResponds,
	"400-invalid": actionResponds, "400-version": actionResponds, "400-model": actionResponds,
	"408": actionResponds, "409": actionResponds, "413": actionResponds, "422": actionResponds,
	"413-html": actionResponds, "421-html": actionResponds, "499-html": actionResponds, "424": actionResponds, "431": actionResponds,
	"500": actionResponds, "502-html": actionResponds, "502-empty": actionResponds, "503": actionResponds, "529": actionResponds, "503-envoy": actionResponds,
	"504-html": actionResponds, "empty-200": actionResponds, "error-200": actionResponds, "html-200": actionResponds,
	"wrong-type-200": actionResponds, "half-json-200": actionResponds, "gzip-200": actionResponds, "gzip-bomb-200": actionResponds,
	"redirect": actionResponds, "filter-outage": actionServes, "filter-output": actionServes,

	"400-operation": actionResponds, "400-unavailable-model": actionResponds, "400-unknown-model": actionResponds, "400-responses-version": actionResponds,
	"402": actionResponds, "404-html": actionResponds, "404-text": actionResponds, "404-detail": actionResponds, "404-empty": actionResponds,
	"404-status-code": actionResponds, "404-unknown-url": actionResponds, "405": actionResponds, "410": actionResponds,
	"400-gateway": actionResponds, "400-list": actionResponds, "400-model-version": actionResponds, "400-verified": actionResponds,
	"404-api": actionResponds, "404-other-api": actionResponds,
	"no-stream-options": actionResponds, "no-stream-options-422": actionResponds, "no-stream-options-500": actionResponds,
	"no-max-completion-tokens-422": actionResponds, "500-filter": actionResponds,
	"garbage-200": actionResponds, "object-200": actionResponds, "array-200": actionResponds, "null-200": actionResponds,
	"no-choices-200": actionResponds, "empty-choices-200": actionResponds, "list-200": actionResponds,
	"filter-200": actionResponds, "invalid-200": actionResponds, "model-200": actionResponds, "error-text-200": actionResponds,
	"object-error-200": actionResponds, "null-message-200": actionResponds, "failed-finish-200": actionResponds,
	"204": actionResponds, "205": actionResponds, "206": actionResponds,
	"json-for-stream": actionServes, "stream-for-json": actionServes,

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
	"stream-filter": actionBreaksStream, "stream-invalid": actionBreaksStream, "keepalive": actionBreaksStream, "late-usage": actionBreaksStream,
	"stream-object-error": actionBreaksStream,
}

// Actions are the short names of all actions, sorted.
func Actions() []string { return slices.Sorted(maps.Keys(actions)) }
