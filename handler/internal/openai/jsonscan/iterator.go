package jsonscan

// Iterator goes over the members of one object or the elements of one array. Make
// it with Into; after each Next that reports true, At is where a value begins:
// pass it with Skip, or walk into it and tell Past where that ended. A value
// that was not passed is passed by the next Next.
type Iterator struct {
	Data   []byte
	Offset int    // the value's first byte; after the last Next: behind the closing bracket, or where the fault is
	Reason Reason // why the walk ended early; OK when it did not
	Key    []byte // the member's name as written, without its quotes; nil in an array

	object bool
	state  state
}

// state is where the walk stands.
type state uint8

const (
	beforeOpening state = iota // the opening bracket is next
	atValue                    // a value is next
	afterValue                 // a comma or the closing bracket is next
	ended
)

// Iterate begins a walk into the object or array that begins at b[i]. Anything
// else ends at once with NoValue.
func Iterate(b []byte, i int) Iterator {
	i = SkipSpace(b, i)
	w := Iterator{Data: b, Offset: i}
	switch {
	case i == len(b):
		w.stop(i, Truncated)
	case b[i] == '{':
		w.object = true
	case b[i] != '[':
		w.stop(i, MissingValue)
	}
	return w
}

// Next goes to the next value and reports whether there is one.
func (w *Iterator) Next() bool {
	if w.state == atValue {
		w.Skip()
	}
	if w.state == ended {
		return false
	}
	i := SkipSpace(w.Data, w.Offset)
	switch {
	case w.state == beforeOpening:
		i = SkipSpace(w.Data, i+1)
		if i < len(w.Data) && w.Data[i] == closingBracket(w.object) {
			return w.stop(i+1, OK)
		}
	case i == len(w.Data):
		return w.stop(i, Truncated)
	case w.Data[i] == closingBracket(w.object):
		return w.stop(i+1, OK)
	case w.Data[i] != ',':
		return w.stop(i, MissingComma)
	default:
		i = SkipSpace(w.Data, i+1)
		if i < len(w.Data) && w.Data[i] == closingBracket(w.object) {
			return w.stop(i, TrailingComma)
		}
	}
	return w.toValue(i)
}

// toValue stands before the value whose name, in an object, is at i.
func (w *Iterator) toValue(i int) bool {
	if w.object {
		from := i + 1
		end, why := memberName(w.Data, i)
		if why != OK {
			return w.stop(end, why)
		}
		w.Key = w.Data[from:quoteBefore(w.Data, end)]
		i = end
	}
	w.Offset = SkipSpace(w.Data, i)
	w.state = atValue
	if w.Offset == len(w.Data) {
		return w.stop(w.Offset, Truncated)
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
func (w *Iterator) Skip() int {
	end, why := SkipValue(w.Data, w.Offset)
	if why != OK {
		w.stop(end, why)
		return end
	}
	w.SkipTo(end)
	return end
}

// SkipTo says that the value ended before i.
func (w *Iterator) SkipTo(i int) {
	w.Offset = i
	w.state = afterValue
}

// Fail ends the walk with a fault found inside a value.
func (w *Iterator) Fail(i int, why Reason) { w.stop(i, why) }

func (w *Iterator) stop(i int, why Reason) bool {
	w.Offset, w.Reason, w.state, w.Key = i, why, ended, nil
	return false
}
