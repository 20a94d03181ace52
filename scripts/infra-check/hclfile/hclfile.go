// Package hclfile reads from Terraform's files what its plans do not show: variables with their defaults, and the values of an example.
package hclfile

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Variables reads the variables of a file with their defaults; one without a default is there with nothing.
func Variables(file string) (map[string]*any, error) {
	body, err := read(file)
	if err != nil {
		return nil, err
	}
	out := map[string]*any{}
	for _, block := range body.Blocks {
		if block.Type != "variable" || len(block.Labels) != 1 {
			continue
		}
		out[block.Labels[0]] = nil
		if attribute, ok := block.Body.Attributes["default"]; ok {
			v, err := plain(attribute.Expr)
			if err != nil {
				return nil, fmt.Errorf("%s: default of %s: %w", file, block.Labels[0], err)
			}
			out[block.Labels[0]] = &v
		}
	}
	return out, nil
}

// Values reads a .tfvars file.
func Values(file string) (map[string]any, error) {
	body, err := read(file)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for name, attribute := range body.Attributes {
		if out[name], err = plain(attribute.Expr); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, name, err)
		}
	}
	return out, nil
}

func read(file string) (*hclsyntax.Body, error) {
	parsed, problems := hclparse.NewParser().ParseHCLFile(file)
	if problems.HasErrors() {
		return nil, fmt.Errorf("read %s: %w", file, problems)
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return nil, fmt.Errorf("%s is not in the native syntax", file)
	}
	return body, nil
}

// plain works out an expression of constants.
func plain(e hcl.Expression) (any, error) {
	v, problems := e.Value(nil)
	if problems.HasErrors() {
		return nil, problems
	}
	b, err := json.Marshal(ctyjson.SimpleJSONValue{Value: v})
	if err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("read as JSON: %w", err)
	}
	return out, nil
}
