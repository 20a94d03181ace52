package request

import (
	"net/url"
	"slices"
	"strings"

	"spillway/handler/internal/openai/operations"
)

// fieldReference returns the stored object that a form's field or a parameter of
// the query names, as in file_id, file_ids[] or image[file_id]. Servers differ in
// whether the case and the separators of such a name matter, so here they do not.
func fieldReference(name, value string) (Reference, bool) {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '[' || r == ']' || r == '.' })
	for len(parts) > 0 && strings.Trim(parts[len(parts)-1], "0123456789") == "" {
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 0 || value == "" || isFreeField(name) {
		return Reference{}, false
	}
	member := parts[len(parts)-1]
	if written := spelt.find([]byte(member)); written != "" {
		member = written
	}
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

// isFreeField reports whether a field or parameter is a member of what is the caller's
// own, as metadata[source] is.
func isFreeField(name string) bool {
	base, _, inside := strings.Cut(name, "[")
	return inside && slices.Contains(dataMembers, base)
}

// QueryReferences returns the stored objects that a query names, read as the most
// generous server reads it: pairs may end in a semicolon, and values may be lists.
// Whatever looks like an id names an object; a cursor that does not may be one, too.
func QueryReferences(raw string) []Reference {
	var found []Reference
	for pair := range strings.FieldsFuncSeq(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		name, text, _ := strings.Cut(pair, "=")
		name = queryUnescape(name)
		for value := range strings.FieldsFuncSeq(queryUnescape(text), func(r rune) bool { return r == ',' || r == ' ' }) {
			if ref, ok := fieldReference(name, value); ok {
				found = append(found, ref)
			} else if isCursor(name) || operations.KindOf(value) != "" {
				found = append(found, Reference{ID: value, Param: name, Described: operations.KindOf(value) == ""})
			}
		}
	}
	return found
}

func isCursor(name string) bool {
	return strings.EqualFold(name, "after") || strings.EqualFold(name, "before")
}

// queryUnescape is the text itself where it is not escaped properly.
func queryUnescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}
