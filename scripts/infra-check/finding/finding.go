// Package finding is what every check hands back: which check, where, what is wrong.
package finding

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is one fault. Where is a file with a line, or an address inside a template.
type Finding struct {
	Check   string
	Where   string
	Message string
}

// String is the line that is printed.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s [%s]", f.Where, f.Message, f.Check)
}

// List gathers findings; the zero value is ready.
type List struct {
	All []Finding
}

// Add appends a finding unless the same one is there: a shared module is visited once for every example.
func (l *List) Add(check, where, format string, args ...any) {
	f := Finding{Check: check, Where: where, Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(l.All, f) {
		l.All = append(l.All, f)
	}
}

// Sorted returns the findings in order of place.
func (l *List) Sorted() []Finding {
	return slices.SortedFunc(slices.Values(l.All), func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Message, b.Message))
	})
}
