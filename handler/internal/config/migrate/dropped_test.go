package migrate

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// unknownMember is a member that no predecessor has, under which every importer has
// to say that it was not carried over.
const unknownMember = "zzstranger"

// TestUnknownMembersAreListed puts a member that nobody knows into every
// mapping of every sample, one at a time: the list of what was not carried over
// names it, or the whole that it is part of.
func TestUnknownMembersAreListed(t *testing.T) {
	for _, s := range samples {
		if s.source == "openai-apim-lb" || s.source == "aca-lb" || s.file == "list.csv" {
			continue // no mappings: see the tests below
		}
		text, err := os.ReadFile(filepath.Join("testdata", s.file))
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		for _, at := range mappings(t, text) {
			if s.source == "apim-pool" && !ofBackend(at) {
				continue // other resources of the template, and what only the deployment reads
			}
			if strings.HasSuffix(at, ".aliases") {
				continue // any name in it is a model
			}
			tried++
			r, err := Import(s.source, withUnknownMember(t, text, at), Options{})
			if err != nil {
				t.Errorf("%s: %s: %v", s.file, at, err)
				continue
			}
			if !r.mentions(at) {
				t.Errorf("%s: nothing is said about %s.%s", s.file, at, unknownMember)
			}
		}
		t.Logf("%s: %d mappings", s.file, tried)
		if tried < 2 {
			t.Errorf("%s: only %d mappings were tried", s.file, tried)
		}
	}
}

// ofBackend reports whether a mapping of a template belongs to a backend.
func ofBackend(at string) bool {
	_, inside, found := strings.Cut(at, "properties")
	_, inTerraform, terraform := strings.Cut(at, "values.root_module.resources")
	return found && !strings.Contains(inside, "tls") || terraform && strings.Contains(inTerraform, "credentials")
}

// mentions reports whether the unknown member at that path, or what holds it, is listed.
func (r *Result) mentions(at string) bool {
	for _, line := range r.Lost {
		path, _, _ := strings.Cut(line, ": ")
		if strings.Contains(line, unknownMember) || strings.HasPrefix(at+".", path+".") || strings.HasPrefix(at, path+"[") {
			return true
		}
	}
	return false
}

// mappings are the paths of all mappings in the text, as the importer names them.
func mappings(t *testing.T, text []byte) []string {
	t.Helper()
	v, _, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	var walk func(v *value)
	walk = func(v *value) {
		if v.isMap && v.path != "" {
			found = append(found, v.path)
		}
		for _, m := range v.members {
			walk(m.value)
		}
		for _, item := range v.list {
			walk(item)
		}
	}
	walk(v)
	return found
}

// withUnknownMember is the text with an unknown member in the mapping at that path.
func withUnknownMember(t *testing.T, text []byte, path string) []byte {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	done := false
	var walk func(n *yaml.Node, at string)
	walk = func(n *yaml.Node, at string) {
		if done {
			return
		}
		switch n.Kind { //nolint:exhaustive // scalars and aliases hold no mapping of their own
		case yaml.DocumentNode:
			walk(n.Content[0], at)
		case yaml.SequenceNode:
			for i, item := range n.Content {
				walk(item, at+"["+strconv.Itoa(i)+"]")
			}
		case yaml.MappingNode:
			if at == path {
				n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: unknownMember}, &yaml.Node{Kind: yaml.ScalarNode, Value: "7"})
				done = true
				return
			}
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], joined(at, n.Content[i].Value))
			}
		}
	}
	walk(&root, "")
	if !done {
		t.Fatalf("there is no mapping at %s", path)
	}
	changed, err := yaml.Marshal(&root)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// joined is a path as the importer writes it: odd names stand in brackets.
func joined(at, name string) string {
	v, _, err := parse([]byte(`{` + strconv.Quote(name) + `: 0}`))
	if err != nil || len(v.members) != 1 {
		return at + "." + name
	}
	tail := v.members[0].value.path
	if at == "" || strings.HasPrefix(tail, "[") {
		return at + tail
	}
	return at + "." + tail
}

func TestUnknownPolicyElementsAreListed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "openai-apim-lb.xml"))
	if err != nil {
		t.Fatal(err)
	}
	policy := string(text)
	for _, c := range []struct{ old, with, want string }{
		{`{ "priority", 3},`, `{ "priority", 3}, { "` + unknownMember + `", 7 },`, `the property "` + unknownMember + `" of backend 3`},
		{"<outbound>", "<outbound><" + unknownMember + ` calls="9" />`, "<" + unknownMember + ">"},
		{"<inbound>", `<inbound><set-header name="` + unknownMember + `"><value>7</value></set-header>`, "<set-header> " + unknownMember},
	} {
		r, err := Import("openai-apim-lb", []byte(strings.Replace(policy, c.old, c.with, 1)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(r.Lost, "\n"), c.want) {
			t.Errorf("%q is not in %q", c.want, r.Lost)
		}
	}
}

func TestUnknownNumberedSettingsAreListed(t *testing.T) {
	r, err := Import("aca-lb", []byte("BACKEND_1_URL=https://a.openai.azure.com\nBACKEND_1_PRIORITY=first\nBACKEND_1_WEIGHT=3\nPATH=/bin\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(r.Lost, "|") != "BACKEND_1_WEIGHT" || !strings.Contains(strings.Join(r.Changed, "\n"), "BACKEND_1_PRIORITY is no plain number") {
		t.Errorf("lost %q, changed %q", r.Lost, r.Changed)
	}
}
