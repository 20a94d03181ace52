package simulator

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// schema is as much of JSON Schema as callers use for tools and answers.
type schema struct {
	Type       json.RawMessage            `json:"type"`
	Properties map[string]json.RawMessage `json:"properties"`
	Items      json.RawMessage            `json:"items"`
	Enum       []json.RawMessage          `json:"enum"`
	Const      json.RawMessage            `json:"const"`
	AnyOf      []json.RawMessage          `json:"anyOf"`
}

// instanceOf is a small value that fits a schema.
func instanceOf(raw json.RawMessage) string {
	var s schema
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return "{}"
	}
	switch {
	case len(s.Const) > 0:
		return string(s.Const)
	case len(s.Enum) > 0:
		return string(s.Enum[0])
	case len(s.AnyOf) > 0:
		return instanceOf(s.AnyOf[0])
	}
	switch s.kind() {
	case "string":
		return `"water"`
	case "integer", "number":
		return "7"
	case "boolean":
		return "true"
	case "null":
		return "null"
	case "array":
		return "[" + instanceOf(s.Items) + "]"
	default:
		return s.object()
	}
}

// kind is the type, the first one of several.
func (s schema) kind() string {
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return one
	}
	var several []string
	if json.Unmarshal(s.Type, &several) == nil && len(several) > 0 {
		return several[0]
	}
	return "object"
}

func (s schema) object() string {
	fields := make([]string, 0, len(s.Properties))
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		fields = append(fields, quote(name)+":"+instanceOf(s.Properties[name]))
	}
	return "{" + strings.Join(fields, ",") + "}"
}
