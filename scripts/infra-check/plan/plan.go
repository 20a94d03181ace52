// Package plan has what Terraform made of an example with mocked providers: the resources with the names that they have in ARM, and references
// for what only Azure knows, as previews of Bicep write them.
//
// Terraform applies every example twice. The first time says which resources there are. The second time the results that other resources use
// are given values of the right shape that occur once, so that each can be traced to where it comes from. What else differs between the two
// is random, and left out.
package plan

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"spillway/scripts/infra-check/arm"
)

// Instance is one resource.
type Instance struct {
	Address string         `json:"address"`
	Mode    string         `json:"mode"` // managed or data
	Type    string         `json:"type"`
	Name    string         `json:"name,omitempty"`       // with the names of its parents before it, by slashes
	After   []string       `json:"depends_on,omitempty"` // addresses, without keys, of what is made before it
	Values  map[string]any `json:"values"`
}

// Plan is what an example comes to. It is committed as JSON.
type Plan struct {
	Resources []Instance     `json:"resources"`
	Outputs   map[string]any `json:"outputs"`
}

type module struct {
	Resources []Instance `json:"resources"`
	Children  []module   `json:"child_modules"`
}

func (m module) flatten() []Instance {
	out := m.Resources
	for _, child := range m.Children {
		out = append(out, child.flatten()...)
	}
	return out
}

// Printed reads the state in what `terraform test -json -verbose` printed.
func Printed(r io.Reader) (*Plan, error) {
	var line struct {
		State *struct {
			Root    module `json:"root_module"`
			Outputs map[string]struct {
				Value any `json:"value"`
			} `json:"outputs"`
		} `json:"test_state"`
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for line.State == nil && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("read what terraform printed: %w", err)
		}
	}
	if line.State == nil {
		return nil, fmt.Errorf("terraform printed no state: run it with -json -verbose: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
	}
	out := &Plan{Outputs: map[string]any{}, Resources: line.State.Root.flatten()}
	slices.SortFunc(out.Resources, func(a, b Instance) int { return strings.Compare(a.Address, b.Address) })
	for name, o := range line.State.Outputs {
		out.Outputs[name] = o.Value
	}
	return out, nil
}

// Overrides are the blocks of a test file that give the results of each resource values of their own.
func (p *Plan) Overrides() string {
	var b strings.Builder
	for n, r := range p.Resources {
		block := "override_resource"
		if r.Mode == "data" {
			block = "override_data"
		}
		results := r.samples(n)
		if len(results) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s {\n  target = %s\n  values = {\n", block, r.Address)
		for _, s := range results {
			fmt.Fprintf(&b, "    %s = %q\n", s.result, s.value)
		}
		b.WriteString("  }\n}\n")
	}
	return b.String()
}

// Resolve is the second state, made with the overrides of the first: with references, names in ARM, and without what is random. The files of
// infra/monitor below root stand in it by name.
func Resolve(first, second *Plan, root string) (*Plan, error) {
	t, err := newTracer(first, second, root)
	if err != nil {
		return nil, err
	}
	before := map[string]map[string]any{}
	for _, r := range first.Resources {
		before[r.Address] = r.Values
	}
	out := &Plan{Outputs: map[string]any{}}
	for _, r := range second.Resources {
		if r.Mode != "managed" {
			continue
		}
		name := t.name(r)
		r.Values, _ = t.stable(r.Values, before[r.Address]).(map[string]any)
		// A name that mocks made up is none.
		if r.Values["name"] != nil {
			r.Name = name
		}
		slices.Sort(r.After)
		out.Resources = append(out.Resources, r)
	}
	for name, v := range second.Outputs {
		if kept := t.stable(v, first.Outputs[name]); kept != nil {
			out.Outputs[name] = kept
		}
	}
	return out, nil
}

// tracer knows where each given value comes from.
type tracer struct {
	values    *regexp.Regexp
	sources   map[string]source
	byAddress map[string]Instance
	texts     map[string]string // of files, to their names
	hash      string
}

type source struct{ address, result string }

var hash = regexp.MustCompile(`^id-([0-9a-f]{13})$`)

func newTracer(first, second *Plan, root string) (*tracer, error) {
	t := &tracer{sources: map[string]source{}, byAddress: map[string]Instance{}, texts: map[string]string{}}
	var all []string
	for n, r := range first.Resources {
		for _, s := range r.samples(n) {
			t.sources[s.value] = source{r.Address, s.result}
			all = append(all, regexp.QuoteMeta(s.value))
		}
	}
	// The longest first: one may begin another.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	t.values = regexp.MustCompile(strings.Join(all, "|"))
	for _, r := range second.Resources {
		t.byAddress[r.Address] = r
		name, _ := r.Values["name"].(string)
		if m := hash.FindStringSubmatch(name); m != nil {
			t.hash = m[1]
		}
	}
	if t.hash == "" {
		return nil, errors.New("there is no identity whose name says the hash of the installation")
	}
	files, _ := filepath.Glob(filepath.Join(root, "infra/monitor/*")) // the pattern is well formed
	for _, file := range files {
		b, err := os.ReadFile(file) //nolint:gosec // a file of the tree that is checked
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		t.texts[string(b)] = "«monitor/" + filepath.Base(file) + "»"
	}
	return t, nil
}

// stable is v with its references, without what differs from the other state and is no reference.
func (t *tracer) stable(v, other any) any {
	switch v := v.(type) {
	case map[string]any:
		o, _ := other.(map[string]any)
		out := map[string]any{}
		for name, item := range v {
			if kept := t.stable(item, o[name]); kept != nil {
				out[t.text(name)] = kept
			}
		}
		return out
	case []any:
		o, _ := other.([]any)
		out := make([]any, len(v))
		for i, item := range v {
			var before any
			if i < len(o) {
				before = o[i]
			}
			out[i] = t.stable(item, before)
		}
		return out
	case string:
		if v != other && !t.values.MatchString(v) {
			return nil
		}
		return t.text(v)
	}
	if !reflect.DeepEqual(v, other) {
		return nil
	}
	return v
}

// text puts references in the place of given values.
func (t *tracer) text(s string) string {
	if name, ok := t.texts[s]; ok {
		return name
	}
	s = t.values.ReplaceAllStringFunc(s, func(value string) string {
		from := t.sources[value]
		r := t.byAddress[from.address]
		return Reference(r.Type, t.name(r), from.result)
	})
	return arm.Reference(strings.ReplaceAll(s, t.hash, arm.Token))
}

// name is the name in ARM, with the parents' names before it.
func (t *tracer) name(r Instance) string {
	name, _ := r.Values["name"].(string)
	name = t.text(name)
	k := Kinds()[r.Type]
	parent, _ := r.Values[k.Parent].(string)
	switch parent = t.text(parent); {
	case k.Parent == "":
		return name
	case strings.HasPrefix(parent, "«"):
		parent = NamesOf(parent)
	}
	if r.Type == "azurerm_storage_container" {
		parent += "/default"
	}
	return parent + "/" + name
}

var monitorFile = regexp.MustCompile(`"«(monitor/[\w.-]+)»"`)

// Read reads a committed plan; the files that it names are below infra.
func Read(b []byte, infra string) (*Plan, error) {
	var out Plan
	var failed error
	b = monitorFile.ReplaceAllFunc(b, func(name []byte) []byte {
		text, err := os.ReadFile(filepath.Join(infra, string(monitorFile.FindSubmatch(name)[1]))) //nolint:gosec // the pattern has no ..
		quoted, _ := json.Marshal(string(text))                                                   // a text can always be written
		failed = errors.Join(failed, err)
		return quoted
	})
	if err := errors.Join(failed, json.Unmarshal(b, &out)); err != nil {
		return nil, fmt.Errorf("read a plan: %w", err)
	}
	return &out, nil
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
