package check

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sources are, for each language, the patterns of the files that what is committed beside them is made from, below infra. A plan names the
// files of monitor, a preview has their text.
func sources() map[string][]string {
	return map[string][]string{
		"bicep":     {"bicep/*.bicep", "bicep/modules/*.bicep", "bicep/*/*.bicepparam", "models.json", "regions.json", "monitor/*.kql", "monitor/workbook.json"},
		"terraform": {"terraform/*.tf", "terraform/modules/*/*.tf", "terraform/*/*.tfvars", "terraform/tests/*.hcl", "terraform/tests/*/*.hcl", "models.json", "regions.json"},
	}
}

// Sums are the hashes of the files that the previews or the plans are made from, as sha256sum writes them. They are committed as
// infra/<language>/sources.sum when those are made, and say later whether they are still what the sources give.
func Sums(root, language string) (string, error) {
	infra := os.DirFS(filepath.Join(root, "infra"))
	var lines []string
	for _, pattern := range sources()[language] {
		files, err := fs.Glob(infra, pattern)
		if err != nil {
			return "", fmt.Errorf("list %s: %w", pattern, err)
		}
		for _, file := range files {
			b, err := fs.ReadFile(infra, file)
			if err != nil {
				return "", fmt.Errorf("read %s: %w", file, err)
			}
			lines = append(lines, fmt.Sprintf("%x  %s", sha256.Sum256(b), file))
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return strings.Join(lines, "\n") + "\n", nil
}

// stale looks for sources that have changed since the previews or the plans were made.
func (r *run) stale() error {
	for language := range sources() {
		want, err := Sums(r.root, language)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(r.root, "infra", language, "sources.sum")) //nolint:gosec // a file of the tree that is checked
		if err != nil {
			return fmt.Errorf("read the sums: %w", err)
		}
		for _, file := range changed(string(b), want) {
			r.findings.Add("stale", file, "has changed since it was given to the tools: scripts/infra-check.sh --update %s", language)
		}
	}
	return nil
}

// changed names the files whose lines are in one list only.
func changed(a, b string) []string {
	in := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(a+b), "\n") {
		in[line]++
	}
	var out []string
	for line, n := range in {
		if _, file, ok := strings.Cut(line, "  "); ok && n == 1 && !slices.Contains(out, "infra/"+file) {
			out = append(out, "infra/"+file)
		}
	}
	return out
}
