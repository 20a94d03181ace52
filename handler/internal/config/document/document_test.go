package document

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/config/jsondoc"
)

// samples is the valid documents, by file.
func samples(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/valid/*.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	found := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found[file] = string(text)
	}
	return found
}

func TestPrintedDocumentParsesTheSame(t *testing.T) {
	for name, text := range samples(t) {
		d, err := Parse("", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := Parse("", d.Print())
		if err != nil {
			t.Fatalf("%s, printed: %v\n%s", name, err, d.Print())
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Errorf("%s: printed and read again (-first +second):\n%s", name, diff)
		}
	}
}

func TestDefaultsAreNotPrinted(t *testing.T) {
	d, err := Parse("", []byte(`{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com", "priority": 1, "weight": 1, "kind": "azure-openai", "auth": {}}], "throttle": {"maxWait": "300s"}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "backends": [
    {
      "name": "a",
      "endpoint": "https://a.openai.azure.com"
    }
  ]
}
`
	if got := string(d.Print()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWeightZeroIsPrinted(t *testing.T) {
	d, err := Parse("", []byte(`{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com", "weight": 0}, {"name": "b", "endpoint": "https://b.openai.azure.com"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(d.Print()); !strings.Contains(got, `"weight": 0`) {
		t.Errorf("got %s, want weight 0 in it", got)
	}
}

// FuzzDocument holds that no text makes the parser panic, that every fault is
// complete, and that what is printed is understood as what it was printed from.
func FuzzDocument(f *testing.F) {
	for _, text := range samples(f) {
		f.Add([]byte(text))
	}
	for _, text := range []string{
		"", "{", "[]", `{"backends": [{"name": "a", "endpont": 1, "priority": "1"}]}`, `{"backends": [{"name": "a", "endpoint": "http://a"}, {"name": "a"}]}`,
		`{"backends": [{"name": "a", "endpoint": "https://a.b", "deployments": {"m": "*"}}], "models": {"m": {"fallbacks": ["m"], "hedge": {"after": "0s"}}, "n": {}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse("", text)
		if err != nil {
			faults, ok := err.(jsondoc.Faults) //nolint:errorlint // it is promised to be no other
			if !ok {
				t.Fatalf("%T, want strict.Faults", err)
			}
			for _, fault := range faults {
				if fault.Path == "" || fault.Problem == "" || fault.Fix == "" || fault.Line < 1 || fault.Column < 1 {
					t.Fatalf("incomplete: %+v", fault)
				}
			}
			return
		}
		printed := d.Print()
		again, err := Parse("", printed)
		if err != nil {
			t.Fatalf("printed: %v\n%s", err, printed)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Fatalf("printed and read again (-first +second):\n%s\n%s", diff, printed)
		}
	})
}
