package jsonscan

// Name is the number of a member's name that is watched; 0 is any other name.
type Name uint8

// Names is a set of names. The bit 0 stands for all names that are not watched.
type Names uint64

// NamesOf returns the set of these names, each below 64.
func NamesOf(names ...Name) Names {
	var set Names
	for _, n := range names {
		set |= 1 << n
	}
	return set
}

// Has reports whether n is in the set.
func (s Names) Has(n Name) bool { return s>>n&1 == 1 }

// Range is a half-open range of bytes.
type Range struct{ From, To int }

// Match is a string that was found, or an object that was passed.
type Match struct {
	Name   Name     // of the member; elements of an array have the array's name
	Object bool     // it is an object; else a string
	Value  Range    // of the string, with its quotes
	Kept   [2]Range // of an object: its members named by Watch.Keep, if they are strings
	Seen   Names    // of an object: the watched names of its members
	Within Names    // the names of the members that it is in, its own left out
}

// Watch finds members by their names, at every depth of the values that are
// passed while it is set, in the same pass. A watched name may occur once in an
// object: a repetition ends the pass with the reason Repeated. The zero Watch
// finds nothing; Names must be set. A Watch is not safe for concurrent use.
type Watch struct {
	Names   *Vocabulary
	Strings Names   // whose strings, or arrays of strings, are found
	Objects Names   // whose objects, or arrays of objects, are found, when they have the first kept member
	Keep    [2]Name // members that are kept for objects
	Prose   Names   // whose strings are no attachments, whatever they look like
	Limit   int     // of Matches: more end the pass with the reason TooManyMatches; 0 = none
	Matches []Match // what was found so far

	depth   int // of the innermost open bracket
	shallow [8]frame
	deep    []frame // those below shallow
	pending Name    // of the member whose value is next
}

// frame is an open bracket.
type frame struct {
	name   Name
	array  bool
	seen   Names
	within Names
	kept   [2]Range
}

// Reset forgets what was found, and has the members that are passed next be
// those of a new outermost object.
func (w *Watch) Reset() {
	const kept = 1 << 10
	if cap(w.Matches) > kept || cap(w.deep) > kept {
		w.Matches, w.deep = nil, nil
	}
	w.Matches, w.depth, w.pending = w.Matches[:0], 0, 0
	w.shallow[0] = frame{}
}

// top is the innermost open bracket.
func (w *Watch) top() *frame {
	if w.depth < len(w.shallow) {
		return &w.shallow[w.depth]
	}
	return &w.deep[w.depth-len(w.shallow)]
}

// Member has the next value belong to this member of the outermost object. It
// reports whether the name is watched and occurred before.
func (w *Watch) Member(key []byte) (repeated bool) { return w.member(key) == Repeated }

// Pending is the name of the member whose value is next.
func (w *Watch) Pending() Name { return w.pending }

// Root has the next value be watched as the value of a member of this name.
func (w *Watch) Root(n Name) { w.pending = n }

// member numbers a member of the innermost object.
func (w *Watch) member(key []byte) Reason {
	w.pending = w.Names.Lookup(key)
	if w.pending == 0 {
		return OK
	}
	f := w.top()
	if f.seen.Has(w.pending) {
		return Repeated
	}
	f.seen |= 1 << w.pending
	return OK
}

// value returns the name of the value that is next, and the names that it is in.
// An element of an array has the array's name.
func (w *Watch) value() (Name, Names) {
	f := w.top()
	switch {
	case f.array:
		return f.name, f.within
	case w.depth == 0:
		return w.pending, 0
	}
	return w.pending, f.within | 1<<f.name
}

// isProse reports whether the string that is next is prose by its member's name.
func (w *Watch) isProse() bool { return w != nil && !w.top().array && w.Prose.Has(w.pending) }

// enter opens a bracket.
func (w *Watch) enter(array bool) {
	name, within := w.value()
	w.depth++
	if w.depth-len(w.shallow) == len(w.deep) {
		w.deep = append(w.deep, frame{})
	}
	*w.top() = frame{name: name, array: array, within: within}
}

// leave closes the innermost bracket.
func (w *Watch) leave() Reason {
	f := w.top()
	w.depth--
	if !f.array && w.Objects.Has(f.name) && f.kept[0] != (Range{}) {
		return w.add(Match{Name: f.name, Object: true, Kept: f.kept, Seen: f.seen, Within: f.within})
	}
	return OK
}

func (w *Watch) add(m Match) Reason {
	if w.Limit > 0 && len(w.Matches) == w.Limit {
		return TooManyMatches
	}
	w.Matches = append(w.Matches, m)
	return OK
}

// text records a string, if it is looked for.
func (w *Watch) text(from, to int) Reason {
	name, within := w.value()
	if name == 0 {
		return OK
	}
	if f := w.top(); !f.array {
		switch name {
		case w.Keep[0]:
			f.kept[0] = Range{from, to}
		case w.Keep[1]:
			f.kept[1] = Range{from, to}
		}
	}
	if w.Strings.Has(name) {
		return w.add(Match{Name: name, Value: Range{from, to}, Within: within})
	}
	return OK
}
