// Package arm holds the shapes of Azure resources, cut from the type definitions that the Bicep compiler itself uses,
// and checks bodies against them. The snapshot is types.json.gz; refresh.go says where it comes from.
package arm

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed types.json.gz
var embedded []byte

// Flags of a property, as bicep-types defines them.
const (
	Required  = 1
	ReadOnly  = 2
	WriteOnly = 4
	Constant  = 8
)

// Ref points into Snapshot.Types: "#/12".
type Ref struct {
	Ref string `json:"$ref"`
}

// Property is one member of an object type.
type Property struct {
	Type  Ref `json:"type"`
	Flags int `json:"flags"`
}

// Type is one node of the type graph; which fields are set depends on Kind.
type Type struct {
	Kind                 string              `json:"$type"`
	Name                 string              `json:"name"`
	Value                string              `json:"value"`
	Properties           map[string]Property `json:"properties"`
	BaseProperties       map[string]Property `json:"baseProperties"`
	AdditionalProperties *Ref                `json:"additionalProperties"`
	Discriminator        string              `json:"discriminator"`
	Elements             json.RawMessage     `json:"elements"`
	ItemType             *Ref                `json:"itemType"`
	Body                 *Ref                `json:"body"`
	MinValue             *int64              `json:"minValue"`
	MaxValue             *int64              `json:"maxValue"`
}

// Snapshot is the type graph with its entry points, "Microsoft.Web/sites@2024-11-01" to the type of the body.
type Snapshot struct {
	Source    string         `json:"source"`
	Resources map[string]Ref `json:"resources"`
	Types     []Type         `json:"types"`
	lower     map[string]string
}

// Embedded returns the committed snapshot.
func Embedded() (*Snapshot, error) {
	zr, err := gzip.NewReader(bytes.NewReader(embedded))
	if err != nil {
		return nil, fmt.Errorf("open types.json.gz: %w", err)
	}
	s := new(Snapshot)
	if err := json.NewDecoder(zr).Decode(s); err != nil {
		return nil, fmt.Errorf("read types.json.gz: %w", err)
	}
	s.lower = map[string]string{}
	for name := range s.Resources {
		s.lower[strings.ToLower(name)] = name
	}
	return s, nil
}

// Lookup finds the type of a resource body; name is the spelling of the snapshot, "" when there is none.
func (s *Snapshot) Lookup(resourceType string) (body *Type, name string) {
	name, ok := s.lower[strings.ToLower(resourceType)]
	if !ok {
		return nil, ""
	}
	return s.deref(s.Resources[name]), name
}

// Versions lists the API versions that the snapshot has for a type without "@version".
func (s *Snapshot) Versions(resourceType string) []string {
	var out []string
	for name := range s.Resources {
		if t, v, _ := strings.Cut(name, "@"); strings.EqualFold(t, resourceType) {
			out = append(out, v)
		}
	}
	return out
}

func (s *Snapshot) deref(r Ref) *Type {
	var i int
	if _, err := fmt.Sscanf(r.Ref, "#/%d", &i); err != nil || i >= len(s.Types) {
		return &Type{Kind: "AnyType"}
	}
	t := &s.Types[i]
	if t.Kind == "ResourceType" && t.Body != nil {
		return s.deref(*t.Body)
	}
	return t
}

// union lists the members of a union type.
func (s *Snapshot) union(t *Type) []*Type {
	var refs []Ref
	if json.Unmarshal(t.Elements, &refs) != nil {
		return nil
	}
	out := make([]*Type, len(refs))
	for i, r := range refs {
		out[i] = s.deref(r)
	}
	return out
}

// variants lists the members of a discriminated object by the value of its discriminator.
func (s *Snapshot) variants(t *Type) map[string]*Type {
	var refs map[string]Ref
	if json.Unmarshal(t.Elements, &refs) != nil {
		return nil
	}
	out := map[string]*Type{}
	for value, r := range refs {
		out[value] = s.deref(r)
	}
	return out
}
