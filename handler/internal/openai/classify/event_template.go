package classify

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
)

// eventTemplate saves parsing most of a stream: the chunks of an answer differ
// only in the one string that carries the next part of it. A chunk that equals
// one that was parsed, except for that string, has the same result. The zero
// eventTemplate matches nothing.
type eventTemplate struct {
	chunk    []byte // an event that was parsed
	from, to int    // its string, without the quotes
	misses   int
}

const (
	maxTemplateSize = 4096
	maxMisses       = 32 // misses in a row, after which the stream has no such chunks
)

// matches reports whether an event differs from the template only in its
// string, and how long that is.
func (t *eventTemplate) matches(event []byte) (length int, ok bool) {
	end := len(event) - (len(t.chunk) - t.to)
	if t.to == 0 || !bytes.HasPrefix(event, t.chunk[:t.from]) || !bytes.HasSuffix(event, t.chunk[t.to:]) {
		return 0, false
	}
	closed, reason := jsonscan.SkipValue(event, t.from-1)
	if reason != jsonscan.OK || closed != end+1 {
		return 0, false
	}
	t.misses = 0
	return end - t.from, true
}

// record takes an event as the template. The event carries a part of a choice,
// whose offset in data is part, and no usage; whatever else it holds has been
// recorded, and would change nothing if it were again.
func (t *eventTemplate) record(event, data []byte, part int) {
	t.misses++
	offset := cap(event) - cap(data)
	if t.misses > maxMisses || len(event) > maxTemplateSize || offset < 0 || offset >= len(event) || &event[offset] != &data[0] {
		t.to = 0 // also when the data is a copy of several lines
		return
	}
	from, to := lastString(data, part)
	if to == 0 {
		t.to = 0
		return
	}
	t.chunk = append(t.chunk[:0], event...)
	t.from, t.to = offset+from, offset+to
}

// lastString is the span of the last string in the value at b[i], zero when the
// last is no string.
func lastString(b []byte, i int) (from, to int) {
	for depth := 0; depth < 8; depth++ {
		if b[i] == '"' {
			end, _ := jsonscan.SkipValue(b, i)
			return i + 1, end - 1
		}
		last := 0
		it := jsonscan.Iterate(b, i)
		for it.Next() {
			last = it.Offset
		}
		if last == 0 {
			break
		}
		i = last
	}
	return 0, 0
}
