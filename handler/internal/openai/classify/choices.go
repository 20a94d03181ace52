package classify

import "math/bits"

// choices is a set of the indexes of choices. An answer has at most 128
// (facts/azure-openai.md §3.1); larger indexes share bits.
type choices [2]uint64

func (c *choices) add(index int) { c[uint(index)>>6&1] |= 1 << (uint(index) & 63) }

func (c *choices) join(o choices) { c[0], c[1] = c[0]|o[0], c[1]|o[1] }

func (c choices) count() int { return bits.OnesCount64(c[0]) + bits.OnesCount64(c[1]) }

// holds reports whether every member of o is one of c.
func (c choices) holds(o choices) bool { return o[0]&^c[0] == 0 && o[1]&^c[1] == 0 }
