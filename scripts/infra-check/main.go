// Command infra-check checks infra/ offline: Bicep, Terraform, and that the two say the same. scripts/infra-check.sh runs it.
package main

import (
	"fmt"
	"os"

	"spillway/scripts/infra-check/check"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	result, err := check.Run(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	for _, f := range result.Findings {
		fmt.Println(f)
	}
	fmt.Printf("%s; %d findings\n", result.Figures, len(result.Findings))
	if len(result.Findings) > 0 {
		os.Exit(1)
	}
}
