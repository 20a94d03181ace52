package sse

import "bytes"

// Event is the content of one event. Its fields are pieces of the event's
// bytes, but for Data of several lines.
type Event struct {
	Name []byte // the event field; nil when there is none
	Data []byte // the data field; lines are joined with LF, for which alone memory is taken; nil when there is none
}

// NoData reports whether an event says nothing: a comment as a sign of
// life, a blank line, or fields without meaning here.
func (e Event) NoData() bool { return e.Data == nil }

// Parse reads one event as Splitter found it, or the end of a stream that
// lacks its blank line. Fields other than event and data are passed over, and
// so is a byte order mark.
func Parse(event []byte) Event {
	var e Event
	joined := false
	event = bytes.TrimPrefix(event, []byte("\xef\xbb\xbf"))
	for len(event) > 0 {
		var line []byte
		line, event = cutLine(event)
		if value, ok := field(line, "data"); ok {
			joined = e.addData(value, joined)
		} else if value, ok := field(line, "event"); ok {
			e.Name = value
		}
	}
	return e
}

// addData appends a line of data. It reports whether Data is a copy by now, which
// it must not be told to extend in place before.
func (e *Event) addData(line []byte, joined bool) bool {
	if e.Data == nil {
		e.Data = line
		return false
	}
	if !joined {
		e.Data = bytes.Clone(e.Data)
	}
	e.Data = append(append(e.Data, '\n'), line...)
	return true
}

// cutLine takes the first line off b, without its end.
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

// field is the value of a line that holds the named field: without the colon
// and one space. It is never nil when it is there.
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
