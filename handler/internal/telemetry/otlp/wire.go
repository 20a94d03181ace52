package otlp

import (
	"encoding/binary"
	"math"
)

// message is a protobuf message under way. Zero values are left out, as proto3
// has it, except where a zero says something.
type message []byte

// The wire types of protobuf.
const (
	varint   = 0
	fixed64  = 1
	lengthed = 2
	fixed32  = 5
)

func (m *message) tag(field, wire int) { *m = binary.AppendUvarint(*m, uint64(field)<<3|uint64(wire)) }

func (m *message) text(field int, s string) {
	if s == "" {
		return
	}
	m.tag(field, lengthed)
	*m = binary.AppendUvarint(*m, uint64(len(s)))
	*m = append(*m, s...)
}

func (m *message) bytes(field int, b []byte) {
	m.tag(field, lengthed)
	*m = binary.AppendUvarint(*m, uint64(len(b)))
	*m = append(*m, b...)
}

func (m *message) number(field int, n uint64) {
	if n == 0 {
		return
	}
	m.tag(field, varint)
	*m = binary.AppendUvarint(*m, n)
}

// integer writes a number that says something even when it is zero.
func (m *message) integer(field int, n int64) {
	m.tag(field, varint)
	*m = binary.AppendUvarint(*m, uint64(n))
}

func (m *message) fixed(field int, n uint64) {
	m.tag(field, fixed64)
	*m = binary.LittleEndian.AppendUint64(*m, n)
}

func (m *message) flags(field int, n uint32) {
	m.tag(field, fixed32)
	*m = binary.LittleEndian.AppendUint32(*m, n)
}

func (m *message) double(field int, f float64) { m.fixed(field, math.Float64bits(f)) }

// packed writes a list of eight-byte values.
func (m *message) packed(field int, values []uint64) {
	if len(values) == 0 {
		return
	}
	m.tag(field, lengthed)
	*m = binary.AppendUvarint(*m, uint64(8*len(values)))
	for _, n := range values {
		*m = binary.LittleEndian.AppendUint64(*m, n)
	}
}

// inner writes a message inside the message, behind its length.
func (m *message) inner(field int, write func(m *message)) {
	m.tag(field, lengthed)
	var in message
	write(&in)
	*m = binary.AppendUvarint(*m, uint64(len(in)))
	*m = append(*m, in...)
}
