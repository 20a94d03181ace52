// Package plan reads what Terraform made of an example with mocked providers: the resources, with references for what only Azure knows.
//
// Terraform is run twice. The second time every result of a resource that others use is overridden by a placeholder that says where it
// comes from: «module.state.azurerm_storage_account.this.id». What then differs between the two runs is random and left out.
package plan

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"spillway/scripts/infra-check/arm"
)

// Resource is one resource of the state.
type Resource struct {
	Address   string         `json:"address"`
	Type      string         `json:"type"`
	Mode      string         `json:"mode"`
	DependsOn []string       `json:"depends_on,omitempty"`
	Values    map[string]any `json:"values"`
}

// File is the state of one example.
type File struct {
	Resources []Resource     `json:"resources"`
	Outputs   map[string]any `json:"outputs"`
}

type module struct {
	Resources []Resource `json:"resources"`
	Children  []module   `json:"child_modules"`
}

var errNoState = errors.New("terraform printed no state: run it with -json -verbose")

// Printed reads the last state in what `terraform test -json -verbose` printed.
func Printed(r io.Reader) (*File, error) {
	type values struct {
		Root    module `json:"root_module"`
		Outputs map[string]struct {
			Value any `json:"value"`
		} `json:"outputs"`
	}
	var found *values
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var line struct {
			State *struct {
				Values  *values `json:"values"`
				Root    module  `json:"root_module"`
				Outputs map[string]struct {
					Value any `json:"value"`
				} `json:"outputs"`
			} `json:"test_state"`
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.State == nil {
			continue
		}
		if found = line.State.Values; found == nil {
			found = &values{Root: line.State.Root, Outputs: line.State.Outputs}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what terraform printed: %w", err)
	}
	if found == nil {
		return nil, errNoState
	}
	out := &File{Outputs: map[string]any{}}
	found.Root.flatten(out)
	slices.SortFunc(out.Resources, func(a, b Resource) int { return strings.Compare(a.Address, b.Address) })
	for name, o := range found.Outputs {
		out.Outputs[name] = o.Value
	}
	return out, nil
}

func (m module) flatten(into *File) {
	into.Resources = append(into.Resources, m.Resources...)
	for _, child := range m.Children {
		child.flatten(into)
	}
}

// Overrides are the blocks of a test file that put placeholders in the place of results.
func (f *File) Overrides() string {
	var b strings.Builder
	for _, r := range f.Resources {
		block := "override_resource"
		if r.Mode == "data" {
			block = "override_data"
		}
		fmt.Fprintf(&b, "%s {\n  target = %s\n  values = {\n", block, r.Address)
		for _, result := range append([]string{"id"}, slices.Sorted(maps.Keys(Kinds()[r.Type].Results))...) {
			fmt.Fprintf(&b, "    %s = %s\n", result, strconv.Quote("«"+r.Address+"."+result+"»"))
		}
		b.WriteString("  }\n}\n")
	}
	return b.String()
}

// Stable is f without what differs in another run, but for what names a placeholder.
func (f *File) Stable(other *File) *File {
	values := map[string]map[string]any{}
	for _, r := range other.Resources {
		values[r.Address] = r.Values
	}
	out := &File{Outputs: map[string]any{}}
	for _, r := range f.Resources {
		r.Values, _ = stable(r.Values, values[r.Address]).(map[string]any)
		slices.Sort(r.DependsOn)
		out.Resources = append(out.Resources, r)
	}
	for name, v := range f.Outputs {
		if kept := stable(v, other.Outputs[name]); kept != nil {
			out.Outputs[name] = kept
		}
	}
	return out
}

func stable(v, other any) any {
	switch v := v.(type) {
	case map[string]any:
		o, _ := other.(map[string]any)
		out := map[string]any{}
		for name, item := range v {
			if kept := stable(item, o[name]); kept != nil {
				out[name] = kept
			}
		}
		return out
	case []any:
		o, _ := other.([]any)
		out := make([]any, 0, len(v))
		for i, item := range v {
			var before any
			if i < len(o) {
				before = o[i]
			}
			out = append(out, stable(item, before))
		}
		return out
	case string:
		if !strings.Contains(v, "«") && v != other {
			return nil
		}
	}
	if !reflect.DeepEqual(v, other) {
		if s, ok := v.(string); !ok || !strings.Contains(s, "«") {
			return nil
		}
	}
	return v
}

// Instance is a resource as the rules see it: with the name that it has in ARM, and references as previews of Bicep write them.
type Instance struct {
	Address string
	Type    string
	Name    string
	After   []string // addresses, without keys, of what is made before it
	Values  map[string]any
}

var (
	placeholder = regexp.MustCompile(`«((?:module\.|azurerm_|azapi_|data\.)[^«»]*)\.(\w+)»`)
	hash        = regexp.MustCompile(`^id-([0-9a-f]{13})$`)
)

// Read reads a state that Stable made.
func Read(b []byte, token string) ([]Instance, map[string]any, error) {
	var f File
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, nil, fmt.Errorf("read a plan: %w", err)
	}
	r := reader{byAddress: map[string]Resource{}, token: token}
	for _, res := range f.Resources {
		r.byAddress[res.Address] = res
		name, _ := res.Values["name"].(string)
		if m := hash.FindStringSubmatch(name); m != nil && res.Type == "azurerm_user_assigned_identity" {
			r.hash = m[1]
		}
	}
	if r.hash == "" {
		return nil, nil, errors.New("there is no identity whose name says the hash of the installation")
	}
	var out []Instance
	for _, res := range f.Resources {
		values, _ := arm.Referenced(r.value(res.Values)).(map[string]any)
		if res.Mode == "managed" {
			out = append(out, Instance{Address: res.Address, Type: res.Type, Name: r.name(res), After: res.DependsOn, Values: values})
		}
	}
	outputs, _ := r.value(f.Outputs).(map[string]any)
	return out, outputs, nil
}

type reader struct {
	byAddress map[string]Resource
	hash      string
	token     string
}

// value resolves the placeholders in a value.
func (r reader) value(v any) any {
	switch v := v.(type) {
	case string:
		v = placeholder.ReplaceAllStringFunc(v, func(s string) string {
			m := placeholder.FindStringSubmatch(s)
			return r.reference(m[1], m[2])
		})
		return strings.ReplaceAll(v, r.hash, r.token)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = r.value(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			out[name] = r.value(item)
		}
		return out
	}
	return v
}

// reference is what a placeholder means: «Microsoft.Web/sites/name.defaultHostName».
func (r reader) reference(address, result string) string {
	res, ok := r.byAddress[address]
	if !ok {
		return "«" + address + "." + result + "!»"
	}
	return Reference(res.Type, r.name(res), result)
}

// name is the name in ARM, with the parents' names before it.
func (r reader) name(res Resource) string {
	name, _ := r.value(res.Values["name"]).(string)
	k := Kinds()[res.Type]
	parent, _ := r.value(res.Values[k.Parent]).(string)
	switch {
	case res.Type == "azapi_resource":
		parent, _ = r.value(res.Values["parent_id"]).(string)
		return NamesOf(parent) + "/" + name
	case k.Parent == "":
		return name
	case strings.HasPrefix(parent, "«"):
		return NamesOf(parent) + k.Between + name
	}
	return parent + k.Between + name
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
