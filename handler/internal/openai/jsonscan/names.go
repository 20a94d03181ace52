package jsonscan

// Name is the number of a member's name that is watched; 0 is any other name.
type Name uint8

// maxNames is how many names a vocabulary may have, name 0 included.
const maxNames = 128

// Names is a set of names. The name 0 stands for all names that are not watched.
type Names [2]uint64

// NamesOf returns the set of these names.
func NamesOf(names ...Name) Names {
	var set Names
	for _, n := range names {
		set.add(n)
	}
	return set
}

// Has reports whether n is in the set.
func (s Names) Has(n Name) bool { return s[n>>6&1]>>(n&63)&1 == 1 }

// Or returns the names that are in either set.
func (s Names) Or(t Names) Names { return Names{s[0] | t[0], s[1] | t[1]} }

// Without returns the names that are in s only.
func (s Names) Without(t Names) Names { return Names{s[0] &^ t[0], s[1] &^ t[1]} }

// Meets reports whether a name is in both sets.
func (s Names) Meets(t Names) bool { return s[0]&t[0]|s[1]&t[1] != 0 }

// Empty reports whether the set has no names.
func (s Names) Empty() bool { return s[0]|s[1] == 0 }

func (s *Names) add(n Name) { s[n>>6&1] |= 1 << (n & 63) }
