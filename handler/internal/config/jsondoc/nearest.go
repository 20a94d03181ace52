package jsondoc

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

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
