package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	used   = regexp.MustCompile(`(?m)^\s*(?:- )?uses: *(\S+)`)
	pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
)

// What people copy into their forks runs other people's code only at the commit that was looked at, and has no rights but those it names.
func TestWorkflowsPinTheirActionsAndStartWithoutRights(t *testing.T) {
	files, err := filepath.Glob("../../../infra/workflows/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		actions := used.FindAllStringSubmatch(string(text), -1)
		if len(actions) == 0 {
			t.Errorf("%s uses nothing", file)
		}
		for _, a := range actions {
			if !pinned.MatchString(a[1]) {
				t.Errorf("%s: %s is not pinned to a commit", file, a[1])
			}
		}
		if !strings.Contains(string(text), "\npermissions: {}\n") {
			t.Errorf("%s does not begin with permissions: {}", file)
		}
	}
}
