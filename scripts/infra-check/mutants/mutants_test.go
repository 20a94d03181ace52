package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/scripts/infra-check/check"
)

const root = "../../.."

func TestTheTreeItselfHasNoFindings(t *testing.T) {
	result, err := check.Run(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.Findings {
		t.Error(f)
	}
}

func TestEveryFaultIsCaughtByTheCheckThatIsForIt(t *testing.T) {
	for _, m := range All() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			out, err := Try(root, t.TempDir(), m)
			if err != nil {
				t.Fatal(err)
			}
			if !out.Noticed() {
				t.Errorf("%s: noticed by %v, not by %s", m.Name, out.Caught, m.Check)
			}
		})
	}
}

func TestFaultsHaveDifferentNames(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range All() {
		if seen[m.Name] {
			t.Errorf("two faults are called %q", m.Name)
		}
		seen[m.Name] = true
	}
}

func TestWhatIsSaidToBeMissedIsMissed(t *testing.T) {
	for _, m := range Missed() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			out, err := Try(root, t.TempDir(), m)
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Caught) > 0 {
				t.Errorf("%s is caught by %v: move it to the faults that are", m.Name, out.Caught)
			}
		})
	}
}

// The page that people read lists every fault; `infra-check faults` prints its tables.
func TestThePageOfChecksListsEveryFault(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "infra", "CHECKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(All(), Missed()...) {
		if !strings.Contains(string(page), "| "+m.Name+" |") {
			t.Errorf("CHECKS.md does not list %q", m.Name)
		}
	}
}
