package admin

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var declarations = regexp.MustCompile(`(?m)^(?:async )?(?:const|let|function|class) ([^=(;]+?)(?: =|\(|;)`)

// The modules are one script, whose names are those of all; each has what it imports
// before it.
func TestModulesOfThePageAreOneScript(t *testing.T) {
	script := string(pageScript())
	if strings.Contains(script, "import ") || strings.Contains(script, "export ") {
		t.Error("the script imports or exports")
	}
	declared := map[string]bool{}
	var modules string
	for _, name := range scripts {
		modules += joints.ReplaceAllString(string(pageFile(name)), "")
	}
	for _, m := range declarations.FindAllStringSubmatch(modules, -1) {
		for name := range strings.SplitSeq(strings.Trim(m[1], "{ }[]"), ",") {
			if name = strings.TrimSpace(name); declared[name] {
				t.Errorf("%s is declared twice", name)
			}
			declared[name] = true
		}
	}
	entries, err := files.ReadDir("page")
	if err != nil || len(declared) < 80 {
		t.Fatalf("%d names, %v", len(declared), err)
	}
	var embedded []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".js") {
			embedded = append(embedded, e.Name())
		}
	}
	if want := slices.Sorted(slices.Values(scripts)); !slices.Equal(embedded, want) {
		t.Errorf("the script has %q of %q", want, embedded)
	}
	for i, name := range scripts {
		for _, m := range regexp.MustCompile(`(?m)^import .*"\./(.*)";`).FindAllStringSubmatch(string(pageFile(name)), -1) {
			if at := slices.Index(scripts, m[1]); at < 0 || at >= i {
				t.Errorf("%s comes before %s, which it imports", name, m[1])
			}
		}
	}
}

// The page is the same for everybody and holds no data; it only knows whether it
// needs a key.
func TestPageHoldsNoData(t *testing.T) {
	for _, keyless := range []bool{true, false} {
		w := hostileScenario(time.Now)
		if w.cfg.Open = keyless; !keyless {
			w.cfg.Key = testKey
		}
		body := testRequest{path: "/ops/", header: map[string]string{"Accept": "text/html"}}.to(t, mount(w.cfg)).Body.String()
		if strings.Contains(body, "<body data-keyless>") != keyless || strings.Count(body, "<script") != 1 || strings.Contains(body, "onerror") {
			t.Errorf("keyless %v: %.200s", keyless, body)
		}
	}
}
