package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"spillway/handler/internal/app"
	"spillway/handler/internal/cli/preflight"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/migrate"
	"spillway/handler/internal/simulator"
)

func validateCommand() *cobra.Command {
	var live, asJSON bool
	c := &cobra.Command{
		Use: "validate", Short: "Check the configuration of this environment",
		Long:    "Checks the configuration of this environment and prints what was understood.\nEvery fault is reported with its place and its fix.",
		Example: "  spillway validate\n  spillway validate --live   # also asks the backends, the table and host.json\n  spillway validate --json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			check := config.Validate
			if asJSON {
				check = validateJSON
			}
			if err := check(c.OutOrStdout()); err != nil || !live {
				return err
			}
			out := c.OutOrStdout()
			if asJSON {
				out = c.ErrOrStderr()
			}
			return validateLive(c.Context(), out)
		},
	}
	c.Flags().BoolVar(&live, "live", false, "ask the backends, the table and host.json too")
	jsonFlag(c, &asJSON)
	return c
}

// faultJSON is a fault or a warning of the configuration.
type faultJSON struct {
	Path    string `json:"path"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Problem string `json:"problem"`
	Fix     string `json:"fix,omitempty"`
}

func faultsJSON(faults config.Faults) []faultJSON {
	all := make([]faultJSON, len(faults))
	for i, f := range faults {
		all[i] = faultJSON(f)
	}
	return all
}

// validateJSON prints the faults of the configuration. The error is them again.
func validateJSON(out io.Writer) error {
	cfg, err := config.Load()
	faults, _ := errors.AsType[config.Faults](err)
	return errors.Join(err, printJSON(out, struct {
		Valid     bool        `json:"valid"`
		Faults    []faultJSON `json:"faults"`
		Warnings  []faultJSON `json:"warnings"`
		Backends  int         `json:"backends"`
		Models    int         `json:"models"`
		Consumers int         `json:"consumers"`
	}{err == nil, faultsJSON(faults), faultsJSON(cfg.Warnings), len(cfg.Resources), len(cfg.Pools), len(cfg.Consumers)}))
}

// validateLive asks the backends, the table and host.json whether the
// configuration fits them. The findings go to out, the error counts the faults.
func validateLive(ctx context.Context, out io.Writer) error {
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	client, runners, err := app.NewBackendClient(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	input := &preflight.Input{Targets: client.Targets, Pools: cfg.Pools, APIVersion: client.APIVersion, Host: hostFiles(cfg)}
	if where := &cfg.Settings.State; !where.Memory() {
		store, err := app.OpenStore(cfg, cfg.Settings.StateTable)
		if err != nil {
			return err
		}
		input.State = preflight.State{Store: store, Setting: where.Setting, SharedKey: where.Text.Set()}
	}
	defer app.Start(ctx, runners)()
	report := preflight.Run(ctx, input)
	if err := report.Print(out); err != nil {
		return err
	}
	if n := report.Count(preflight.Error); n > 0 {
		return fmt.Errorf("the configuration is valid, but does not fit what it names: %d errors, see the lines that begin with \"error\"", n)
	}
	return nil
}

// hostFiles finds host.json: in the folder of the program, or else in the
// current one.
func hostFiles(cfg *config.Config) preflight.Host {
	h := preflight.Host{Folders: []string{"."}, Hosted: !cfg.Settings.Standalone, Runtime: os.Getenv("FUNCTIONS_WORKER_RUNTIME")}
	if program, err := os.Executable(); err == nil {
		h.Folders = []string{filepath.Dir(program), "."}
	}
	return h
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the pool document", Example: "  spillway schema > pool.schema.json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return config.PrintSchema(c.OutOrStdout()) },
	}
}

func importCommand() *cobra.Command {
	sources := migrate.Sources()
	var o migrate.Options
	c := &cobra.Command{
		Use: "import SOURCE FILE", Short: "Convert another gateway's configuration to a pool document",
		Long: "Converts another gateway's configuration to a pool document, on standard output.\nWhat cannot be converted is listed on standard error.\n\n" +
			"SOURCE is one of: " + strings.Join(sources, ", ") + ".\nFILE is a path, or - for standard input. Bicep files are compiled by the bicep on the PATH or in BICEP.\n" +
			"Variables that a file names for addresses are read from this environment; keys are not.\ndocs/migration.md has the files that each source takes.",
		Example: "  spillway import litellm config.yaml > pool.json\n  spillway import apim-pool main.bicepparam --endpoint ptu=https://contoso.openai.azure.com > pool.json", ValidArgs: sources,
		Args: func(c *cobra.Command, args []string) error {
			switch all := strings.Join(sources, ", "); {
			case len(args) > 0 && !slices.Contains(sources, args[0]):
				return usageError(c, "%q is no source: write one of %s", args[0], all)
			case len(args) != 2:
				return usageError(c, "%s needs a source (%s) and a file", c.CommandPath(), all)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.Getenv = os.Getenv
			return migrate.Run(c.Context(), args[0], args[1], o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringToStringVar(&o.Endpoints, "endpoint", nil, "`NAME=URL` of a backend whose endpoint is not in the file; repeatable")
	c.Flags().StringVar(&o.Parameters, "parameters", "", "JSON `FILE` with the parameters of a Bicep file")
	return c
}

// simulateCommand passes its flags on: they belong to the simulator.
func simulateCommand() *cobra.Command {
	const example = "  spillway simulate --listen 127.0.0.1:9100"
	return &cobra.Command{
		Use: "simulate", Short: "Run a simulated Azure OpenAI service", Example: example, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			help := slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "--help" || a == "-help" })
			if help {
				fmt.Fprintf(c.OutOrStdout(), "Examples:\n%s\n\n", example)
			}
			err := simulator.Main(c.Context(), args, c.OutOrStdout())
			if errors.Is(err, simulator.ErrUsage) {
				return usageError(c, "%s", strings.TrimPrefix(err.Error(), simulator.ErrUsage.Error()+": "))
			}
			return err
		},
	}
}
