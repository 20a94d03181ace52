package migrate

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

var update = flag.Bool("update", false, "write golden files")

// samples are configurations in the shape that their makers publish.
var samples = []struct{ source, file string }{
	{"openai-apim-lb", "openai-apim-lb.xml"},
	{"openai-apim-lb", "openai-apim-lb-azd.xml"},
	{"apim-pool", "apim-pool-arm.json"},
	{"apim-pool", "apim-pool-rest.json"},
	{"apim-pool", "apim-pool-terraform.json"},
	{"apim-pool", "apim-pool-azurerm.json"},
	{"aca-lb", "aca-lb.env"},
	{"aca-lb", "aca-lb-containerapp.yaml"},
	{"litellm", "litellm.yaml"},
	{"powerproxy", "powerproxy.yaml"},
	{"bifrost", "bifrost.json"},
	{"portkey", "portkey.json"},
	{"list", "list.csv"},
	{"list", "list.yaml"},
	{"aca-lb", "aca-lb-parameters.json"},
	{"aca-lb", "aca-lb.bicepparam"},
	{"aca-lb", "aca-lb-template.json"},
	{"apim-pool", "apim-pool-plan.json"},
}

func TestSamples(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if err := Run(t.Context(), s.source, filepath.Join("testdata", s.file), Options{}, &stdout, &stderr); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", s.file+".golden"), stdout.String()+"\n"+stderr.String())
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got, -update to accept):\n%s", diff)
	}
}

func TestImportedDocumentsAreValid(t *testing.T) {
	for _, s := range samples {
		r := imported(t, s.source, s.file)
		_, err := document.Parse("", r.Document.Print())
		faults, _ := errors.AsType[jsondoc.Faults](err)
		for _, f := range faults {
			if f.Problem != "still holds a placeholder" {
				t.Errorf("%s: %v\n%s", s.file, f, r.Document.Print())
			}
		}
	}
}

func imported(t *testing.T, source, file string) *Result {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Import(source, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKeysAreNeverCopied(t *testing.T) {
	secrets := []string{
		"5f2c9d1e", "33b9996ce4644bc0893c7988bae349af", "28ef59ae30342978f81c4ad96ce47ab", "1113456789abcdef0123456789abcde",
		"hunter2", "sk-1234567890abcdef", "postgresql://", `"secret"`,
	}
	for _, s := range samples {
		r := imported(t, s.source, s.file)
		var out bytes.Buffer
		out.Write(r.Document.Print())
		if err := r.Report(&out); err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s: %q is in\n%s", s.file, secret, out.String())
			}
		}
	}
}

func TestYAMLMergesAndAliasesAreFollowed(t *testing.T) {
	v, _, err := parse([]byte("base: &b {x: 1, y: 2}\nfirst: {<<: *b, x: 3}\nlast: {x: 4, <<: *b}\nmany: {<<: [*b, {z: 5}]}\nsame: *b\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"first": "x=3 y=2", "last": "x=4 y=2", "many": "x=1 y=2 z=5", "same": "x=1 y=2"} {
		var got []string
		for _, name := range []string{"x", "y", "z"} {
			if m := v.at(path).at(name); m != nil {
				got = append(got, name+"="+m.text)
			}
		}
		if strings.Join(got, " ") != want || len(v.at(path).members) != len(got) {
			t.Errorf("%s: got %v with %d members, want %s", path, got, len(v.at(path).members), want)
		}
	}
}

func TestARMExpressions(t *testing.T) {
	v, _, err := parse([]byte(`{"parameters": {"p": {"defaultValue": "pp"}, "q": {"type": "string"}}, "variables": {"v": "[concat(parameters('p'), '-v')]", "loop": "[variables('loop')]"}}`))
	if err != nil {
		t.Fatal(err)
	}
	a := arm{parameters: v.at("parameters"), variables: v.at("variables")}
	for raw, want := range map[string]string{
		"plain": "plain", "[[escaped]": "[[escaped]", "['it''s']": "it's", "[concat('a', '/', parameters('p'))]": "a/pp",
		"[format('{0}/{1}-{2}', variables('v'), 7, toLower('X'))]": "pp-v/7-x", "[parameters('q')]": "?", "[reference('x').y]": "?",
		"[concat('a'": "[concat('a'", "[concat('a', ]": "?", "[]": "?", "[variables('loop')]": "?", "['open]": "?", "[format('{3}', 'a')]": "{3}",
	} {
		got, ok := a.text(raw)
		if !ok {
			got = "?"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
	if name := a.name("[resourceId('Microsoft.ApiManagement/service/backends', parameters('q'), 'b')]"); name != "b" {
		t.Errorf("got %q, want the last literal", name)
	}
}

func TestInvalidFilesAreRefused(t *testing.T) {
	for _, c := range []struct{ source, text, want string }{
		{"litelm", "", `unknown source. Did you mean "litellm"?`},
		{"litellm", "model_list: []", "no backends found"},
		{"litellm", "a: [", "neither JSON nor YAML"},
		{"litellm", "", "no backends found"},
		{"powerproxy", "{}", "no backends found"},
		{"openai-apim-lb", "<policies/>", "no backends found"},
		{"aca-lb", "PATH=/bin", "no backends found"},
		{"apim-pool", `resource "azurerm_api_management_backend" "b" {}`, "terraform show -json"},
		{"apim-pool", "{}", "no backends found"},
		{"litellm", "a: &a [*a]", "nested more than 64 deep"},
	} {
		r, err := Import(c.source, []byte(c.text), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || r != nil {
			t.Errorf("%s of %q: got %v, want %q", c.source, c.text, err, c.want)
		}
	}
}

// FuzzImport holds that no text makes an importer panic, and that what comes
// out can be printed and understood but for faults with a place.
func FuzzImport(f *testing.F) {
	for i, s := range samples {
		text, err := os.ReadFile(filepath.Join("testdata", s.file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i%len(Sources()), text)
		for n, source := range Sources() {
			if source == s.source {
				f.Add(n, text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, n int, text []byte) {
		if n < 0 || n >= len(Sources()) {
			return
		}
		r, err := Import(Sources()[n], text, Options{})
		if err != nil {
			return
		}
		if _, err := document.Parse("", r.Document.Print()); err != nil {
			if faults, ok := errors.AsType[jsondoc.Faults](err); !ok || faults[0].Line == 0 {
				t.Fatalf("%v\n%s", err, r.Document.Print())
			}
		}
		if err := r.Report(new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
	})
}
