package request

import (
	"net/url"
	"strings"

	"spillway/handler/internal/openai/operations"
)

// fieldReference returns the stored object that a form's field or a parameter of
// the query names, as in file_id, file_ids[] or image[file_id].
func fieldReference(name, value string) (Reference, bool) {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '.' })
	for len(parts) > 0 && strings.Trim(parts[len(parts)-1], "0123456789") == "" {
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 0 || value == "" {
		return Reference{}, false
	}
	member := parts[len(parts)-1]
	if kind, ok := idMembers[member]; ok {
		return Reference{Kind: kind, ID: value, Param: member}, true
	}
	if member == "id" && len(parts) > 1 {
		if kind, ok := holderMembers[parts[len(parts)-2]]; ok {
			return Reference{Kind: kind, ID: value, Param: parts[len(parts)-2]}, true
		}
	}
	return Reference{}, false
}

// QueryReferences returns the stored objects that a query names. A cursor is a
// position in a list, and refers to nothing else.
func QueryReferences(raw string) []Reference {
	if raw == "" {
		return nil
	}
	var found []Reference
	values, _ := url.ParseQuery(raw)
	for name, list := range values {
		for _, value := range list {
			if ref, ok := fieldReference(name, value); ok {
				found = append(found, ref)
			} else if name == "after" || name == "before" {
				found = append(found, Reference{Kind: operations.Kind(""), ID: value, Param: name, Described: true})
			}
		}
	}
	return found
}
