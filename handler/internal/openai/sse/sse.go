// Package sse splits a byte stream into server-sent events without changing or
// copying a byte: every event is a slice of the caller's buffer, and the slices
// joined are the stream. Lines may have any length.
//
// It knows the framing, not what events mean.
package sse

import "bytes"

// Splitter finds where events end in a buffer that its caller fills. The zero
// Splitter is at the start of a stream. It is for one stream and one goroutine.
//
// An event ends behind a blank line; lines end with LF, CRLF or CR. A CR at the
// end of the buffer may be half of a CRLF, so it counts only once the next byte
// is there; after a line that ended in a bare CR, the blank line ends in one too
// and need not wait. So the events do not depend on how the bytes arrived.
type Splitter struct {
	lineStart   int  // where the current line begins, from the start of the event
	searched    int  // how far its end was searched
	afterBareCR bool // the line before it ended in a bare CR
}

// Next returns the first event of buf, with its blank line, and the rest that
// follows it. When buf holds no whole event, ok is false and rest is all of buf;
// the next call must then begin with the same bytes, followed by more. Bytes
// that were searched are not searched again.
func (s *Splitter) Next(buf []byte) (event, rest []byte, ok bool) {
	for {
		end, bare := s.lineEnd(buf)
		if end == 0 {
			return nil, buf, false
		}
		if isBlank(buf[s.lineStart:end]) {
			*s = Splitter{}
			return buf[:end:end], buf[end:], true
		}
		s.lineStart, s.searched, s.afterBareCR = end, end, bare
	}
}

// lineEnd is the offset behind the end of the current line, and whether a bare CR
// ends it; 0 while it is not known.
func (s *Splitter) lineEnd(buf []byte) (end int, bare bool) {
	at, found := firstBreak(buf[s.searched:])
	at += s.searched
	switch {
	case !found:
		s.searched = at
		return 0, false
	case buf[at] == '\n':
		return at + 1, false
	case s.afterBareCR && at == s.lineStart:
		return at + 1, true
	case at+1 == len(buf):
		s.searched = at
		return 0, false
	case buf[at+1] == '\n':
		return at + 2, false
	}
	return at + 1, true
}

// firstBreak is the offset of the first LF or CR in b, or len(b).
func firstBreak(b []byte) (at int, found bool) {
	at = bytes.IndexByte(b, '\n')
	if at >= 0 {
		b = b[:at]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr, true
	}
	return len(b), at >= 0
}

func isBlank(line []byte) bool { return line[0] == '\n' || line[0] == '\r' }

// Event is the content of one event. Its fields are slices of the event's bytes,
// except for Data of several lines.
type Event struct {
	Name []byte // the event field; nil when there is none
	Data []byte // the data field; several lines are copied and joined with LF; nil when there is none
}

// NoData reports whether an event carries no data: a comment, a blank line, or
// other fields.
func (e Event) NoData() bool { return e.Data == nil }

// Parse reads one event as Splitter returns it, or the end of a stream that lacks
// its blank line. It ignores fields other than event and data, and a byte order
// mark.
func Parse(event []byte) Event {
	var e Event
	copied := false
	event = bytes.TrimPrefix(event, []byte("\xef\xbb\xbf"))
	for len(event) > 0 {
		var line []byte
		line, event = cutLine(event)
		if value, ok := field(line, "data"); ok {
			copied = e.addData(value, copied)
		} else if value, ok := field(line, "event"); ok {
			e.Name = value
		}
	}
	return e
}

// addData appends a line of data. copied is whether Data is a copy already; the
// result is whether it is now.
func (e *Event) addData(line []byte, copied bool) bool {
	if e.Data == nil {
		e.Data = line
		return false
	}
	if !copied {
		e.Data = bytes.Clone(e.Data)
	}
	e.Data = append(append(e.Data, '\n'), line...)
	return true
}

// cutLine returns the first line of b, without its end, and the rest.
func cutLine(b []byte) (line, rest []byte) {
	at, found := firstBreak(b)
	if !found {
		return b, nil
	}
	rest = b[at+1:]
	if b[at] == '\r' && len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return b[:at], rest
}

// field is the value of a line that holds the named field, without the colon and
// one space. It is not nil when ok is true.
func field(line []byte, name string) (value []byte, ok bool) {
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return nil, false
	}
	line = line[len(name):]
	if len(line) == 0 {
		return line, true
	}
	if line[0] != ':' {
		return nil, false
	}
	line = line[1:]
	if len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	return line, true
}
