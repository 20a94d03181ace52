// Package plan has what Terraform would make of an example: resources with the names that they have in ARM, and references for what only
// Azure knows, as previews of Bicep write them.
package plan

import "strings"

// Instance is one resource.
type Instance struct {
	Address string
	Type    string
	Name    string   // with the names of its parents before it, by slashes
	After   []string // what depends_on names
	Values  map[string]any
}

// NamesOf takes the names out of «Microsoft.Web/sites/name/slots/other».
func NamesOf(reference string) string {
	segments := strings.Split(strings.Trim(reference, "«»"), "/")
	var out []string
	for i := 2; i < len(segments); i += 2 {
		out = append(out, segments[i])
	}
	return strings.Join(out, "/")
}
