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
	"cmp"
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

// Nearest is the name that was probably meant by word, or "" when none is
// near: one letter in three may be wrong. Case, hyphens and underscores count
// for nothing.
func Nearest(word string, names []string) string {
	best, least := "", len(fold(word))/3
	for _, name := range names {
		if d := distance(fold(word), fold(name)); d < least || d == least && best == "" {
			best, least = name, d
		}
	}
	return best
}

// DidYouMean is a fix that names the nearest of the valid names, or else says
// all of them.
func DidYouMean(word string, names []string) string {
	if name := Nearest(word, names); name != "" {
		return fmt.Sprintf("Did you mean %q?", name)
	}
	if len(names) == 0 {
		return "Remove it."
	}
	return "Write one of: " + listed(names) + "."
}

// listed is the names with commas, cut off where nobody reads on.
func listed(names []string) string {
	const most = 24
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance is how many letters have to be put in, taken out, exchanged or
// swapped with their neighbour to make a into b.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 {
		return max(len(s), len(t)) // no typing mistake
	}
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+unequal(s[i-1], t[j-1]))
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(s)][len(t)]
}

func unequal(a, b rune) int {
	if a == b {
		return 0
	}
	return 1
}

// Unique is the names in order, each once.
func Unique(names []string) []string {
	sorted := slices.SortedFunc(slices.Values(names), cmp.Compare[string])
	return slices.Compact(sorted)
}
