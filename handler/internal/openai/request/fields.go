package request

import (
	"net/url"
	"slices"
	"strings"

	"spillway/handler/internal/openai/operations"
)

// fieldReference returns the stored object that a form's field or a parameter of
// the query names, as in file_id, file_ids[], image[file_id] or characters[0][id].
// Servers differ in whether the case and the separators of such a name matter, so here
// they do not. A member that may be a text names an object if its value has the form of
// an id.
func fieldReference(name, value string) (Reference, bool) {
	parts, value := fieldParts(name), strings.TrimSpace(value)
	if len(parts) == 0 || value == "" || isFreeField(name) {
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
	if kind := formMembers[member]; kind != "" && member != "prompt" && mayBeID(member, []byte(value)) {
		return Reference{Kind: kind, ID: value, Param: member, Described: member == "source"}, true
	}
	return Reference{}, false
}

// fieldParts returns the members that a name leads through, as JSON has them, without
// the places in lists.
func fieldParts(name string) []string {
	parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '[' || r == ']' || r == '.' })
	parts = slices.DeleteFunc(parts, func(part string) bool { return strings.Trim(part, "0123456789") == "" })
	for i, part := range parts {
		if written := spelt.find([]byte(part)); written != "" {
			parts[i] = written
		}
	}
	return parts
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
