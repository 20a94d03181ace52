// Command infra-check checks infra/ offline: what the Bicep compiler and Terraform made of the templates, which is
// committed, against the rules of the product and against each other. scripts/infra-check.sh runs it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"spillway/scripts/infra-check/accept"
	"spillway/scripts/infra-check/check"
	"spillway/scripts/infra-check/plan"
	"spillway/scripts/infra-check/rules"
)

const usage = `usage: infra-check check ROOT              look for faults; warn of models that retire soon
       infra-check retirements ROOT        fail when a model of infra/models.json retires within 60 days
       infra-check accept ROOT SPILLWAY    hand the app settings of every example to "SPILLWAY validate"
       infra-check sorted FILE             print a preview or a compiled template with its members sorted, without what names the compiler
       infra-check sums ROOT LANGUAGE      print the hashes of what is given to the tools of bicep or terraform
       infra-check secrets ROOT EXAMPLE    print placeholders for its secrets, as TF_VAR_secrets wants them
       infra-check overrides PRINTED       read what "terraform test -json -verbose" printed; print the overrides for a second run
       infra-check plan ROOT FIRST SECOND  read what both runs printed; print the plan as it is committed`

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
	case command == "sorted" && len(rest) == 1:
		return printSorted(rest[0])
	case command == "sums" && len(rest) == 2:
		sums, err := check.Sums(rest[0], rest[1])
		fmt.Print(sums)
		return err
	case command == "secrets" && len(rest) == 2:
		secrets, err := check.Secrets(rest[0], rest[1])
		return errors.Join(err, printJSON(secrets))
	case command == "overrides" && len(rest) == 1:
		first, err := printed(rest[0])
		if err == nil {
			fmt.Print(first.Overrides())
		}
		return err
	case command == "plan" && len(rest) == 3:
		return printPlan(rest[0], rest[1], rest[2])
	}
	return errUsage
}

func printed(file string) (*plan.Plan, error) {
	f, err := os.Open(file) //nolint:gosec // a path from the command line
	if err != nil {
		return nil, fmt.Errorf("read what terraform printed: %w", err)
	}
	defer f.Close()
	return plan.Printed(f)
}

func printPlan(root, first, second string) error {
	before, err := printed(first)
	if err != nil {
		return err
	}
	after, err := printed(second)
	if err != nil {
		return err
	}
	made, err := plan.Resolve(before, after, root)
	if err != nil {
		return fmt.Errorf("resolve the plan: %w", err)
	}
	return printJSON(made)
}

// printJSON prints with sorted members.
func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func printSorted(file string) error {
	b, err := os.ReadFile(file) //nolint:gosec // a path from the command line
	if err != nil {
		return fmt.Errorf("read what bicep wrote: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return printJSON(anonymous(v))
}

// anonymous leaves out which compiler made a template: another version of it may make the same.
func anonymous(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = anonymous(v[i])
		}
	case map[string]any:
		if metadata, ok := v["metadata"].(map[string]any); ok {
			delete(metadata, "_generator")
			if len(metadata) == 0 {
				delete(v, "metadata")
			}
		}
		for name := range v {
			v[name] = anonymous(v[name])
		}
	}
	return v
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
