// Package jsondoc decodes JSON text into Go structs and reports every fault of
// the text at once: each fault with its path, its place, the fix
// and the nearest valid name. What a struct accepts is in the tags of
// its fields, and the same tags encode it and make its JSON Schema.
//
// The tags: json (the exact name), doc (a sentence for editors), required,
// default (as JSON), enum (a|b|c), min and max (of numbers), least and most
// (of lists), pattern with say (the pattern for people), keys with keysay (the
// same for the names of an object), example (as JSON), also (names that people
// bring from elsewhere), quiet (values are never repeated in a message).
package jsondoc

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with what an operator wrote.
type Fault struct {
	Path    string // backends[1].auth.setting, or the name of a process setting
	File    string // "" = the text was not read from a file
	Line    int    // from 1; 0 = not a place in a text
	Column  int    // from 1, in characters
	Problem string // what is wrong there, without a full stop
	Fix     string // what to do about it, a sentence
}

// String is the fault as one line for people.
func (f Fault) String() string {
	return f.where() + ": " + f.Problem + ". " + f.Fix
}

func (f Fault) where() string {
	switch {
	case f.Line == 0:
		return f.Path
	case f.File != "":
		return fmt.Sprintf("%s (%s:%d:%d)", f.Path, f.File, f.Line, f.Column)
	}
	return fmt.Sprintf("%s (line %d, column %d)", f.Path, f.Line, f.Column)
}

// Faults is everything that is wrong, in the order of the text.
type Faults []Fault

// Error lists the faults, one a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Err is fs as an error, or nil when nothing is wrong.
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

// Sort puts the faults in the order of the text; those without a place come
// first, in the order in which they were found.
func (fs Faults) Sort() {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// Covers reports whether a fault was already found at path or at something
// that holds it, so that no second fault follows from the first.
func (fs Faults) Covers(path string) bool {
	return slices.ContainsFunc(fs, func(f Fault) bool { return f.Path == path || under(path, f.Path) })
}

// Under reports whether a fault was found at path or inside it.
func (fs Faults) Under(path string) bool {
	return slices.ContainsFunc(fs, func(f Fault) bool { return f.Path == path || under(f.Path, path) })
}

func under(path, ancestor string) bool {
	rest, ok := strings.CutPrefix(path, ancestor)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '[')
}
