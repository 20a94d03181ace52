package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/migrate"
	"spillway/handler/internal/simulator"
)

// command is one word after `spillway`.
type command struct {
	name, synopsis string
	run            func(ctx context.Context, args []string, out io.Writer) error
}

func commands() []command {
	return []command{
		{"validate", "[--live]: check the configuration of this environment and print what was understood; --live asks the backends, the table and host.json too", validate},
		{"explain", "--model M [--tokens N] [--stream]: who would be tried in which order, and why", explain},
		{"schema", "print the JSON Schema of the pool document", schema},
		{"backends", "list | drain NAME | restore NAME | reset NAME: the whole fleet's state, and an operator's word to it", backends},
		{"keys", "add CONSUMER [--expires 2160h] | list | revoke ID: keys that all instances accept without a restart", keysCommand},
		{"usage", "[--from T --to T --by consumer,model,backend --csv]: tokens and money of the whole fleet", usageCommand},
		{"import", strings.Join(migrate.Sources(), "|") + " FILE: turn a predecessor's configuration into a pool document", importFrom},
		{"simulate", "run the simulated Azure OpenAI service; --help lists its flags", simulate},
		{"version", "print the version", printVersion},
	}
}

// dispatch runs the command that the arguments name; none is to serve.
func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return app.Serve(ctx, version)
	}
	if name := strings.TrimLeft(args[0], "-"); name == "help" || name == "h" {
		return help(os.Stdout)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], os.Stdout)
		}
	}
	return fmt.Errorf("%w: there is no command %q; `spillway help` lists them", errUsage, args[0])
}

func help(out io.Writer) error {
	text := "usage: spillway            serve, on 127.0.0.1:$FUNCTIONS_CUSTOMHANDLER_PORT (8080) or SPILLWAY_LISTEN\n"
	for _, c := range commands() {
		text += fmt.Sprintf("       spillway %-9s  %s\n", c.name, c.synopsis)
	}
	_, err := io.WriteString(out, text)
	return err
}

func none(args []string, name string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %s takes no arguments", errUsage, name)
	}
	return nil
}

func validate(ctx context.Context, args []string, out io.Writer) error {
	live := len(args) == 1 && args[0] == "--live"
	if len(args) > 0 && !live {
		return fmt.Errorf("%w: spillway validate [--live]", errUsage)
	}
	if err := config.Validate(out); err != nil || !live {
		return err
	}
	return validateLive(ctx, out)
}

func schema(_ context.Context, args []string, out io.Writer) error {
	if err := none(args, "schema"); err != nil {
		return err
	}
	return config.PrintSchema(out)
}

// importFrom writes the pool document to out, and to stderr what could not be
// carried over.
func importFrom(_ context.Context, args []string, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: spillway import %s FILE (- is standard input)", errUsage, strings.Join(migrate.Sources(), "|"))
	}
	return migrate.Run(args[0], args[1], out, os.Stderr)
}

func printVersion(_ context.Context, args []string, out io.Writer) error {
	if err := none(args, "version"); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "spillway %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func simulate(ctx context.Context, args []string, out io.Writer) error {
	err := simulator.Main(ctx, args, out)
	if errors.Is(err, simulator.ErrUsage) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}
