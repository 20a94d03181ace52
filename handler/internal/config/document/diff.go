package document

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"spillway/handler/internal/config/jsondoc"
)

// Change is one member in which two documents differ.
type Change struct {
	Path   string `json:"path"`             // backends["ptu"].weight
	Before string `json:"before,omitempty"` // JSON; "" = absent, or the default
	After  string `json:"after,omitempty"`
}

// Diff is how b differs from a in meaning, in the order of the paths: not how it is
// written. Backends and consumers are compared by name, whatever their order.
func Diff(a, b *Document) []Change {
	before, after := members(a), members(b)
	all := maps.Clone(before)
	maps.Copy(all, after)
	var changes []Change
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if before[path] != after[path] {
			changes = append(changes, Change{path, before[path], after[path]})
		}
	}
	return changes
}

// members are the values of a document by path; nil has none.
func members(d *Document) map[string]string {
	found := map[string]string{}
	if d == nil {
		return found
	}
	var value any
	if err := json.Unmarshal(d.Print(), &value); err != nil {
		panic("document: what was printed is no JSON: " + err.Error())
	}
	collect(found, "", value)
	return found
}

func collect(found map[string]string, path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, one := range v {
			collect(found, jsondoc.Join(path, name), one)
		}
		if len(v) > 0 {
			return
		}
	case []any:
		if named(v) {
			for _, one := range v {
				object, _ := one.(map[string]any)
				collect(found, path+"["+strconv.Quote(object["name"].(string))+"]", one)
			}
			return
		}
	}
	text, _ := json.Marshal(value)
	found[path] = string(text)
}

// named reports whether all items are objects with a name.
func named(list []any) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(one any) bool {
		object, _ := one.(map[string]any)
		_, ok := object["name"].(string)
		return !ok
	})
}
