package jsonscan

// bracketStack remembers which bracketStack are open, one bit each. Depths beyond 64
// are rare and kept aside, so that the common case is one word.
type bracketStack struct {
	depth int
	top   uint64                   // the innermost, lowest bit first
	rest  *[MaxDepth/64 + 1]uint64 // full words below it
}

func (o *bracketStack) push(object bool) {
	if o.depth > 0 && o.depth%64 == 0 {
		if o.rest == nil {
			o.rest = new([MaxDepth/64 + 1]uint64)
		}
		o.rest[o.depth/64-1] = o.top
		o.top = 0
	}
	o.depth++
	o.top <<= 1
	if object {
		o.top |= 1
	}
}

func (o *bracketStack) pop() {
	o.depth--
	o.top >>= 1
	if o.depth > 0 && o.depth%64 == 0 {
		o.top = o.rest[o.depth/64-1]
	}
}

// object reports whether the innermost bracket is a brace.
func (o *bracketStack) object() bool { return o.top&1 == 1 }
