package typesource

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Types that nothing uses make the snapshot larger and hide which ones matter.
func TestEveryWantedTypeIsUsed(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, pattern := range []string{"bicep/*.bicep", "bicep/modules/*.bicep", "terraform/modules/*/*.tf"} {
		files, err := filepath.Glob(filepath.Join("../../../infra", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", pattern, files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	for line := range strings.Lines(wanted) {
		name := strings.TrimSpace(line)
		if name == "" || name[0] == '#' {
			continue
		}
		kind, version, _ := strings.Cut(name, "@")
		last := kind[strings.LastIndex(kind, "/")+1:]
		if !strings.Contains(all.String(), name) && !strings.Contains(all.String(), "'"+last+"'") {
			t.Errorf("%s@%s is used nowhere", kind, version)
		}
	}
}
