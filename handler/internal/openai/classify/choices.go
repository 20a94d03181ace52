package classify

import "math/bits"

// choiceSet is a set of the indexes of choiceSet. An answer has at most 128
// (facts/azure-openai.md §3.1); larger indexes share bits.
type choiceSet [2]uint64

func (c *choiceSet) add(index int) { c[uint(index)>>6&1] |= 1 << (uint(index) & 63) }

func (c *choiceSet) union(o choiceSet) { c[0], c[1] = c[0]|o[0], c[1]|o[1] }

func (c choiceSet) count() int { return bits.OnesCount64(c[0]) + bits.OnesCount64(c[1]) }

// containsAll reports whether every member of o is one of c.
func (c choiceSet) containsAll(o choiceSet) bool { return o[0]&^c[0] == 0 && o[1]&^c[1] == 0 }
