package walk

// Walk goes over the members of one object or the elements of one array. Make
// it with Into; after each Next that reports true, At is where a value begins:
// pass it with Skip, or walk into it and tell Past where that ended. A value
// that was not passed is passed by the next Next.
type Walk struct {
	Text []byte
	At   int    // the value's first byte; after the last Next: behind the closing bracket, or where the fault is
	Why  Reason // why the walk ended early; OK when it did not
	Key  []byte // the member's name as written, without its quotes; nil in an array

	object bool
	state  state
}

// state is where the walk stands.
type state uint8

const (
	before state = iota // the opening bracket is next
	at                  // a value is next
	past                // a comma or the closing bracket is next
	ended
)

// Into begins a walk into the object or array that begins at b[i]. Anything
// else ends at once with NoValue.
func Into(b []byte, i int) Walk {
	i = Space(b, i)
	w := Walk{Text: b, At: i}
	switch {
	case i == len(b):
		w.stop(i, Truncated)
	case b[i] == '{':
		w.object = true
	case b[i] != '[':
		w.stop(i, NoValue)
	}
	return w
}

// Next goes to the next value and reports whether there is one.
func (w *Walk) Next() bool {
	if w.state == at {
		w.Skip()
	}
	if w.state == ended {
		return false
	}
	i := Space(w.Text, w.At)
	switch {
	case w.state == before:
		i = Space(w.Text, i+1)
		if i < len(w.Text) && w.Text[i] == closing(w.object) {
			return w.stop(i+1, OK)
		}
	case i == len(w.Text):
		return w.stop(i, Truncated)
	case w.Text[i] == closing(w.object):
		return w.stop(i+1, OK)
	case w.Text[i] != ',':
		return w.stop(i, NoComma)
	default:
		i = Space(w.Text, i+1)
		if i < len(w.Text) && w.Text[i] == closing(w.object) {
			return w.stop(i, TrailingComma)
		}
	}
	return w.arrive(i)
}

// arrive stands before the value whose name, in an object, is at i.
func (w *Walk) arrive(i int) bool {
	if w.object {
		from := i + 1
		end, why := name(w.Text, i)
		if why != OK {
			return w.stop(end, why)
		}
		w.Key = w.Text[from:quoteBefore(w.Text, end)]
		i = end
	}
	w.At = Space(w.Text, i)
	w.state = at
	if w.At == len(w.Text) {
		return w.stop(w.At, Truncated)
	}
	return true
}

// quoteBefore is the place of the closing quote of the name that ends, with
// its colon, before i.
func quoteBefore(b []byte, i int) int {
	for i--; b[i] != '"'; i-- {
	}
	return i
}

// Skip passes the value and returns the place behind it.
func (w *Walk) Skip() int {
	end, why := Value(w.Text, w.At)
	if why != OK {
		w.stop(end, why)
		return end
	}
	w.Past(end)
	return end
}

// Past says that the value ended before i.
func (w *Walk) Past(i int) {
	w.At = i
	w.state = past
}

// Fail ends the walk with a fault found inside a value.
func (w *Walk) Fail(i int, why Reason) { w.stop(i, why) }

func (w *Walk) stop(i int, why Reason) bool {
	w.At, w.Why, w.state, w.Key = i, why, ended, nil
	return false
}
