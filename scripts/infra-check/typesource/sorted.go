package typesource

import (
	"maps"
	"slices"
)

// sortedKeys makes the walk over a type, and with it the numbers of the new list, the same every time.
func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
