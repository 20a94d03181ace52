package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"spillway/handler/internal/config/document"
)

// schemaMember is one entry of a JSON object, in the order of the text.
type schemaMember struct {
	name  string
	value json.RawMessage
}

// membersOf reads a JSON object in its own order, which a map would lose.
func membersOf(t *testing.T, text json.RawMessage) (all []schemaMember) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		t.Fatalf("not an object: %.60s", text)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		m := schemaMember{name: fmt.Sprint(name)}
		if err := d.Decode(&m.value); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// property is what the page shows of one member of the schema.
type property struct {
	Description string            `json:"description"`
	Type        any               `json:"type"`
	Ref         string            `json:"$ref"`
	Enum        []any             `json:"enum"`
	Default     json.RawMessage   `json:"default"`
	Examples    []json.RawMessage `json:"examples"`
	AnyOf       []property        `json:"anyOf"`
	Items       *property         `json:"items"`
	Entries     json.RawMessage   `json:"additionalProperties"`
}

// kind is the type of a member as a reader says it, with links to the tables of
// its own members.
func (p *property) kind() string {
	switch {
	case p.Ref != "":
		name := strings.TrimPrefix(p.Ref, "#/$defs/")
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	case len(p.AnyOf) > 0:
		kinds := make([]string, 0, len(p.AnyOf))
		for i := range p.AnyOf {
			if k := p.AnyOf[i].kind(); k != "null" && !slices.Contains(kinds, k) {
				kinds = append(kinds, k)
			}
		}
		return strings.Join(kinds, " or ")
	case p.Items != nil:
		return "list of " + p.Items.kind()
	}
	if list, ok := p.Type.([]any); ok {
		p.Type = list[0]
	}
	if entries := new(property); p.Type == "object" && json.Unmarshal(p.Entries, entries) == nil {
		return "map to " + cmp.Or(entries.kind(), "anything")
	}
	kind, _ := p.Type.(string)
	return kind
}

// row is one line of a table of the page.
func row(name string, p *property, required bool) string {
	value := "–"
	switch {
	case required:
		value = "required"
	case len(p.Default) > 0:
		value = compact(p.Default)
	}
	example := ""
	if len(p.Examples) > 0 {
		example = compact(p.Examples[0])
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", name, p.kind(), value, escaped(p.Description), example)
}

// compact is a JSON value on one line.
func compact(text json.RawMessage) string {
	var line bytes.Buffer
	if json.Compact(&line, text) != nil {
		return ""
	}
	return code(line.String())
}

func code(text string) string { return "`" + escaped(text) + "`" }

func escaped(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

// object is the table of the members of one object of the schema.
func object(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var shape struct {
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	}
	if err := json.Unmarshal(text, &shape); err != nil {
		t.Fatal(err)
	}
	out := "| member | type | default | meaning | example |\n|---|---|---|---|---|\n"
	for _, m := range membersOf(t, shape.Properties) {
		var p property
		if err := json.Unmarshal(m.value, &p); err != nil {
			t.Fatal(err)
		}
		out += row(m.name, &p, slices.Contains(shape.Required, m.name))
	}
	return out
}

// settingsTable is the table of the process settings.
func settingsTable() string {
	out := "| setting | default | meaning |\n|---|---|---|\n"
	shape := reflect.TypeFor[written]()
	names := settingNames()
	for i := range shape.NumField() {
		f := shape.Field(i)
		preset := "unset"
		if v := f.Tag.Get("default"); v != "" {
			preset = code(v)
		}
		out += fmt.Sprintf("| `%s` | %s | %s |\n", names[i], preset, escaped(f.Tag.Get("doc")))
	}
	return out
}

const referenceIntroduction = `# Configuration

Process settings are environment variables; in Azure, app settings. The pool is one JSON document in ` + "`SPILLWAY_CONFIG`" + `, inline or as ` + "`@path`" + `.
` + "`spillway validate`" + ` checks both and reports every fault at once, with its place and its fix. ` + "`spillway schema`" + ` prints the JSON Schema of the document, so that editors complete it.
Unknown members are faults. Durations are written as in Go: ` + "`500ms`, `10s`, `5m`" + `. Money is per million tokens.

This page is made from the program: ` + "`go test ./handler/internal/config -update`" + ` writes it.

## Settings

`

const referenceMore = `
Connections are settings in groups, as Functions writes them: ` + "`SPILLWAY_STATE__tableServiceUri`, `__blobServiceUri`, `__accountName`, `__credential`, `__clientId`" + `; the same behind ` + "`AzureWebJobsStorage`" + `.
Secrets (` + "`auth.setting`, `keySetting`" + `) name the app setting that holds them, so that Key Vault references work.

| setting of the platform | read for |
|---|---|
| ` + "`FUNCTIONS_CUSTOMHANDLER_PORT`" + ` | the port to listen on; its presence says that the Functions host is in front |
| ` + "`FUNCTIONS_REQUEST_BODY_SIZE_LIMIT`" + ` | the host's own body limit, which ` + "`SPILLWAY_MAX_BODY`" + ` must not be above |
| ` + "`REGION_NAME`" + ` | the region of this instance, for ` + "`priorityIn`" + ` |
| ` + "`WEBSITE_POD_NAME`, `CONTAINER_NAME`, `WEBSITE_INSTANCE_ID`" + ` | the name of this instance |
| ` + "`AZURE_CLIENT_ID`" + ` | the user-assigned identity of backends that name none |
| ` + "`OTEL_*`" + ` | metrics and traces: [observability](observability.md#otel-variables) |
| ` + "`BACKEND_1_URL`, `BACKEND_1_PRIORITY`, `BACKEND_1_APIKEY`, `BACKEND_1_DEPLOYMENT_NAME`, `BACKEND_2_…`, `HTTP_TIMEOUT_SECONDS`" + ` | the pool of openai-aca-lb, when ` + "`SPILLWAY_CONFIG`" + ` is unset |

## The pool document

`

func TestConfigurationPageIsCurrent(t *testing.T) {
	page := referenceIntroduction + settingsTable() + referenceMore
	var schema struct {
		Defs json.RawMessage `json:"$defs"`
	}
	text := document.Schema()
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	page += object(t, text)
	for _, def := range membersOf(t, schema.Defs) {
		var about struct {
			Description string `json:"description"`
		}
		if err := json.Unmarshal(def.value, &about); err != nil {
			t.Fatal(err)
		}
		page += "\n### " + def.name + "\n\n" + about.Description + "\n\n" + object(t, def.value)
	}
	golden(t, "../../../docs/configuration.md", page)
}

func TestEverySettingIsDocumented(t *testing.T) {
	shape := reflect.TypeFor[written]()
	for i := range shape.NumField() {
		if f := shape.Field(i); f.Tag.Get("doc") == "" {
			t.Errorf("%s has no doc tag", f.Name)
		}
	}
	sample, err := os.ReadFile("../../../local.settings.sample.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"SPILLWAY_CONFIG", "SPILLWAY_CONFIG_ALLOW", "SPILLWAY_MAX_BODY", "SPILLWAY_MEMORY_LIMIT", "SPILLWAY_RESPONSE_TIMEOUT"} {
		if !bytes.Contains(sample, []byte(`"`+name+`"`)) {
			t.Errorf("local.settings.sample.json has no %s", name)
		}
	}
}
