// Package cli is the command line of spillway. Each command loads only the
// part of the configuration that it uses, prints data to standard output, and
// everything else to standard error.
package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"spillway/handler/internal/app"
)

// version is set by the linker.
var version = "dev"

// errUsage is a command line that is not understood: exit code 2.
var errUsage = errors.New("wrong usage")

// Main runs the command of this process and returns its exit code: 2 for wrong
// usage, 1 for any other error.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, app.ErrStopped) { // which the log has
		fmt.Fprintln(os.Stderr, "spillway:", err)
	}
	return exitCode(err)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	var unknown error // cobra's help cannot fail
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if c.HasSubCommands() {
			unknown = unknownCommand(c, c.Flags().Args())
		}
		if unknown == nil {
			help(c, args)
		}
	})
	err := root.ExecuteContext(ctx)
	return explained(cmp.Or(err, unknown))
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	return 1
}

// newRoot is the tree of the commands. Without a command, spillway serves: the
// Functions host starts it so.
func newRoot() *cobra.Command {
	serve := func(c *cobra.Command, _ []string) error { return app.Serve(c.Context(), version) }
	root := &cobra.Command{
		Use:   "spillway",
		Short: "One OpenAI-compatible address in front of many Azure OpenAI backends",
		Long: "Spillway is one OpenAI-compatible address in front of many Azure OpenAI backends.\n\n" +
			"Without a command it serves, on SPILLWAY_LISTEN or else on 127.0.0.1 and\nFUNCTIONS_CUSTOMHANDLER_PORT (8080). It is configured by environment variables:\nsee docs/configuration.md.\n\n" +
			"Data goes to standard output, everything else to standard error. Exit codes: 0 done;\n1 not done, and standard error says why and what helps; 2 wrong usage.",
		Example: "  SPILLWAY_CONFIG=@pool.json SPILLWAY_AUTH=none spillway\n  spillway validate --live",
		Version: versionText(), SilenceUsage: true, SilenceErrors: true,
		Args: unknownCommand, RunE: serve,
	}
	root.SetVersionTemplate("spillway {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError(c, "%w", err) })
	root.AddCommand(
		&cobra.Command{Use: "serve", Short: "Serve requests (the default)", Example: "  spillway serve", Args: noArgs, RunE: serve},
		validateCommand(), explainCommand(), schemaCommand(), configCommand(), backendsCommand(), keysCommand(), idsCommand(), usageCommand(), pricesCommand(), replayCommand(),
		statusCommand(), importCommand(), simulateCommand(), versionCommand(), completionCommand(),
	)
	root.SetHelpCommand(helpCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// usageError names what is wrong with the command line and where help is.
func usageError(c *cobra.Command, format string, values ...any) error {
	return fmt.Errorf("%w: %w; see %q", errUsage, fmt.Errorf(format, values...), c.CommandPath()+" --help")
}

// unknownCommand accepts no arguments, for commands that have subcommands.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	fix := ""
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		fix = fmt.Sprintf(" (did you mean %q?)", near[0])
	}
	return usageError(c, "there is no command %q%s", args[0], fix)
}

// group is a command that does nothing without a subcommand.
func group(c *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	c.Args = unknownCommand
	c.RunE = func(c *cobra.Command, _ []string) error { return usageError(c, "%s needs a command", c.CommandPath()) }
	c.AddCommand(subcommands...)
	return c
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(c, "%s takes no arguments", c.CommandPath())
	}
	return nil
}

// oneArg demands an argument of this name.
func oneArg(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError(c, "%s needs one %s", c.CommandPath(), name)
		}
		return nil
	}
}

// atMost allows so many arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return usageError(c, "%s takes at most %d arguments", c.CommandPath(), n)
		}
		return nil
	}
}

// jsonFlag adds --json to a command.
func jsonFlag(c *cobra.Command, set *bool) {
	c.Flags().BoolVar(set, "json", false, "print JSON")
}

// errCSVAndJSON is for commands that print either.
func errCSVAndJSON(c *cobra.Command) error {
	return usageError(c, "--csv and --json exclude each other")
}

func printJSON(out io.Writer, value any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// versionJSON is the version for programs.
type versionJSON struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func versionOf() versionJSON {
	return versionJSON{version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
}

func versionText() string {
	v := versionOf()
	return fmt.Sprintf("%s %s %s/%s", v.Version, v.Go, v.OS, v.Arch)
}
