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

// sumsFile has the hashes of the files that the previews and the compiled template were made from.
const sumsFile = "infra/bicep/sources.sum"

// Sums are the hashes of the files that previews are made from, as sha256sum writes them. They are committed as infra/bicep/sources.sum
// when the previews are made, and say later whether those are still what the sources give.
func Sums(root string) (string, error) {
	infra := os.DirFS(filepath.Join(root, "infra"))
	var lines []string
	for _, pattern := range []string{
		"bicep/*.bicep", "bicep/modules/*.bicep", "bicep/*/*.bicepparam", "models.json", "regions.json", "monitor/*.kql", "monitor/workbook.json",
	} {
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

// stale looks for sources that have changed since the previews were made.
func (r *run) stale() error {
	want, err := Sums(r.root)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(sumsFile)))
	if err != nil {
		return fmt.Errorf("read the sums: %w", err)
	}
	for _, file := range changed(string(b), want) {
		r.findings.Add("stale", file, "has changed since the previews were made: scripts/infra-check.sh --update")
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
