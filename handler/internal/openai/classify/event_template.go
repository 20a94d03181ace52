package classify

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
)

// eventTemplate spares the reading of most of a stream: the chunks of an answer are
// alike but for the one string that carries the next piece of it. A chunk that
// equals one that was read, but for what stands in that string, says what that
// one said. The zero eventTemplate has seen nothing.
type eventTemplate struct {
	chunk    []byte // an event that was read
	from, to int    // its string, without the quotes
	misses   int
}

const (
	maxTemplateSize = 4096
	maxMisses       = 32 // misses in a row: this stream has no such chunks
)

// matches reports whether an event is like the one that was read.
func (l *eventTemplate) matches(event []byte) bool {
	end := len(event) - (len(l.chunk) - l.to)
	if l.to == 0 || !bytes.HasPrefix(event, l.chunk[:l.from]) || !bytes.HasSuffix(event, l.chunk[l.to:]) {
		return false
	}
	closed, why := jsonscan.SkipValue(event, l.from-1)
	if why != jsonscan.OK || closed != end+1 {
		return false
	}
	l.misses = 0
	return true
}

// record remembers an event that carries a piece of a choice and counts nothing,
// given the place of that piece in its data. Whatever else it says has been
// noted, and saying it again changes nothing.
func (l *eventTemplate) record(event, data []byte, piece int) {
	l.misses++
	offset := cap(event) - cap(data)
	if l.misses > maxMisses || len(event) > maxTemplateSize || offset < 0 || offset >= len(event) || &event[offset] != &data[0] {
		l.to = 0 // also when the data is a copy, made of several lines
		return
	}
	from, to := lastString(data, piece)
	if to == 0 {
		l.to = 0
		return
	}
	l.chunk = append(l.chunk[:0], event...)
	l.from, l.to = offset+from, offset+to
}

// lastString is the place of the string that stands last in the value at b[i],
// 0 when the last is none.
func lastString(b []byte, i int) (from, to int) {
	for depth := 0; depth < 8; depth++ {
		if b[i] == '"' {
			end, _ := jsonscan.SkipValue(b, i)
			return i + 1, end - 1
		}
		last := 0
		w := jsonscan.Iterate(b, i)
		for w.Next() {
			last = w.Offset
		}
		if last == 0 {
			break
		}
		i = last
	}
	return 0, 0
}
