package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Resource is one resource that a deployment would make.
type Resource struct {
	Type  string
	Name  string         // with the names of its parents before it, by slashes
	Scope string         // of a role or a diagnostic setting: the reference of what it is on
	Body  map[string]any // references stand for what only Azure knows
}

// Preview is what a deployment of one set of parameters would make and hand back.
type Preview struct {
	Resources []Resource
	Outputs   map[string]any
}

// Token stands in every name for the hash that makes the names of an installation its own.
const Token = "tokentokentok"

var (
	hash       = regexp.MustCompile(`"name": ?"id-([a-z0-9]{13})"`)
	resourceRE = regexp.MustCompile(`/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/"]+/providers/([A-Za-z.]+(?:/[^/"',;) ]+)+)`)
	groupRE    = regexp.MustCompile(`/subscriptions/[0-9a-f-]{36}/resourceGroups/([^/"]+)`)
	asked      = regexp.MustCompile(`tryGet\(parameters\('secrets'\), '(\w+)'\)`)
)

// Reference is how an id is written everywhere: «Microsoft.Web/sites/name».
func Reference(id string) string {
	id = resourceRE.ReplaceAllString(id, "«$1»")
	return groupRE.ReplaceAllString(id, "«Microsoft.Resources/resourceGroups/$1»")
}

// Read reads what `bicep snapshot` wrote. A preview does not have the secrets: they are given by name.
func Read(b []byte, secrets map[string]any) (*Preview, error) {
	m := hash.FindSubmatch(b)
	if m == nil {
		return nil, errors.New("there is no identity whose name says the hash of the installation")
	}
	var file struct {
		Resources   []map[string]any  `json:"predictedResources"`
		Outputs     map[string]any    `json:"outputs"`
		Diagnostics []json.RawMessage `json:"diagnostics"`
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(b), string(m[1]), Token)), &file); err != nil {
		return nil, fmt.Errorf("read a preview: %w", err)
	}
	if len(file.Diagnostics) > 0 {
		return nil, fmt.Errorf("the preview is not whole: %s", file.Diagnostics[0])
	}
	s := scope{parameters: map[string]any{
		"secrets": secrets, "secretNames": secretNames(b), "vaultUri": "«Microsoft.KeyVault/vaults/kv-" + Token + ".vaultUri»",
	}}
	out := &Preview{Outputs: map[string]any{}}
	for _, r := range file.Resources {
		made, err := s.resource(r)
		if err != nil {
			return nil, err
		}
		if made != nil {
			out.Resources = append(out.Resources, *made)
		}
	}
	for name, v := range file.Outputs {
		worked, err := s.value(v)
		if err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		out.Outputs[name] = referenced(worked)
	}
	return out, nil
}

// secretNames are those that the vault has an entry for.
func secretNames(b []byte) []any {
	var out []any
	for _, m := range asked.FindAllSubmatch(b, -1) {
		if name := string(m[1]); !slices.Contains(out, any(name)) {
			out = append(out, name)
		}
	}
	return out
}

// resource works out one predicted resource; nil when its condition does not hold.
func (s scope) resource(r map[string]any) (*Resource, error) {
	if condition, there := r["condition"]; there {
		holds, err := s.value(condition)
		if err != nil || holds != true {
			return nil, err
		}
	}
	worked, err := s.value(r)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", r["name"], err)
	}
	body, _ := worked.(map[string]any)
	id := text(body["id"])
	out := &Resource{Type: text(body["type"]), Name: text(body["name"])}
	if strings.HasPrefix(out.Type, "Microsoft.Authorization/") || out.Type == "Microsoft.Insights/diagnosticSettings" {
		out.Scope = Reference(id[:max(0, strings.LastIndex(id, "/providers/"))])
	}
	out.Body, _ = referenced(body).(map[string]any)
	return out, nil
}

// referenced writes every id in a value as a reference.
func referenced(v any) any {
	switch v := v.(type) {
	case string:
		return Reference(v)
	case []any:
		for i := range v {
			v[i] = referenced(v[i])
		}
	case map[string]any:
		for name, item := range v {
			delete(v, name)
			v[Reference(name)] = referenced(item)
		}
	}
	return v
}
