package jsonscan

// Range is a half-open range of bytes.
type Range struct{ From, To int }

// Match is a string that was found, or an object that was passed.
type Match struct {
	Name   Name     // of the member; elements of an array have the array's name
	Object bool     // it is an object; else a string or a scalar
	Free   bool     // it is in what Watch.Free names
	Quoted bool     // it is in an object of which Watch.Quotes says so
	Value  Range    // of the string, with its quotes, or the scalar
	Kept   [2]Range // of an object: its members named by Watch.Keep, if they are strings
	Seen   Names    // of an object: the watched names of its members, but those that are null or ""
	Within Names    // the names of the members that it is in, its own left out
}

// Watch finds members by their names, at every depth of the values that are
// passed while it is set, in the same pass. A watched name may occur once in an
// object: a repetition ends the pass with the reason Repeated. The zero Watch
// finds nothing; Names must be set. A Watch is not safe for concurrent use.
type Watch struct {
	Names   *Vocabulary
	Strings Names   // whose strings, or arrays of strings, are found
	Scalars Names   // whose numbers, or true or false, are found
	Objects Names   // whose objects, or arrays of objects, are found, when they have the first kept member
	Keep    [2]Name // members that are kept for objects
	Limit   int     // of Matches: more end the pass with the reason TooManyMatches; 0 = none
	Matches []Match // what was found so far
	Met     Names   // what occurred so far, but in what is the caller's own

	// Unknown judges a name that is not watched: it returns one that it stands for,
	// or a reason to end the pass. It is not asked about what is free. nil = none.
	Unknown            func(key []byte) (Name, Reason)
	Texts              Names      // whose values are no objects while Unknown is set, but in what is free
	Free               Names      // in which names are the caller's own, and nothing is Data: strings are found there by InFree only
	FreeIn             [3]Name    // the first is Free directly in the second, if that is in the third
	Maps               Names      // whose own members are named by the caller, where they are objects
	Bound              Names      // in which nothing is the caller's own
	Data               Names      // in which names and values are the caller's own: nothing is found there
	DataIn             [][2]Names // the first are Data in the second
	Origin             Name       // is not Met directly in an object of OriginOf, which it says who made, if it is an object with members of OriginIn only
	OriginOf, OriginIn Names
	DataOf             Name // is Data in an object of which IsFree says so by its second kept member, if that is ahead of it
	IsFree             func(kind []byte) bool

	// IsID judges a string by its form, for those of Forms, and for the first kept member of
	// objects that are not of Objects; kind is the second kept member there. Of an object in
	// what is free only the kind is judged.
	IsID func(name Name, text, kind []byte) bool
	// InFree judges a string in what is free, whatever the member; its name is 0 unless it is watched.
	InFree func(name Name, text []byte) bool

	Forms Names // whose strings are found if they have the form

	// Quotes judges an object that holds matches by its second kept member: whether it
	// only says what somebody did with them. nil = none does.
	Quotes func(kind []byte) bool
	Empty  Names // that count as seen when they are ""
	Lists  Names // that do not count as seen when they are lists without an object

	Attachments Attachments
	Fetched     int // pictures that are named by their address

	depth   int // of the innermost open bracket
	shallow [8]frame
	deep    []frame // those below shallow
	pending Name    // of the member whose value is next
}

// frame is an open bracket.
type frame struct {
	name   Name
	array  bool
	free   bool
	data   bool
	text   bool // it calls itself no picture, sound, film or PDF file
	filled bool // it has an object or array in it
	mapped bool // it is one of Watch.Maps
	origin bool // it is Watch.Origin, in an object that it says who made
	first  int  // of the matches in it
	encode int  // bytes of its base64 that may not count
	files  int  // bytes of its files that may not count
	seen   Names
	blank  Names // of seen: those that are null or ""
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
	w.Matches, w.Met, w.Fetched, w.depth, w.pending = w.Matches[:0], Names{}, 0, 0, 0
	w.shallow[0] = frame{}
}

// top is the innermost open bracket.
func (w *Watch) top() *frame {
	if w.depth < len(w.shallow) {
		return &w.shallow[w.depth]
	}
	return &w.deep[w.depth-len(w.shallow)]
}

// Member has the next value belong to this member of the outermost object. It is
// not OK when the name is watched and occurred before, or is not acceptable.
func (w *Watch) Member(key []byte) Reason { return w.member(key) }

// Pending is the name of the member whose value is next.
func (w *Watch) Pending() Name { return w.pending }

// Root has the next value be watched as the value of a member of this name.
func (w *Watch) Root(n Name) { w.pending = n }

// member numbers a member of the innermost object.
func (w *Watch) member(key []byte) Reason {
	w.pending = w.Names.Lookup(key)
	f := w.top()
	if f.origin && !w.OriginIn.Has(w.pending) {
		w.Met.add(w.Origin)
	}
	if w.pending == 0 {
		return w.unknown(key)
	}
	if f.seen.Has(w.pending) {
		return Repeated
	}
	f.seen.add(w.pending)
	switch {
	case f.mapped:
		w.pending = 0
	case !f.free && (w.pending != w.Origin || !w.isOrigin(f, w.pending)) && (!f.origin || !w.OriginIn.Has(w.pending)):
		w.Met.add(w.pending)
	}
	return OK
}

// isOrigin reports whether a member of this name says who made the object f.
func (w *Watch) isOrigin(f *frame, name Name) bool {
	return name != 0 && name == w.Origin && !f.array && w.OriginOf.Has(f.name)
}

func (w *Watch) unknown(key []byte) Reason {
	if w.Unknown == nil {
		return OK
	}
	f := w.top()
	if f.free || f.mapped {
		return OK
	}
	var reason Reason
	if w.pending, reason = w.Unknown(key); w.pending != 0 {
		w.Met.add(w.pending)
	}
	return reason
}

// value returns the name of the value that is next, and the names that it is in.
// An element of an array has the array's name.
func (w *Watch) value() (Name, Names) {
	f := w.top()
	if f.array {
		return f.name, f.within
	}
	if w.depth == 0 {
		return w.pending, Names{}
	}
	within := f.within
	within.add(f.name)
	return w.pending, within
}

// enter opens a bracket of b.
func (w *Watch) enter(b []byte, array bool) Reason {
	outer := w.top()
	name, within := w.value()
	fresh := frame{name: name, array: array, within: within, free: outer.free, data: outer.data, first: len(w.Matches)}
	fresh.mapped = !array && !outer.array && w.Maps.Has(name)
	fresh.origin = !array && w.isOrigin(outer, name)
	if array && w.isOrigin(outer, name) {
		w.Met.add(name)
	}
	if !fresh.free && name != 0 && !within.Meets(w.Bound) {
		fresh.data = w.isData(b, name, within)
		row := name == w.FreeIn[0] && outer.name == w.FreeIn[1] && within.Has(w.FreeIn[2])
		fresh.data = fresh.data && !row
		fresh.free = fresh.data || row || w.Free.Has(name)
	}
	if !array && !fresh.free && w.Unknown != nil && w.Texts.Has(name) {
		return NotText
	}
	outer.filled = true
	w.depth++
	if w.depth-len(w.shallow) == len(w.deep) {
		w.deep = append(w.deep, frame{})
	}
	*w.top() = fresh
	return OK
}

// isData reports whether the next value, of a member of this name, is the caller's own.
func (w *Watch) isData(b []byte, name Name, within Names) bool {
	if w.Data.Has(name) || name == w.DataOf && w.IsFree != nil && w.IsFree(inside(b, w.top().kept[1])) {
		return true
	}
	for i := range w.DataIn {
		if w.DataIn[i][0].Has(name) && within.Meets(w.DataIn[i][1]) {
			return true
		}
	}
	return false
}

// leave closes the innermost bracket of b.
func (w *Watch) leave(b []byte) Reason {
	f := w.top()
	w.depth--
	if inner := w.Matches[f.first:]; len(inner) > 0 && w.Quotes != nil && w.Quotes(inside(b, f.kept[1])) {
		for i := range inner {
			inner[i].Quoted = true
		}
	}
	if f.array && !f.filled {
		w.empty()
	}
	if f.array || f.data || f.kept[0] == (Range{}) {
		return OK
	}
	text := inside(b, f.kept[0])
	if f.free {
		text = nil // InFree judges it
	}
	if w.Objects.Has(f.name) && !f.free || w.IsID != nil && w.IsID(0, text, inside(b, f.kept[1])) {
		return w.add(Match{Name: f.name, Object: true, Free: f.free, Kept: f.kept, Seen: f.seen.Without(f.blank), Within: f.within})
	}
	return OK
}

// empty passes an empty container, or an array without an object.
func (w *Watch) empty() {
	if f := w.top(); !f.array && w.Lists.Has(w.pending) {
		f.blank.add(w.pending)
	}
}

// inside returns a string without its quotes, nothing for the zero Range.
func inside(b []byte, at Range) []byte {
	if at.To == 0 {
		return nil
	}
	return b[at.From+1 : at.To-1]
}

func (w *Watch) add(m Match) Reason {
	if w.Limit > 0 && len(w.Matches) == w.Limit {
		return TooManyMatches
	}
	w.Matches = append(w.Matches, m)
	return OK
}

// scalar records a number or literal of b, if it is looked for.
func (w *Watch) scalar(b []byte, from, to int) Reason {
	f := w.top()
	switch {
	case b[from] != 'n' && w.Scalars.Has(w.pending) && !f.array && !f.free:
		return w.add(Match{Name: w.pending, Value: Range{from, to}})
	case b[from] == 'n' && !f.array:
		f.blank.add(w.pending)
	}
	return OK
}

// text records a string of b, if it is looked for.
func (w *Watch) text(b []byte, from, to int) Reason {
	f := w.top()
	name := w.pending
	if f.array {
		name = f.name
	}
	if f.data || name == 0 && !f.free {
		return OK
	}
	if name == w.Origin && w.isOrigin(f, name) {
		w.Met.add(name)
	}
	if w.isAddress(name, b[from:to]) {
		w.Fetched++
	}
	f.text = f.text || w.Attachments.Labels.Has(name) && !isMediaLabel(b[from+1:to-1])
	if !f.array {
		switch name {
		case w.Keep[0]:
			f.kept[0] = Range{from, to}
		case w.Keep[1]:
			f.kept[1] = Range{from, to}
		}
		if to-from == len(`""`) && !w.Empty.Has(name) {
			f.blank.add(name)
		}
	}
	at, found := Range{from, to}, false
	switch {
	case f.free:
		found = w.InFree != nil && w.InFree(name, inside(b, at))
	case w.Forms.Has(name):
		found = w.IsID != nil && w.IsID(name, inside(b, at), nil)
	default:
		found = w.Strings.Has(name)
	}
	if !found {
		return OK
	}
	_, within := w.value()
	return w.add(Match{Name: name, Free: f.free, Value: at, Within: within})
}
