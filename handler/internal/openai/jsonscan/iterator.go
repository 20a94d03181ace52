package jsonscan

// Iterator goes over the members of one object or the elements of one array.
// [Iterate] makes it. After each Next that returns true, Offset is where a value
// begins: pass it with Skip, or read it and report its end with SkipTo. A value
// that was not passed is passed by the next Next.
type Iterator struct {
	Data   []byte
	Offset int    // the value's first byte; after the last Next: behind the closing bracket, or where the fault is
	Reason Reason // reason the iteration ended early; OK when it did not
	Key    []byte // the member's name as written, without its quotes; nil in an array

	object bool
	state  state
}

// state is the position of an iterator.
type state uint8

const (
	beforeOpening state = iota // the opening bracket is next
	atValue                    // a value is next
	afterValue                 // a comma or the closing bracket is next
	ended
)

// Iterate begins at the object or array that begins at b[i]. Anything else ends
// at once with MissingValue.
func Iterate(b []byte, i int) Iterator {
	i = SkipSpace(b, i)
	it := Iterator{Data: b, Offset: i}
	switch {
	case i == len(b):
		it.stop(i, Truncated)
	case b[i] == '{':
		it.object = true
	case b[i] != '[':
		it.stop(i, MissingValue)
	}
	return it
}

// Next goes to the next value and reports whether there is one.
func (it *Iterator) Next() bool {
	if it.state == atValue {
		it.Skip()
	}
	if it.state == ended {
		return false
	}
	i := SkipSpace(it.Data, it.Offset)
	switch {
	case it.state == beforeOpening:
		i = SkipSpace(it.Data, i+1)
		if i < len(it.Data) && it.Data[i] == closingBracket(it.object) {
			return it.stop(i+1, OK)
		}
	case i == len(it.Data):
		return it.stop(i, Truncated)
	case it.Data[i] == closingBracket(it.object):
		return it.stop(i+1, OK)
	case it.Data[i] != ',':
		return it.stop(i, MissingComma)
	default:
		i = SkipSpace(it.Data, i+1)
		if i < len(it.Data) && it.Data[i] == closingBracket(it.object) {
			return it.stop(i, TrailingComma)
		}
	}
	return it.toValue(i)
}

// toValue moves to the value at i, behind its name in an object.
func (it *Iterator) toValue(i int) bool {
	if it.object {
		from := i + 1
		end, reason := memberName(it.Data, i)
		if reason != OK {
			return it.stop(end, reason)
		}
		it.Key = it.Data[from:quoteBefore(it.Data, end)]
		i = end
	}
	it.Offset = SkipSpace(it.Data, i)
	it.state = atValue
	if it.Offset == len(it.Data) {
		return it.stop(it.Offset, Truncated)
	}
	return true
}

// quoteBefore is the offset of the closing quote of the name that ends, with its
// colon, before i.
func quoteBefore(b []byte, i int) int {
	for i--; b[i] != '"'; i-- {
	}
	return i
}

// Skip passes the value and returns the offset behind it.
func (it *Iterator) Skip() int {
	end, reason := SkipValue(it.Data, it.Offset)
	if reason != OK {
		it.stop(end, reason)
		return end
	}
	it.SkipTo(end)
	return end
}

// SkipTo continues behind a value that ended before i.
func (it *Iterator) SkipTo(i int) {
	it.Offset = i
	it.state = afterValue
}

// Fail ends the iteration with a fault found inside a value.
func (it *Iterator) Fail(i int, reason Reason) { it.stop(i, reason) }

func (it *Iterator) stop(i int, reason Reason) bool {
	it.Offset, it.Reason, it.state, it.Key = i, reason, ended, nil
	return false
}
