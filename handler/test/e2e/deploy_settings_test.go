package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	poolfile "spillway/handler/internal/config/document"
)

// emitted is where the app settings of the examples in infra/ lie, as Bicep
// and Terraform make them; scripts/infra-check holds the files to both.
const emitted = "../../../scripts/infra-check/accept/testdata"

// emittedSettings reads the settings of one file; the pool document is among
// them as the program gets it.
func emittedSettings(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(emitted, file))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	settings := map[string]string{}
	for name, raw := range all {
		var value string
		if json.Unmarshal(raw, &value) != nil {
			var indented bytes.Buffer
			if err := json.Indent(&indented, raw, "", "  "); err != nil {
				t.Fatalf("%s: %s: %v", file, name, err)
			}
			value = indented.String()
		}
		settings[name] = value
	}
	return settings
}

// TestTemplatePoolDocumentsRoundTrip reads what the templates emit,
// prints it and reads it again.
func TestTemplatePoolDocumentsRoundTrip(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(emitted, "*.json"))
	if err != nil || len(files) < 9 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text := []byte(emittedSettings(t, filepath.Base(file))["SPILLWAY_CONFIG"])
		first, err := poolfile.Parse("", text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		second, err := poolfile.Parse("", first.Print())
		if err != nil {
			t.Fatalf("%s, printed: %v\n%s", file, err, first.Print())
		}
		if diff := cmp.Diff(first, second); diff != "" || len(first.Backends) == 0 {
			t.Errorf("%s: %d backends, printed and read again (-first +second):\n%s", file, len(first.Backends), diff)
		}
	}
}

var (
	// storageAddress is an account's address: here nothing answers at it, which holds nothing up.
	storageAddress = regexp.MustCompile(`https://[a-z0-9]+\.(table|blob)\.core\.windows\.net`)
	// templateIdentity is the client id that the checker fills in for the one that Azure makes.
	templateIdentity = []string{"22222222-3333-4444-5555-666666666666"}
)

// TestTemplateSettingsFailOver serves with the app settings of every example and
// nothing else; only addresses are changed, to those of the doubles. The map of
// accounts becomes the order in which their deployments are tried.
func TestTemplateSettingsFailOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		example, model, region string
		groups                 [][]string
	}{
		{"minimum", "gpt-5.4-mini", "", [][]string{{"eastus-gpt-5.4-mini", "sweden-gpt-5.4-mini"}}},
		{"ptu-payg", "gpt-5.1", "", [][]string{{"france-gpt-5.1-ptu", "sweden-gpt-5.1-ptu"}, {"france-gpt-5.1", "sweden-gpt-5.1"}, {"legacy-gpt-5.1"}, {"last-resort"}}},
		// Its consumer may use no other geography: three backends are never tried.
		{"multi-region", "gpt-5.1", "Sweden Central", [][]string{{"swedencentral-gpt-5.1"}, {"francecentral-gpt-5.1"}}},
		{"multi-region", "gpt-5.1", "East US 2", [][]string{{"swedencentral-gpt-5.1", "francecentral-gpt-5.1"}}},
		{"locked-down", "gpt-5.1", "", [][]string{{"bought-gpt-5.1-ptu"}, {"sweden-gpt-5.1"}}},
		{"premium", "gpt-5.1", "", [][]string{{"uk-gpt-5.1"}, {"sweden-gpt-5.1"}}},
		{"app-gateway", "gpt-5.1", "", [][]string{{"france-gpt-5.1", "sweden-gpt-5.1"}}},
		{"apex", "gpt-5.1", "", [][]string{{"one-gpt-5.1"}}},
		{"own-dns", "gpt-5.1", "", [][]string{{"one-gpt-5.1", "two-gpt-5.1"}}},
		{"corners", "gpt-5.1", "", [][]string{{"home-regional", "nowhere-zonal", "shared-batch"}}},
	} {
		t.Run(c.example+c.region, func(t *testing.T) {
			t.Parallel()
			settings := emittedSettings(t, c.example+".json")
			pool := importedPool{t: t, document: settings["SPILLWAY_CONFIG"], model: c.model, groups: c.groups, settings: settings, identity: templateIdentity}
			pool.read()
			if settings["SPILLWAY_AUTH"] == "entra" {
				pool.signIn()
			}
			for name, value := range settings {
				if name != "SPILLWAY_CONFIG" {
					pool.env = append(pool.env, name+"="+storageAddress.ReplaceAllString(value, "http://127.0.0.1:1"))
				}
			}
			if c.region != "" {
				pool.env = append(pool.env, "REGION_NAME="+c.region)
			}
			pool.wantFailover()
		})
	}
}

// signIn puts an issuer in the place of Entra ID, and has the caller send its token.
func (p *importedPool) signIn() {
	p.t.Helper()
	var d struct {
		Consumers []struct{ Entra struct{ AppID string } }
	}
	if err := json.Unmarshal([]byte(p.document), &d); err != nil {
		p.t.Fatal(err)
	}
	i := startIssuer(p.t)
	p.settings["SPILLWAY_ENTRA_ISSUER"] = i.url
	p.header = "authorization"
	p.key = "Bearer " + i.token("aud", p.settings["SPILLWAY_ENTRA_AUDIENCE"], "tid", p.settings["SPILLWAY_ENTRA_TENANT"], "azp", d.Consumers[0].Entra.AppID)
}
