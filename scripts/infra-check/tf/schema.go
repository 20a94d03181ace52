package tf

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/zclconf/go-cty/cty"
)

//go:embed schema.json.gz
var embedded []byte

// Attribute is one argument or result of a resource.
type Attribute struct {
	Type     json.RawMessage `json:"type"`
	Required bool            `json:"required,omitempty"`
	Optional bool            `json:"optional,omitempty"`
	Computed bool            `json:"computed,omitempty"`
}

// Block is the inside of a resource or of one of its blocks.
type Block struct {
	Attributes map[string]Attribute   `json:"attributes"`
	Blocks     map[string]NestedBlock `json:"block_types"`
}

// NestedBlock says how often a block may come.
type NestedBlock struct {
	Min   int   `json:"min_items,omitempty"`
	Max   int   `json:"max_items,omitempty"`
	Block Block `json:"block"`
}

// Schema is what the providers accept, cut down to what the configuration uses.
type Schema struct {
	Source    string           `json:"source"`
	Resources map[string]Block `json:"resources"`
}

// Embedded returns the committed schema.
func Embedded() (*Schema, error) {
	zr, err := gzip.NewReader(bytes.NewReader(embedded))
	if err != nil {
		return nil, fmt.Errorf("open schema.json.gz: %w", err)
	}
	s := new(Schema)
	if err := json.NewDecoder(zr).Decode(s); err != nil {
		return nil, fmt.Errorf("read schema.json.gz: %w", err)
	}
	return s, nil
}

// computed is what references to an instance see beside its arguments.
func (s *Schema) computed(i Instance) map[string]cty.Value {
	out := map[string]cty.Value{}
	for name, a := range s.Resources[i.Type].Attributes {
		switch {
		case !a.Computed:
			out[name] = cty.NullVal(cty.DynamicPseudoType)
		case string(a.Type) == `"string"`:
			out[name] = cty.StringVal(s.reference(i.Type, i.Name, name))
		default:
			out[name] = cty.DynamicVal
		}
	}
	return out
}
