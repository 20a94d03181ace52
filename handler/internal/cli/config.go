package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/configstore"
)

func configCommand() *cobra.Command {
	return withTarget(group(
		&cobra.Command{
			Use: "config", Short: "Push the pool document to all instances, show its versions, and take one back",
			Long: "Keeps the pool document in versions in the table of the shared state. Instances whose\n" +
				"SPILLWAY_CONFIG_SOURCE is table:NAME use the current version of NAME instead of\nSPILLWAY_CONFIG, which is version 0. The commands read SPILLWAY_CONFIG_SOURCE too.\n" + targetHelp,
			Example: "  spillway config push pool.json --dry-run\n  spillway config rollback 7 --app func-spillway-prod",
		},
		pushCommand(), showCommand(), diffCommand(), historyCommand(), rollbackCommand(),
	))
}

// versions is what the config commands work on.
type versions struct {
	ctx   context.Context
	cfg   *config.Config
	store *configstore.Store
	head  configstore.Head
	out   io.Writer
	json  bool
}

// withVersions reads the current version and runs the command.
func withVersions(c *cobra.Command, asJSON bool, do func(v *versions) error) error {
	cfg, err := loadForTable("the configuration", config.LoadForConfig)
	if err != nil {
		return err
	}
	if cfg.Settings.ConfigApp == "" {
		return &failure{nil, "SPILLWAY_CONFIG_SOURCE names no table, so no instance would use what is pushed", "set it to table: and the name of the app, here and in the settings of the app"}
	}
	store, err := app.OpenConfigStore(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), tableTimeout)
	defer cancel()
	head, err := store.Head(ctx)
	if err != nil {
		return err
	}
	return do(&versions{ctx, cfg, store, head, c.OutOrStdout(), asJSON})
}

func pushCommand() *cobra.Command {
	var dryRun, asJSON bool
	c := &cobra.Command{
		Use: "push FILE", Short: "Make a document the current version",
		Long: "Checks the document in FILE (- for standard input), reports every fault at once, and\n" +
			"makes it the current version, unless another was pushed meanwhile. What needs the\nsecrets of the app is checked by each instance before it uses the version.",
		Example: "  spillway config push pool.json --dry-run\n  spillway config push pool.json", Args: oneArg("file"),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := readDocument(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			return withVersions(c, asJSON, func(v *versions) error {
				if !v.cfg.KnowsAllowed() {
					fmt.Fprintln(c.ErrOrStderr(), "note: what a document may name is not known here (SPILLWAY_CONFIG_ALLOW, SPILLWAY_CONFIG): the instances check it")
				}
				return v.push(filepath.Base(args[0]), text, dryRun)
			})
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "check it, and only say what would change")
	jsonFlag(c, &asJSON)
	return c
}

func readDocument(file string, in io.Reader) (string, error) {
	if file == "-" {
		text, err := io.ReadAll(io.LimitReader(in, 2*configstore.MaxSize))
		return string(text), err
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return "", &failure{err, file + " cannot be read: " + err.Error(), "write the path of a pool document, or - for standard input"}
	}
	return string(text), nil
}

// pushJSON is what a push or a rollback did.
type pushJSON struct {
	configstore.Version
	Written bool              `json:"written"` // false: a dry run, or nothing to change
	Changes []document.Change `json:"changes"`
}

func (v *versions) push(file, text string, dryRun bool) error {
	next, err := v.cfg.WithDocument(file, text)
	if err == nil {
		err = configstore.Check(text)
	}
	if err != nil {
		return err
	}
	changes := v.changes(next.Document)
	if dryRun {
		return v.report(&configstore.Version{Number: v.head.Number + 1, Size: len(text), By: operatorName()}, changes, false, "would be")
	}
	version, err := v.store.Push(v.ctx, &v.head, text, operatorName())
	return v.done(&version, changes, err)
}

// done reports a push or a rollback.
func (v *versions) done(version *configstore.Version, changes []document.Change, err error) error {
	if errors.Is(err, configstore.ErrUnchanged) {
		return v.report(version, nil, false, "is already")
	}
	if err != nil {
		return err
	}
	return v.report(version, changes, true, "is")
}

// report prints what changes, and the version.
func (v *versions) report(version *configstore.Version, changes []document.Change, written bool, is string) error {
	if v.json {
		return printJSON(v.out, pushJSON{*version, written, append([]document.Change{}, changes...)})
	}
	printChanges(v.out, changes)
	_, err := fmt.Fprintf(v.out, "version %d %s the current one of %s\n", version.Number, is, v.store.App)
	return err
}

// changes is what the document changes of the current version; nil where the current
// one cannot be read here.
func (v *versions) changes(next *document.Document) []document.Change {
	current, err := v.document(&v.head.Version)
	if err != nil {
		return nil
	}
	return document.Diff(current, next)
}

// text is a version as it was written.
func (v *versions) text(version *configstore.Version) (string, error) {
	if version.Document != "" {
		return v.store.Document(v.ctx, version)
	}
	if v.cfg.Document == nil {
		return "", &failure{nil, fmt.Sprintf("version %d is the document of SPILLWAY_CONFIG, which this environment does not have", version.Number), "set it here, or name the app by --app"}
	}
	return string(v.cfg.Document.Print()), nil
}

// document is a version, whatever its faults are.
func (v *versions) document(version *configstore.Version) (*document.Document, error) {
	text, err := v.text(version)
	if err != nil {
		return nil, err
	}
	return readAnyway("version "+strconv.Itoa(version.Number), text)
}

func readAnyway(name, text string) (*document.Document, error) {
	r := new(document.Report)
	if d := r.Read(name, []byte(text)); d != nil {
		return d, nil
	}
	return nil, r.Faults.Err()
}

func showCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show [VERSION]", Short: "Print a version of the document, the current one by default",
		Example: "  spillway config show > pool.json\n  spillway config show 7 --json", Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withVersions(c, asJSON, func(v *versions) error {
				version, err := v.named(args, 0, v.head.Version)
				if err != nil {
					return err
				}
				return v.show(&version)
			})
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (v *versions) show(version *configstore.Version) error {
	text, err := v.text(version)
	if err != nil {
		return err
	}
	if v.json {
		return printJSON(v.out, struct {
			configstore.Version
			Text string `json:"text"`
		}{*version, text})
	}
	_, err = io.WriteString(v.out, text)
	return err
}

// named is the version that an argument names.
func (v *versions) named(args []string, i int, preset configstore.Version) (configstore.Version, error) {
	if i >= len(args) {
		return preset, nil
	}
	number, err := strconv.Atoi(args[i])
	if err != nil || number < 0 {
		return configstore.Version{}, fmt.Errorf("%w: %q is no version; \"spillway config history\" lists them", errUsage, args[i])
	}
	return v.store.Find(v.ctx, &v.head, number)
}

func diffCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "diff [VERSION|FILE [VERSION]]", Short: "Print what differs between two versions, or a version and a file",
		Long: "Prints what differs in meaning: without arguments between the current version and the\none before it; with a file between the current version and the file; with one version\n" +
			"between it and the current one; with two between the first and the second.",
		Example: "  spillway config diff pool.json\n  spillway config diff 6 7", Args: atMost(2),
		RunE: func(c *cobra.Command, args []string) error {
			return withVersions(c, asJSON, func(v *versions) error { return v.diff(args, c.InOrStdin()) })
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (v *versions) diff(args []string, in io.Reader) error {
	before, after, err := v.compared(args, in)
	if err != nil {
		return err
	}
	changes := document.Diff(before, after)
	if v.json {
		return printJSON(v.out, append([]document.Change{}, changes...))
	}
	printChanges(v.out, changes)
	return nil
}

// compared are the two documents that the arguments of diff name.
func (v *versions) compared(args []string, in io.Reader) (before, after *document.Document, err error) {
	if len(args) == 1 {
		if _, err := strconv.Atoi(args[0]); err != nil {
			return v.comparedFile(args[0], in)
		}
	}
	from, err := v.named(args, 0, configstore.Version{Number: -1})
	if err == nil && from.Number < 0 {
		from, err = v.store.Find(v.ctx, &v.head, max(v.head.Number-1, 0))
	}
	if err != nil {
		return nil, nil, err
	}
	to, err := v.named(args, 1, v.head.Version)
	if err != nil {
		return nil, nil, err
	}
	if before, err = v.document(&from); err != nil {
		return nil, nil, err
	}
	after, err = v.document(&to)
	return before, after, err
}

func (v *versions) comparedFile(file string, in io.Reader) (before, after *document.Document, err error) {
	text, err := readDocument(file, in)
	if err != nil {
		return nil, nil, err
	}
	if after, err = readAnyway(filepath.Base(file), text); err != nil {
		return nil, nil, err
	}
	before, err = v.document(&v.head.Version)
	return before, after, err
}

func printChanges(out io.Writer, changes []document.Change) {
	for _, c := range changes {
		switch {
		case c.Before == "":
			fmt.Fprintf(out, "+ %s: %s\n", c.Path, c.After)
		case c.After == "":
			fmt.Fprintf(out, "- %s: %s\n", c.Path, c.Before)
		default:
			fmt.Fprintf(out, "~ %s: %s -> %s\n", c.Path, c.Before, c.After)
		}
	}
}

func historyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "history", Short: "List the versions, the latest first", Example: "  spillway config history\n  spillway config history --json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withVersions(c, asJSON, func(v *versions) error {
				all, err := v.store.History(v.ctx, &v.head)
				if err != nil {
					return err
				}
				if v.json {
					return printJSON(v.out, append([]configstore.Version{}, all...))
				}
				return printHistory(v.out, all)
			})
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func printHistory(out io.Writer, all []configstore.Version) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tAT\tBY\tBYTES\tWHAT")
	for i := range all {
		v, what := &all[i], "push"
		if v.Rollback {
			what = fmt.Sprintf("rollback to %d", v.Restores)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\n", v.Number, v.At.Format(time.RFC3339), v.By, v.Size, what)
	}
	fmt.Fprintln(w, "0\t-\t-\t-\tSPILLWAY_CONFIG")
	return w.Flush()
}

func rollbackCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "rollback VERSION", Short: "Make an earlier version the current one again",
		Long:    "Makes the document of an earlier version the current one again, as a version of its\nown; 0 is the document of SPILLWAY_CONFIG.",
		Example: "  spillway config rollback 7", Args: oneArg("version, see \"spillway config history\""),
		RunE: func(c *cobra.Command, args []string) error {
			return withVersions(c, asJSON, func(v *versions) error { return v.rollback(args) })
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (v *versions) rollback(args []string) error {
	old, err := v.named(args, 0, configstore.Version{})
	if err != nil {
		return err
	}
	var changes []document.Change
	if old.Document != "" {
		text, err := v.text(&old)
		if err != nil {
			return err
		}
		next, err := v.cfg.WithDocument(fmt.Sprintf("version %d", old.Number), text)
		if err != nil {
			return err
		}
		changes = v.changes(next.Document)
	} else if v.cfg.Document != nil {
		changes = v.changes(v.cfg.Document)
	}
	version, err := v.store.Rollback(v.ctx, &v.head, old.Number, operatorName())
	return v.done(&version, changes, err)
}
