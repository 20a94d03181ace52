package bicep

import (
	"encoding/json"
	"strings"
)

// Plain turns a value into nil, bool, int64, string, []any and map[string]any; references become their text.
// Members that are Bicep's own (parent, scope, dependsOn) are left out at the top.
func Plain(v Value) any {
	switch v := v.(type) {
	case *Object:
		out := map[string]any{}
		for _, k := range v.keys {
			if _, isHandle := v.values[k].(handle); !isHandle && k != "dependsOn" {
				out[k] = Plain(v.values[k])
			}
		}
		return out
	case []Value:
		out := make([]any, len(v))
		for i := range v {
			out[i] = Plain(v[i])
		}
		return out
	case Ref:
		return v.String()
	case broken:
		return "«broken»"
	}
	return v
}

// Canonical is JSON with sorted members, for comparisons. Texts that are JSON themselves are read first.
func Canonical(v any) string {
	if s, ok := v.(string); ok && strings.HasPrefix(s, "{") {
		var inner any
		if json.Unmarshal([]byte(s), &inner) == nil {
			v = inner
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
