// Package cli is the command line: what `spillway` and its commands do.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

// errUsage is a command line that makes no sense: exit code 2.
var errUsage = errors.New("wrong usage")

// Main runs the command that the process was started with, and is its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "spillway:", err)
	}
	return exitCode(err)
}

// exitCode is what the shell, or the host, learns. The host never restarts a
// handler that ends with 0, so serving never does.
func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	return 1
}
