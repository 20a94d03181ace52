// Command infra-check checks infra/ offline: Bicep, Terraform, and that the two say the same. scripts/infra-check.sh runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"spillway/scripts/infra-check/accept"
	"spillway/scripts/infra-check/check"
	"spillway/scripts/infra-check/mutants"
	"spillway/scripts/infra-check/rules"
	"spillway/scripts/infra-check/schemasource"
	"spillway/scripts/infra-check/tfstate"
	"spillway/scripts/infra-check/typesource"
)

const usage = `usage: infra-check check ROOT              look for faults; warn of models that retire soon
       infra-check retirements ROOT        fail when a model of infra/models.json retires within 60 days
       infra-check accept ROOT SPILLWAY    hand the app settings of every example to "SPILLWAY validate"
       infra-check faults ROOT             break copies of the tree on purpose; print which check caught which fault
       infra-check types DLL FILE          cut arm/types.json.gz out of Azure.Bicep.Types.Az.dll
       infra-check schema JSON FILE        cut tf/schema.json.gz out of what "terraform providers schema -json" prints
       infra-check state ROOT EXAMPLE FILE compare with what "terraform test -json -verbose" printed
       infra-check secrets ROOT EXAMPLE    print placeholders for its secrets, as TF_VAR_secrets wants them
       infra-check pool ROOT EXAMPLE       print the pool document of an example, with references left in`

var (
	errUsage    = errors.New(usage)
	errFindings = errors.New("there are findings")
	errRetiring = errors.New("models of infra/models.json retire within 60 days: choose others (infra/README.md, Choosing a model)")
)

func main() {
	err := run(context.Background(), os.Args[1:])
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	switch command, rest := args[0], args[1:]; {
	case command == "check" && len(rest) == 1:
		return find(rest[0])
	case command == "retirements" && len(rest) == 1:
		return retirements(rest[0], time.Now())
	case command == "accept" && len(rest) == 2:
		return acceptAll(ctx, rest[0], rest[1])
	case command == "faults" && len(rest) == 1:
		return faults(rest[0])
	case command == "types" && len(rest) == 2:
		return convert(rest[0], rest[1], typesource.Snapshot)
	case command == "schema" && len(rest) == 2:
		return convert(rest[0], rest[1], schemasource.Trim)
	case command == "state" && len(rest) == 3:
		return compareState(rest[0], rest[1], rest[2])
	case command == "secrets" && len(rest) == 2:
		return printSecrets(rest[0], rest[1])
	case command == "pool" && len(rest) == 2:
		return printPool(rest[0], rest[1])
	}
	return errUsage
}

func find(root string) error {
	result, err := check.Run(root)
	if err != nil {
		return err
	}
	for _, f := range result.Findings {
		fmt.Println(f)
	}
	fmt.Printf("%s; %d findings\n", result.Figures, len(result.Findings))
	if err := retirements(root, time.Now()); err != nil && !errors.Is(err, errRetiring) {
		return err
	}
	if len(result.Findings) > 0 {
		return errFindings
	}
	return nil
}

// notice is how long before a retirement a model has to be replaced: new deployments are refused well before the date.
const notice = 60 * 24 * time.Hour

// retirements prints the models that retire within the notice, and fails when there are any.
func retirements(root string, now time.Time) error {
	models, err := rules.ReadModels(root)
	if err != nil {
		return fmt.Errorf("read the dates: %w", err)
	}
	soon := models.Retiring(now.Add(notice))
	for _, line := range soon {
		fmt.Println("warning:", line)
	}
	if len(soon) > 0 {
		return errRetiring
	}
	return nil
}

func acceptAll(ctx context.Context, root, binary string) error {
	result, err := check.Run(root)
	if err != nil {
		return err
	}
	accepted, err := accept.All(ctx, binary, result.Examples)
	if err != nil {
		return err
	}
	for _, r := range accepted.Refused {
		fmt.Println(r)
	}
	fmt.Printf("%d sets of app settings accepted, %d refused; 2 wrong ones refused as they must be\n", accepted.Accepted, len(accepted.Refused))
	if len(accepted.Refused) > 0 {
		return errFindings
	}
	return nil
}

// faults prints the Markdown tables of infra/CHECKS.md.
func faults(root string) error {
	missed := 0
	fmt.Println("| fault | in | caught by |\n|---|---|---|")
	for _, m := range mutants.All() {
		dir, err := os.MkdirTemp("", "mutant")
		if err != nil {
			return fmt.Errorf("make a place for mutants: %w", err)
		}
		out, err := mutants.Try(root, dir, m)
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		fmt.Println(out.Row())
		if !out.Noticed() {
			missed++
		}
	}
	fmt.Printf("\n%d faults, %d missed\n", len(mutants.All()), missed)
	fmt.Println("\n| known to be missed | in | who would find it |\n|---|---|---|")
	for _, m := range mutants.Missed() {
		fmt.Printf("| %s | %s | %s |\n", m.Name, strings.TrimPrefix(m.File, "infra/"), m.Check)
	}
	if missed > 0 {
		return errFindings
	}
	return nil
}

func convert(from, to string, cut func([]byte) ([]byte, error)) error {
	b, err := os.ReadFile(from) //nolint:gosec // a path from the command line
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	out, err := cut(b)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, out, 0o644); err != nil { //nolint:gosec // a file of the repository
		return fmt.Errorf("write %s: %w", to, err)
	}
	return nil
}

func example(root, name string) (check.Example, error) {
	result, err := check.Run(root)
	if err != nil {
		return check.Example{}, err
	}
	for _, e := range result.Examples {
		if e.Name == name {
			return e, nil
		}
	}
	return check.Example{}, fmt.Errorf("there is no example %s", name)
}

func printPool(root, name string) error {
	e, err := example(root, name)
	if err != nil {
		return err
	}
	fmt.Println(e.Settings["SPILLWAY_CONFIG"])
	return nil
}

func printSecrets(root, name string) error {
	e, err := example(root, name)
	if err != nil {
		return err
	}
	b, err := json.Marshal(e.Secrets)
	if err != nil {
		return fmt.Errorf("print secrets: %w", err)
	}
	fmt.Println(string(b))
	return nil
}

func compareState(root, name, file string) error {
	e, err := example(root, name)
	if err != nil {
		return err
	}
	f, err := os.Open(file) //nolint:gosec // a path from the command line
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	differences, err := tfstate.Compare(f, e)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, d := range differences {
		fmt.Println(name+":", d)
	}
	if len(differences) > 0 {
		return errFindings
	}
	return nil
}
