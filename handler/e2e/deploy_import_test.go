package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/aoaitest"
	"spillway/handler/hosttest"
)

// predecessor is a configuration in the shape that its maker publishes, and how
// it is run once imported.
type predecessor struct {
	source, file string
	model        string
	groups       [][]string        // backends by priority, as the predecessor tried them
	settings     map[string]string // what its owner was told to set, besides keys
	identity     string            // the client id that tokens are asked for; "" = keys only
}

func predecessors() []predecessor {
	const own = "11111111-2222-3333-4444-555555555555"
	entra := map[string]string{
		"SPILLWAY_AUTH": "entra", "SPILLWAY_ENTRA_TENANT": "99999999-2222-3333-4444-555555555555", "SPILLWAY_ENTRA_AUDIENCE": "api://contoso-openai",
		"SPILLWAY_ENTRA_ISSUER": "https://sts.windows.net/99999999-2222-3333-4444-555555555555/", "AZURE_CLIENT_ID": own,
	}
	two := [][]string{{"foundry1"}, {"foundry2"}}
	return []predecessor{
		{
			"openai-apim-lb", "openai-apim-lb.xml", "gpt-4o",
			[][]string{{"contoso-eastus", "contoso-eastus-2"}, {"contoso-france"}},
			map[string]string{"SPILLWAY_RESPONSE_TIMEOUT": "120s", "SPILLWAY_EXPOSE": "true"},
			own,
		},
		{"openai-apim-lb", "openai-apim-lb-azd.xml", "gpt-4o", [][]string{{"openai-backend-0"}, {"backend_url_2"}}, entra, own},
		{"apim-pool", "apim-pool-arm.json", "gpt-4o", [][]string{{"ptu"}, {"payg"}}, nil, "any"},
		{"apim-pool", "apim-pool-rest.json", "gpt-4o", two, nil, "any"},
		{"apim-pool", "apim-pool-terraform.json", "gpt-4o", two, nil, "any"},
		{"apim-pool", "apim-pool-azurerm.json", "gpt-4o", two, nil, "any"},
		{
			"aca-lb", "aca-lb.env", "gpt-4o",
			[][]string{{"backend-1"}, {"backend-2"}},
			map[string]string{"SPILLWAY_FIRST_TOKEN_TIMEOUT": "60s", "SPILLWAY_RESPONSE_TIMEOUT": "60s"},
			"any",
		},
		{"aca-lb", "aca-lb-containerapp.yaml", "gpt-4o", [][]string{{"backend-1"}, {"backend-2"}}, nil, "any"},
		{"litellm", "litellm.yaml", "gpt-4o", [][]string{{"contoso-ptu"}, {"contoso-eu", "contoso-us"}, {"openai"}}, nil, "any"},
		{
			"powerproxy", "powerproxy.yaml", "gpt-35-turbo",
			[][]string{{"some-endpoint-first"}, {"some-endpoint-second"}, {"another-endpoint"}},
			map[string]string{"AZURE_CLIENT_ID": own},
			own,
		},
	}
}

// TestImportedPoolsFailOverInTheOrderOfThePredecessor imports each sample with
// the program itself, puts the addresses of the simulated service in place of
// the real ones and changes nothing else, validates, serves, and takes one
// priority after the other away.
func TestImportedPoolsFailOverInTheOrderOfThePredecessor(t *testing.T) {
	for _, p := range predecessors() {
		t.Run(p.file, func(t *testing.T) {
			t.Parallel()
			m := imported(t, p)
			sim := aoaitest.Start(t, aoaitest.Config{Resources: m.resources()})
			asked := m.identityService(t)
			m.env = append(m.env, "SPILLWAY_CONFIG="+m.moved(sim))
			if out, stderr, code := command(t, m.env, "validate"); code != 0 || !strings.Contains(out, "valid: ") {
				t.Fatalf("validate: exit code %d\n%s\n%s", code, out, stderr)
			}
			host := hosttest.Start(t, hosttest.Options{Root: staged, Env: m.env})
			for _, group := range p.groups {
				m.wantServedWithin(host.URL, group)
				for _, name := range group {
					sim.Throttle(name, time.Minute)
				}
			}
			if a := m.ask(host.URL); a.status != http.StatusTooManyRequests {
				t.Errorf("with everything throttled: %d by %q: %s", a.status, a.backend(), a.body)
			}
			if got := asked(); p.identity != "" && !slices.Equal(got, []string{strings.TrimPrefix(p.identity, "any")}) {
				t.Errorf("tokens were asked for %q, want %q", got, p.identity)
			}
		})
	}
}

// migration is a predecessor's configuration on its way.
type migration struct {
	predecessor
	t        *testing.T
	document string
	backends []importedBackend
	env      []string
	key      string // of the caller; "" = nobody is asked for one
}

type importedBackend struct {
	Name        string
	Kind        string
	Deployments any
	Auth        struct{ Mode, Setting string }
}

const importedCallersKey = "callers-key-0123456789-0123456789-0123456789"

// imported runs `spillway import` on the sample. What it prints is what is
// committed beside the sample, with the list of what was not carried over.
func imported(t *testing.T, p predecessor) *migration {
	t.Helper()
	sample := filepath.Join("..", "config", "importer", "testdata", p.file)
	out, stderr, code := command(t, nil, "import", p.source, sample)
	if code != 0 {
		t.Fatalf("import: exit code %d: %s", code, stderr)
	}
	want, err := os.ReadFile(sample + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	if got := out + "\n" + stderr; got != string(want) {
		t.Errorf("imported as\n%s\nwant\n%s", got, want)
	}
	m := &migration{predecessor: p, t: t, document: out}
	var d struct {
		Backends  []importedBackend
		Consumers []struct{ KeySetting string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	m.backends = d.Backends
	keys := map[string]string{}
	for _, b := range d.Backends {
		keys[b.Auth.Setting] = backendKey
	}
	for i, c := range d.Consumers {
		keys[c.KeySetting] = importedCallersKey + strings.Repeat("x", i)
		m.key = importedCallersKey
	}
	m.set(stderr, keys)
	return m
}

var (
	settingsPart = regexp.MustCompile(`(?s)Make these app settings:\n(.*?)\n[A-Z]`)
	settingName  = regexp.MustCompile(`[A-Z][A-Z0-9_]+`)
)

// set makes the app settings that the owner was told to make, and no others.
func (m *migration) set(told string, keys map[string]string) {
	m.t.Helper()
	named := map[string]bool{}
	if part := settingsPart.FindStringSubmatch(told); part != nil {
		for line := range strings.Lines(part[1]) {
			before, _, _ := strings.Cut(line, ":")
			for _, name := range settingName.FindAllString(before, -1) {
				named[name] = true
			}
		}
	}
	m.env = []string{"SPILLWAY_STATE=", "AzureWebJobsStorage=", "SPILLWAY_EXPOSE=true", "SPILLWAY_AUTH=key"}
	for name := range named {
		value, ok := m.settings[name]
		if key, isKey := keys[name]; isKey {
			value, ok = key, true
		}
		if !ok {
			m.t.Errorf("its owner is told to set %s, and nothing says what to", name)
		}
		m.env = append(m.env, name+"="+value)
	}
	for name := range m.settings {
		if !named[name] {
			m.t.Errorf("nobody is told to set %s", name)
		}
	}
	if m.key == "" {
		m.env = append(m.env, "SPILLWAY_AUTH=none")
	}
}

// resources has one resource for each backend, with what it serves the model by.
func (m *migration) resources() []aoaitest.Resource {
	var out []aoaitest.Resource
	for _, b := range m.backends {
		out = append(out, aoaitest.Resource{Name: b.Name, Keys: []string{backendKey}, Deployments: []aoaitest.Deployment{{Name: b.deployment(m.model), Model: "gpt-4o"}}})
	}
	return out
}

// deployment is what a backend calls the model.
func (b *importedBackend) deployment(model string) string {
	named, _ := b.Deployments.(map[string]any)
	for _, name := range []string{model, "*"} {
		if d, ok := named[name].(string); ok && d != "*" {
			return d
		}
	}
	return model
}

var endpointMember = regexp.MustCompile(`"endpoint": "[^"]*"`)

// moved is the document with the addresses of the simulated service.
func (m *migration) moved(sim *aoaitest.Service) string {
	i := -1
	return endpointMember.ReplaceAllStringFunc(m.document, func(string) string {
		i++
		address := sim.URL(m.backends[i].Name)
		if m.backends[i].Kind == "openai" {
			address += "/openai/v1"
		}
		return `"endpoint": "` + address + `"`
	})
}

// ask asks as callers of the predecessor do: Azure's path, the key as api-key.
func (m *migration) ask(address string) answer {
	m.t.Helper()
	path := "/openai/deployments/" + m.model + "/chat/completions?api-version=2024-10-21"
	return ask(m.t.Context(), m.t, http.MethodPost, address+path, `{"messages":[{"role":"user","content":"Hello"}],"max_tokens":16}`, "api-key", m.key)
}

// wantServedWithin asks a few times: backends of the group serve, and no others.
func (m *migration) wantServedWithin(address string, group []string) {
	m.t.Helper()
	seen := map[string]bool{}
	for range 8 {
		a := m.ask(address)
		if a.status != http.StatusOK || !slices.Contains(group, a.backend()) {
			m.t.Fatalf("%d by %q, want 200 by one of %v: %s", a.status, a.backend(), group, a.body)
		}
		seen[a.backend()] = true
	}
	m.t.Logf("%v: 8 requests served by %d of them", group, len(seen))
}

// identityService is the platform's token endpoint. What it gives back lists
// the client ids that it was asked for, each once.
func (m *migration) identityService(t *testing.T) func() []string {
	t.Helper()
	asked := make(chan string, 64)
	address := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Header.Get("X-Identity-Header") != "canary" || !strings.HasPrefix(q.Get("resource"), "https://cognitiveservices.azure.com") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		asked <- q.Get("client_id")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"access_token": jwt("https://cognitiveservices.azure.com"), "expires_on": "4102444800", "resource": q.Get("resource"), "token_type": "Bearer",
		})
	})
	m.env = append(m.env, "IDENTITY_ENDPOINT="+address+"/msi/token", "IDENTITY_HEADER=canary")
	return func() []string {
		var ids []string
		for len(asked) > 0 {
			ids = append(ids, <-asked)
		}
		slices.Sort(ids)
		return slices.Compact(ids)
	}
}
