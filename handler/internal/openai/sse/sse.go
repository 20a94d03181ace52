// Package sse takes a byte stream apart into server-sent events without
// changing or copying a byte: every event is a piece of the caller's buffer,
// and the pieces joined are the stream. No line is too long.
//
// It knows the framing and nothing of what events mean.
package sse

import "bytes"

// Splitter finds where events end in a buffer that its owner fills. The zero
// Splitter is at the start of a stream. It is for one stream and one goroutine.
//
// An event ends behind a blank line; lines end with LF, CRLF or CR. A CR at the
// end of what has arrived may be half of a CRLF, so it counts only once the
// next byte is there; but where the line before ended in a bare CR, so does the
// blank line, and nothing is waited for. What an event is thus never depends on
// how the bytes arrived.
type Splitter struct {
	lineStart   int  // where the line under way begins, from the start of the event
	searched    int  // how far its end was looked for
	afterBareCR bool // the line before it ended in a bare CR
}

// Next takes the first event off buf: event is its bytes up to and with the
// blank line, rest is what follows. When buf holds no whole event, ok is false
// and rest is all of buf; the next call must then begin with the same bytes,
// followed by more. What was searched once is not searched again.
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

// lineEnd is the place behind the end of the line under way, and whether a bare
// CR ends it; 0 when it cannot be told yet.
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

// firstBreak is the place of the first LF or CR in b, or len(b).
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
