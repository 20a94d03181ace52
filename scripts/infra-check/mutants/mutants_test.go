package mutants

import (
	"fmt"
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

// page is what people read; `infra-check faults` prints its tables anew.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "infra", "CHECKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryFaultIsCaughtByTheCheckThatIsForItAsThePageSays(t *testing.T) {
	said := page(t)
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
			if !strings.Contains(said, out.Row()+"\n") {
				t.Errorf("CHECKS.md does not have the row\n%s", out.Row())
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

func TestThePageOfChecksCountsTheFaultsAndNamesTheMissedOnes(t *testing.T) {
	said := page(t)
	if want := fmt.Sprintf("\n%d faults, none missed.\n", len(All())); !strings.Contains(said, want) {
		t.Errorf("CHECKS.md does not say %q", strings.TrimSpace(want))
	}
	for _, m := range Missed() {
		if !strings.Contains(said, "| "+m.Name+" | "+strings.TrimPrefix(m.File, "infra/")+" | "+m.Check+" |") {
			t.Errorf("CHECKS.md does not list %q as missed", m.Name)
		}
	}
}
