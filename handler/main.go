// Command spillway is an HTTP custom handler behind Azure Functions: one
// OpenAI-compatible address in front of many Azure OpenAI backends. Without
// arguments it serves; `spillway help` lists its other commands.
package main

import (
	"os"

	"spillway/handler/internal/cli"
)

func main() { os.Exit(cli.Main()) }
