package tf

import (
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// Unknown stands for a value that only Azure knows and that is not a text.
const Unknown = "«unknown»"

// plain turns a value into nil, bool, int64, float64, string, []any and map[string]any.
func plain(v cty.Value) any {
	v, _ = v.UnmarkDeep()
	switch {
	case !v.IsKnown():
		return Unknown
	case v.IsNull():
		return nil
	case v.Type() == cty.String:
		return v.AsString()
	case v.Type() == cty.Bool:
		return v.True()
	case v.Type() == cty.Number:
		if n, accuracy := v.AsBigFloat().Int64(); accuracy == 0 {
			return n
		}
		f, _ := v.AsBigFloat().Float64()
		return f
	case v.Type().IsObjectType() || v.Type().IsMapType():
		out := map[string]any{}
		for it := v.ElementIterator(); it.Next(); {
			key, value := it.Element()
			out[key.AsString()] = plain(value)
		}
		return out
	}
	out := []any{}
	for it := v.ElementIterator(); it.Next(); {
		_, value := it.Element()
		out = append(out, plain(value))
	}
	return out
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

func cutDot(s string) (head, rest string, found bool) { return strings.Cut(s, ".") }
