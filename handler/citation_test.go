package main

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	citation = regexp.MustCompile(`\bdocs/([a-z-]+\.md)(?:#([A-Za-z0-9_-]+))?`)
	link     = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	fence    = regexp.MustCompile("(?ms)^```.*?^```")
	// Documents that are not in the repository: nothing may rest on them.
	absent = regexp.MustCompile(`\bfacts/[a-z-]+\.md|\b(design|house)\.md|\.\./shared\b`)
)

// written are the files that cite pages; what is fetched or built is left out.
func written(t *testing.T, root fs.FS) map[string]string {
	t.Helper()
	kinds := []string{".go", ".md", ".sh", ".yml", ".yaml", ".tf", ".bicep", ".kql", ".mjs", ".js", ".html", ".pml"}
	texts := map[string]string{}
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", ".ci", "build", "node_modules"}, entry.Name()) {
			return fs.SkipDir
		}
		if entry.IsDir() || !slices.Contains(kinds, path.Ext(file)) || path.Base(file) == "citation_test.go" {
			return nil
		}
		text, err := fs.ReadFile(root, file)
		texts[file] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// anchors are the headings of a page as a link names them.
func anchors(text string) []string {
	var found []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		found = append(found, anchor(m[1]))
	}
	return found
}

// anchor is how GitHub writes a heading in a link.
func anchor(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r > 0x7f:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// faults are the citations of one file that lead nowhere.
func faults(root fs.FS, file, text string) []string {
	var found []string
	for _, m := range absent.FindAllString(text, -1) {
		found = append(found, "cites "+m+", which is not in the repository")
	}
	for _, m := range citation.FindAllStringSubmatch(text, -1) {
		found = append(found, missing(root, "docs/"+m[1], m[2])...)
	}
	if path.Ext(file) != ".md" {
		return found
	}
	for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		if strings.Contains(m[1], ":") {
			continue
		}
		target := file
		if m[1] != "" {
			target = path.Join(path.Dir(file), m[1])
		}
		found = append(found, missing(root, target, m[2])...)
	}
	return found
}

// missing says what is not there: the file, or its heading.
func missing(root fs.FS, file, anchor string) []string {
	info, err := fs.Stat(root, file)
	if err != nil {
		return []string{"cites " + file + ", which does not exist"}
	}
	if anchor == "" || info.IsDir() {
		return nil
	}
	text, err := fs.ReadFile(root, file)
	if err != nil || !slices.Contains(anchors(string(text)), anchor) {
		return []string{"cites " + file + "#" + anchor + ", a heading that does not exist"}
	}
	return nil
}

func TestCitedPagesAndHeadingsExist(t *testing.T) {
	root := os.DirFS("..")
	for file, text := range written(t, root) {
		for _, fault := range faults(root, file, text) {
			t.Errorf("%s %s", file, fault)
		}
	}
}

func TestDeadCitationsAreFound(t *testing.T) {
	root := os.DirFS("..")
	for text, want := range map[string]string{
		"see docs/no-such-page.md":                "docs/no-such-page.md, which does not exist",
		"see docs/architecture.md#no-such-part":   "docs/architecture.md#no-such-part, a heading that does not exist",
		"see [the page](docs/no-such-page.md)":    "docs/no-such-page.md, which does not exist",
		"see [a part](#no-such-part)":             "README.md#no-such-part, a heading that does not exist",
		"as facts" + "/azure-openai.md says":      "facts" + "/azure-openai.md, which is not in the repository",
		"the contract is design" + ".md":          "design" + ".md, which is not in the repository",
		"see [layers](docs/architecture.md#none)": "docs/architecture.md#none, a heading that does not exist",
	} {
		if found := strings.Join(faults(root, "README.md", text), "; "); !strings.Contains(found, want) {
			t.Errorf("%q: %q, want %q", text, found, want)
		}
	}
	if found := faults(root, "README.md", "see docs/architecture.md#layers and [it](docs/architecture.md#layers)"); found != nil {
		t.Errorf("a citation that leads somewhere: %q", found)
	}
}
