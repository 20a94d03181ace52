// Package tf works a Terraform configuration out for given variables, without Terraform and without a provider: variables with
// their types and validations, locals, modules, resources with count, for_each and dynamic blocks. Arguments are checked against
// a snapshot of the provider's schema. What only Azure knows becomes a text such as «Microsoft.Web/sites/func.id».
package tf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// module is one folder of .tf files.
type module struct {
	dir       string // relative to the root folder
	variables []*hclsyntax.Block
	outputs   []*hclsyntax.Block
	resources []*hclsyntax.Block // resource and data
	calls     []*hclsyntax.Block
	locals    hclsyntax.Attributes
}

var errSyntax = errors.New("syntax")

// load parses the .tf files of a folder.
func load(root, dir string) (*module, error) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.tf"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no .tf files in %s: %w", dir, os.ErrNotExist)
	}
	slices.Sort(files)
	m := &module{dir: dir, locals: hclsyntax.Attributes{}}
	for _, path := range files {
		body, err := parse(root, path)
		if err != nil {
			return nil, err
		}
		m.take(body)
	}
	return m, nil
}

func parse(root, path string) (*hclsyntax.Body, error) {
	src, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return nil, fmt.Errorf("name %s: %w", path, err)
	}
	f, diags := hclsyntax.ParseConfig(src, filepath.ToSlash(name), hcl.InitialPos)
	if diags.HasErrors() {
		return nil, fmt.Errorf("%w: %s", errSyntax, diags.Error())
	}
	body, ok := f.Body.(*hclsyntax.Body)
	if !ok {
		return nil, fmt.Errorf("%w: %s", errSyntax, name)
	}
	return body, nil
}

func (m *module) take(body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		switch b.Type {
		case "variable":
			m.variables = append(m.variables, b)
		case "output":
			m.outputs = append(m.outputs, b)
		case "resource", "data":
			m.resources = append(m.resources, b)
		case "module":
			m.calls = append(m.calls, b)
		case "locals":
			for name, a := range b.Body.Attributes {
				m.locals[name] = a
			}
		}
	}
}

// where is a range as a finding's place.
func where(r hcl.Range) string { return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line) }
