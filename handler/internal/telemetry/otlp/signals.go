// Package otlp speaks the OpenTelemetry protocol over HTTP in its protobuf form
// (OTLP 1.x, /v1/metrics and /v1/traces), and pushes beside the requests. It
// writes the few messages that are needed itself: see package meter for why,
// and this package's tests, where the official definitions read them.
package otlp

import (
	"math"
	"time"

	"spillway/handler/internal/telemetry/meter"
)

// Resource says who sends: service.name, service.instance.id and so on.
type Resource []meter.Label

// scope is what the names are kept under.
const scope = "spillway"

// Attribute is one attribute of a span: a text, or a number.
type Attribute struct {
	Name  string
	Text  string
	Whole int64   // with Kind Int
	Real  float64 // with Kind Double
	Kind  AttributeKind
}

// AttributeKind is which field of an Attribute counts.
type AttributeKind uint8

// The kinds of attributes.
const (
	Text AttributeKind = iota
	Int
	Double
	Bool // Whole is 0 or 1
	List // of the one Text
)

// Span is one span that is over.
type Span struct {
	Trace      [16]byte
	ID         [8]byte
	Parent     [8]byte // zero = the trace begins here
	State      string  // tracestate, as it came
	Name       string
	Client     bool // it is a call of ours; else one that was answered
	Began      time.Time
	Ended      time.Time
	Attributes []Attribute
	Failure    string // what went wrong; "" = nothing
}

// EncodeMetrics is the body of a request to /v1/metrics. The counts go from
// began to now.
func EncodeMetrics(r Resource, all []meter.Reading, began, now time.Time) []byte {
	var out message
	out.inner(1, func(m *message) {
		m.inner(1, r.encode)
		m.inner(2, func(m *message) {
			m.inner(1, func(m *message) { m.text(1, scope) })
			for i := range all {
				m.inner(2, func(m *message) { metric(m, &all[i], began, now) })
			}
		})
	})
	return out
}

func (r Resource) encode(m *message) {
	for _, l := range r {
		if l.Value != "" {
			m.inner(1, func(m *message) { pair(m, l) })
		}
	}
}

func pair(m *message, l meter.Label) {
	m.text(1, l.Name)
	m.inner(2, func(m *message) { m.bytes(1, []byte(l.Value)) })
}

// cumulative is the temporality: counts since the process began, so that a push
// that was lost is made good by the next.
const cumulative = 2

func metric(m *message, r *meter.Reading, began, now time.Time) {
	m.text(1, r.Name)
	m.text(2, r.Help)
	m.text(3, r.Unit)
	switch r.Kind {
	case meter.Gauge:
		m.inner(5, func(m *message) { points(m, r, time.Time{}, now) })
	case meter.Counter:
		m.inner(7, func(m *message) {
			points(m, r, began, now)
			m.number(2, cumulative)
			m.number(3, 1) // monotonic
		})
	case meter.Histogram:
		m.inner(9, func(m *message) {
			histograms(m, r, began, now)
			m.number(2, cumulative)
		})
	}
}

func points(m *message, r *meter.Reading, began, now time.Time) {
	for i := range r.Points {
		p := &r.Points[i]
		m.inner(1, func(m *message) {
			span(m, began, now)
			m.double(4, p.Value)
			labels(m, 7, p.Labels)
		})
	}
}

func histograms(m *message, r *meter.Reading, began, now time.Time) {
	bounds := make([]uint64, len(r.Bounds))
	for i, b := range r.Bounds {
		bounds[i] = math.Float64bits(b)
	}
	for i := range r.Points {
		p := &r.Points[i]
		m.inner(1, func(m *message) {
			span(m, began, now)
			m.fixed(4, p.Count())
			m.double(5, p.Value)
			m.packed(6, p.Buckets)
			m.packed(7, bounds)
			labels(m, 9, p.Labels)
		})
	}
}

// span is the time that a point is of.
func span(m *message, began, now time.Time) {
	if !began.IsZero() {
		m.fixed(2, uint64(began.UnixNano()))
	}
	m.fixed(3, uint64(now.UnixNano()))
}

func labels(m *message, field int, all []meter.Label) {
	for _, l := range all {
		m.inner(field, func(m *message) { pair(m, l) })
	}
}

// EncodeSpans is the body of a request to /v1/traces.
func EncodeSpans(r Resource, spans []Span) []byte {
	var out message
	out.inner(1, func(m *message) {
		m.inner(1, r.encode)
		m.inner(2, func(m *message) {
			m.inner(1, func(m *message) { m.text(1, scope) })
			for i := range spans {
				m.inner(2, spans[i].encode)
			}
		})
	})
	return out
}

// The kinds of spans, and the status of one that went wrong.
const (
	serverSpan  = 2
	clientSpan  = 3
	statusError = 2
	sampledFlag = 1
)

func (s *Span) encode(m *message) {
	m.bytes(1, s.Trace[:])
	m.bytes(2, s.ID[:])
	m.text(3, s.State)
	if s.Parent != [8]byte{} {
		m.bytes(4, s.Parent[:])
	}
	m.text(5, s.Name)
	kind := uint64(serverSpan)
	if s.Client {
		kind = clientSpan
	}
	m.number(6, kind)
	m.fixed(7, uint64(s.Began.UnixNano()))
	m.fixed(8, uint64(s.Ended.UnixNano()))
	for i := range s.Attributes {
		m.inner(9, s.Attributes[i].encode)
	}
	if s.Failure != "" {
		m.inner(15, func(m *message) {
			m.text(2, s.Failure)
			m.number(3, statusError)
		})
	}
	m.flags(16, sampledFlag)
}

func (a *Attribute) encode(m *message) {
	m.text(1, a.Name)
	m.inner(2, func(m *message) {
		switch a.Kind {
		case Text:
			m.bytes(1, []byte(a.Text)) // an empty text is a value too
		case Bool:
			m.integer(2, a.Whole)
		case Int:
			m.integer(3, a.Whole)
		case Double:
			m.double(4, a.Real)
		case List:
			m.inner(5, func(m *message) {
				m.inner(1, func(m *message) { m.bytes(1, []byte(a.Text)) })
			})
		}
	})
}
