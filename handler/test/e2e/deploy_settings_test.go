package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	poolfile "spillway/handler/internal/config/document"
)

// emitted is where the pool documents of infra/ lie, as Bicep and Terraform
// make them of the examples; scripts/infra-check holds the files to that.
const emitted = "../../../scripts/infra-check/accept/testdata"

// TestTemplatePoolDocumentsRoundTrip reads what the templates emit,
// prints it and reads it again.
func TestTemplatePoolDocumentsRoundTrip(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(emitted, "*.json"))
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
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

// TestTemplatePoolsFailOver serves with what the templates emit: the map
// of accounts becomes the order in which their deployments are tried.
func TestTemplatePoolsFailOver(t *testing.T) {
	t.Parallel()
	// The identity that the checker fills in for the one that Azure makes.
	identity := []string{"22222222-3333-4444-5555-666666666666"}
	for _, c := range []struct {
		example, model string
		env            []string
		groups         [][]string
	}{
		{"minimum", "gpt-5.4-mini", nil, [][]string{{"eastus-gpt-5.4-mini", "sweden-gpt-5.4-mini"}}},
		{"ptu-payg", "gpt-5.1", nil, [][]string{{"france-gpt-5.1-ptu", "sweden-gpt-5.1-ptu"}, {"france-gpt-5.1", "sweden-gpt-5.1"}, {"legacy-gpt-5.1"}, {"last-resort"}}},
		// Its consumer may use no other geography: three backends are never tried.
		{"multi-region", "gpt-5.1", []string{"REGION_NAME=Sweden Central"}, [][]string{{"swedencentral-gpt-5.1"}, {"francecentral-gpt-5.1"}}},
		{"multi-region", "gpt-5.1", []string{"REGION_NAME=East US 2"}, [][]string{{"swedencentral-gpt-5.1", "francecentral-gpt-5.1"}}},
		{"locked-down", "gpt-5.1", nil, [][]string{{"bought-gpt-5.1-ptu"}, {"sweden-gpt-5.1"}}},
	} {
		t.Run(c.example, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(emitted, c.example+".json"))
			if err != nil {
				t.Fatal(err)
			}
			pool := importedPool{t: t, document: string(text), model: c.model, groups: c.groups, env: c.env, identity: identity}
			for name, key := range pool.read() {
				pool.env = append(pool.env, name+"="+key)
			}
			pool.wantFailover()
		})
	}
}
