// Package mutants breaks copies of the tree on purpose: a check that cannot fail checks nothing.
package mutants

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"spillway/scripts/infra-check/check"
)

// Mutant is one fault: Old becomes New in File. Check is the check that has to notice; others may too.
type Mutant struct {
	Name  string
	File  string
	Old   string
	New   string
	Check string
}

// Outcome is what became of a mutant: the checks that noticed, in order of name.
type Outcome struct {
	Mutant Mutant
	Caught []string
	First  string // one finding of the expected check
}

// All lists every fault.
func All() []Mutant {
	return slices.Concat(known(), wiring(), security(), product(), terraform(), tree())
}

// Try breaks a copy of the tree in dir and checks it.
func Try(root, dir string, m Mutant) (Outcome, error) {
	out := Outcome{Mutant: m}
	if err := copyTree(root, dir); err != nil {
		return out, err
	}
	if err := m.apply(dir); err != nil {
		return out, err
	}
	result, err := check.Run(dir)
	if err != nil {
		return out, fmt.Errorf("check mutant %q: %w", m.Name, err)
	}
	for _, f := range result.Findings {
		if !slices.Contains(out.Caught, f.Check) {
			out.Caught = append(out.Caught, f.Check)
		}
		if f.Check == m.Check && out.First == "" {
			out.First = f.String()
		}
	}
	slices.Sort(out.Caught)
	return out, nil
}

// Noticed tells whether the check that is for the fault caught it.
func (o Outcome) Noticed() bool { return slices.Contains(o.Caught, o.Mutant.Check) }

// Row is a line of the table of faults; the check that is for the fault comes first.
func (o Outcome) Row() string {
	caught := []string{"**missed**"}
	if o.Noticed() {
		caught = []string{o.Mutant.Check}
	}
	for _, c := range o.Caught {
		if c != o.Mutant.Check {
			caught = append(caught, c)
		}
	}
	return fmt.Sprintf("| %s | %s | %s |", o.Mutant.Name, strings.TrimPrefix(o.Mutant.File, "infra/"), strings.Join(caught, ", "))
}

func (m Mutant) apply(dir string) error {
	tree, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open copy: %w", err)
	}
	return errors.Join(m.change(tree), tree.Close())
}

func (m Mutant) change(tree *os.Root) error {
	if m.Old == "" {
		if err := tree.Remove(m.File); err != nil {
			return fmt.Errorf("break %s: %w", m.File, err)
		}
		return nil
	}
	before, err := tree.ReadFile(m.File)
	if err != nil {
		return fmt.Errorf("break %s: %w", m.File, err)
	}
	after := strings.Replace(string(before), m.Old, m.New, 1)
	if after == string(before) {
		return fmt.Errorf("break %s: there is no %q in it any more: change the mutant %q", m.File, m.Old, m.Name)
	}
	if err := tree.WriteFile(m.File, []byte(after), 0o600); err != nil {
		return fmt.Errorf("break %s: %w", m.File, err)
	}
	return nil
}

// copyTree copies what is checked: infra and host.json.
func copyTree(root, dir string) error {
	if err := os.CopyFS(filepath.Join(dir, "infra"), os.DirFS(filepath.Join(root, "infra"))); err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	whole := os.DirFS(root)
	host, err := fs.ReadFile(whole, "host.json")
	if err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	copied, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	if err := errors.Join(copied.WriteFile("host.json", host, 0o600), copied.Close()); err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	return nil
}
