package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// importCase is a configuration in the shape that its maker publishes, and how
// it is run once imported.
type importCase struct {
	source, file string
	model        string
	groups       [][]string        // backends by priority, as the predecessor tried them
	settings     map[string]string // the settings that the import listed, without keys
	identity     string            // the client id that tokens are asked for; noIdentity = only keys are used
}

const noIdentity = "none"

func importCases() []importCase {
	const own = "11111111-2222-3333-4444-555555555555"
	policy := map[string]string{"SPILLWAY_RESPONSE_TIMEOUT": "120s", "SPILLWAY_EXPOSE": "true"}
	entra := map[string]string{
		"SPILLWAY_AUTH": "entra", "SPILLWAY_ENTRA_TENANT": "99999999-2222-3333-4444-555555555555", "SPILLWAY_ENTRA_AUDIENCE": "api://contoso-openai",
		"SPILLWAY_ENTRA_ISSUER": "https://sts.windows.net/99999999-2222-3333-4444-555555555555/", "AZURE_CLIENT_ID": own,
	}
	timeouts := map[string]string{"SPILLWAY_FIRST_TOKEN_TIMEOUT": "60s"}
	foundry, numbered := [][]string{{"foundry1"}, {"foundry2"}}, [][]string{{"backend-1"}, {"backend-2"}}
	return []importCase{
		{"openai-apim-lb", "openai-apim-lb.xml", "gpt-4o", [][]string{{"contoso-eastus", "contoso-eastus-2"}, {"contoso-france"}}, policy, own},
		{"openai-apim-lb", "openai-apim-lb-azd.xml", "gpt-4o", [][]string{{"openai-backend-0"}, {"backend_url_2"}}, entra, own},
		{"apim-pool", "apim-pool-arm.json", "gpt-4o", [][]string{{"ptu"}, {"payg"}}, nil, ""},
		{"apim-pool", "apim-pool-rest.json", "gpt-4o", foundry, nil, ""},
		{"apim-pool", "apim-pool-terraform.json", "gpt-4o", foundry, nil, ""},
		{"apim-pool", "apim-pool-azurerm.json", "gpt-4o", foundry, nil, ""},
		{"aca-lb", "aca-lb.env", "gpt-4o", numbered, timeouts, ""},
		{"aca-lb", "aca-lb-containerapp.yaml", "gpt-4o", numbered, nil, ""},
		{"litellm", "litellm.yaml", "gpt-4o", [][]string{{"contoso-ptu"}, {"contoso-eu", "contoso-us"}, {"openai"}}, nil, noIdentity},
		{"bifrost", "bifrost.json", "gpt-4o", [][]string{{"azure-us", "azure-eu", "azure-entra"}, {"openai-1"}}, nil, ""},
		{"portkey", "portkey.json", "gpt-4o", [][]string{{"contoso-us", "contoso-eu"}, {"openai"}, {"azure-test-4110dd"}}, nil, ""},
		{"list", "list.csv", "gpt-4o", [][]string{{"ptu"}, {"eu", "us"}}, nil, ""},
		{"list", "list.yaml", "gpt-4o", [][]string{{"contoso-1"}, {"contoso-2"}, {"contoso-3"}}, nil, ""},
		{"aca-lb", "aca-lb-parameters.json", "gpt-4o", numbered, nil, ""},
		{"aca-lb", "aca-lb.bicepparam", "gpt-4o", numbered, nil, ""},
		{"aca-lb", "aca-lb-template.json", "gpt-4o", numbered, nil, ""},
		{"apim-pool", "apim-pool-plan.json", "gpt-4o", [][]string{{"openai1"}, {"openai2"}}, nil, ""},
		{
			"powerproxy", "powerproxy.yaml", "gpt-35-turbo",
			[][]string{{"some-endpoint-first"}, {"some-endpoint-second"}, {"another-endpoint"}},
			map[string]string{"AZURE_CLIENT_ID": own},
			own,
		},
	}
}

// TestImportedPoolsFailOverInOrder imports each sample with
// the program itself, puts the addresses of the simulated service in place of
// the real ones and changes nothing else, validates, serves, and takes one
// priority after the other away.
func TestImportedPoolsFailOverInOrder(t *testing.T) {
	t.Parallel()
	for _, p := range importCases() {
		t.Run(p.file, func(t *testing.T) {
			t.Parallel()
			document, listed := imported(t, p)
			pool := importedPool{t: t, document: document, model: p.model, groups: p.groups, identity: []string{p.identity}}
			if p.identity == noIdentity {
				pool.identity = nil
			}
			pool.env = p.settingsAsListed(t, listed, pool.read())
			pool.wantFailover()
		})
	}
}

// imported runs `spillway import` on the sample. Its output is the
// committed golden file, with the list of what was not carried over.
func imported(t *testing.T, p importCase) (document, listed string) {
	t.Helper()
	sample := filepath.Join("..", "..", "internal", "config", "migrate", "testdata", p.file)
	document, listed, code := command(t, nil, "import", p.source, sample)
	if code != 0 {
		t.Fatalf("import: exit code %d: %s", code, listed)
	}
	want, err := os.ReadFile(sample + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	if got := document + "\n" + listed; got != string(want) {
		t.Errorf("imported as\n%s\nwant\n%s", got, want)
	}
	return document, listed
}

var (
	settingsPart = regexp.MustCompile(`(?s)Make these app settings:\n(.*?)\n[A-Z]`)
	settingName  = regexp.MustCompile(`[A-Z][A-Z0-9_]+`)
)

// settingsAsListed are the app settings that the import listed, and no others.
func (p importCase) settingsAsListed(t *testing.T, listed string, keys map[string]string) []string {
	t.Helper()
	named := map[string]bool{}
	if part := settingsPart.FindStringSubmatch(listed); part != nil {
		for line := range strings.Lines(part[1]) {
			before, _, _ := strings.Cut(line, ":")
			for _, name := range settingName.FindAllString(before, -1) {
				named[name] = true
			}
		}
	}
	var env []string
	for name := range named {
		value, ok := p.settings[name]
		if key, isKey := keys[name]; isKey {
			value, ok = key, true
		}
		if !ok {
			t.Errorf("the import lists the setting %s without a value", name)
		}
		env = append(env, name+"="+value)
	}
	for name := range p.settings {
		if !named[name] {
			t.Errorf("the import does not list the setting %s", name)
		}
	}
	return env
}

// TestTheExampleOfTheMigrationPage runs the first commands of the page as they are
// written there.
func TestTheExampleOfTheMigrationPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, commands, _ := strings.Cut(string(page), "```sh\n")
	commands, _, _ = strings.Cut(commands, "```")
	if !strings.Contains(commands, "spillway import ") || !strings.Contains(commands, "spillway validate") {
		t.Fatalf("the example is\n%s", commands)
	}
	run := exec.Command("bash", "-euo", "pipefail", "-c", commands)
	run.Dir = t.TempDir()
	run.Env = []string{"PATH=" + staged + ":" + os.Getenv("PATH"), "HOME=" + run.Dir}
	if said, err := run.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, commands, said)
	}
}
