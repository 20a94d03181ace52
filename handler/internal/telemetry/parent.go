package telemetry

import (
	"encoding/hex"
	"math/bits"

	"spillway/handler/internal/health"
)

// parent is where a request hangs in a trace: W3C trace context, version 00 and
// whatever later ones keep of it.
type parent struct {
	trace   [16]byte
	span    [8]byte // zero: the trace begins here
	sampled bool
	text    string // of the trace id, as it came; "" = ours
}

// parseParent reads a traceparent header. It is false for one that is not to be
// believed: the trace then begins here.
func parseParent(s string) (p parent, ok bool) {
	const size = 55
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' || len(s) > size && (s[:2] == "00" || s[size] != '-') {
		return parent{}, false
	}
	var flags, version [1]byte
	for _, part := range [...]struct {
		into []byte
		from string
	}{{version[:], s[:2]}, {p.trace[:], s[3:35]}, {p.span[:], s[36:52]}, {flags[:], s[53:55]}} {
		if !lowerHex(part.into, part.from) {
			return parent{}, false
		}
	}
	if version[0] == 0xff || p.trace == [16]byte{} || p.span == [8]byte{} {
		return parent{}, false
	}
	p.sampled, p.text = flags[0]&1 == 1, s[3:35]
	return p, true
}

// lowerHex decodes the two digits of each byte; capitals are not allowed.
func lowerHex(into []byte, from string) bool {
	for i := range into {
		high, low := digit(from[2*i]), digit(from[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		into[i] = high<<4 | low
	}
	return true
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// traceText is the trace id for people.
func (p *parent) traceText() string {
	if p.text != "" {
		return p.text
	}
	return hex.EncodeToString(p.trace[:])
}

// A span's id follows from the request's id, which is random, and the place of
// the span in it: nothing has to be remembered between the attempt's header and
// the span that is written when the request is over.

// rootOf is the trace that begins with this request.
func rootOf(id string) parent {
	var p parent
	put(p.trace[:8], mix(id, 1))
	put(p.trace[8:], mix(id, 2))
	return p
}

// requestSpan is the id of the request's own span.
func requestSpan(id string) (s [8]byte) {
	put(s[:], mix(id, 3))
	return s
}

// attemptSpan is the id of the span of an attempt at the backend. The nth
// attempt of one request at one backend has an id of its own; its header said
// the first one's.
func attemptSpan(id string, slot health.Slot, nth int) (s [8]byte) {
	put(s[:], mix(id, 4+uint64(slot)<<8+uint64(nth)<<40))
	return s
}

func put(into []byte, n uint64) {
	for i := range 8 {
		into[i] = byte(n >> (8 * i))
	}
}

// mix hashes an id with a number, never to zero.
func mix(id string, salt uint64) uint64 {
	h := 14695981039346656037 ^ salt*0x9e3779b97f4a7c15
	for i := range len(id) {
		h = bits.RotateLeft64(h^uint64(id[i]), 23) * 0xff51afd7ed558ccd
	}
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 29
	return h | 1
}
