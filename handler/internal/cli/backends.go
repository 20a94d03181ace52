package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
)

// tableTimeout bounds what a command asks of the table.
const tableTimeout = 30 * time.Second

func backendsCommand() *cobra.Command {
	return withTarget(group(
		&cobra.Command{
			Use: "backends", Short: "Show the state of the backends, or override it on all instances",
			Long: "Shows the state of the backends as all instances share it, or overrides it on all\n" +
				"of them. NAME is a backend (all its models), or backend/model. The commands need\nthe connection of the shared state and the pool document, and no secret of either.\n" + targetHelp,
			Example: "  spillway backends list\n  spillway backends drain payg-sweden --app func-spillway-prod",
		},
		listBackendsCommand(), watchBackendsCommand(),
		overrideCommand("drain", "Send no new requests to a backend", (*fleet.Replica).Drain),
		overrideCommand("restore", "End a drain", (*fleet.Replica).Restore),
		overrideCommand("reset", "Close the circuits of a backend and end its throttle windows", (*fleet.Replica).Reset),
	))
}

func listBackendsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "Print the state of each backend and model, who refuses what, and how far each instance is",
		Example: "  spillway backends list\n  spillway backends list --json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			t, err := openTables(c.ErrOrStderr())
			if err != nil {
				return err
			}
			v, err := t.read(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), v.json())
			}
			return v.print(c.OutOrStdout())
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// overrideCommand writes an operator's override to the table.
func overrideCommand(verb, short string, write func(r *fleet.Replica, ctx context.Context, backend, operator string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Example: "  spillway backends " + verb + " payg-sweden\n  spillway backends " + verb + " payg-sweden/gpt-4o",
		Args: oneArg("backend, or backend/model"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, replica, err := openReplica()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), tableTimeout)
			defer cancel()
			if err := write(replica, ctx, args[0], operatorName()); err != nil {
				return fmt.Errorf("%s %s: %w", verb, args[0], err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s %s: written; instances with traffic apply it within %s and one exchange with the table\n", verb, args[0], cfg.Settings.StateRefresh)
			return err
		},
	}
}

func operatorName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "operator"
}

// openReplica reads and writes the table. It does not run.
func openReplica() (*config.Config, *fleet.Replica, error) {
	cfg, err := loadPools("the state of the backends")
	if err != nil {
		return nil, nil, err
	}
	replica, err := app.NewReplica(cfg)
	return cfg, replica, err
}

// loadForTable loads what a command needs that only uses the table, in which
// what is kept.
func loadForTable(what string, load func() (*config.Config, error)) (*config.Config, error) {
	cfg, err := load()
	if err != nil {
		return nil, whichDeployment(err)
	}
	if cfg.Settings.State.Memory() {
		return nil, &failure{nil, what + " is kept in shared state, and none is configured", "set SPILLWAY_STATE or AzureWebJobsStorage to the value that the instances have, or name the app: --app NAME"}
	}
	return cfg, nil
}

// whichDeployment is the error of a configuration that cannot be loaded, for commands
// that take --app and --context.
func whichDeployment(err error) error {
	if os.Getenv("SPILLWAY_CONFIG") != "" {
		return err
	}
	return &failure{
		err, "it is not known which deployment is meant: SPILLWAY_CONFIG is not set",
		"name the app: --app NAME; or a file of ~/.config/spillway: --context NAME; or set SPILLWAY_CONFIG and SPILLWAY_STATE to the values that the instances have",
	}
}

// loadPools is loadForTable for commands that need the backends, models and consumers
// too: those of the version that the instances use.
func loadPools(what string) (*config.Config, error) {
	cfg, err := loadForTable(what, config.LoadForTable)
	if err != nil {
		return nil, err
	}
	return currentVersion(cfg)
}

// currentVersion is the configuration with the version that is current in the table, if
// that is where versions are.
func currentVersion(cfg *config.Config) (*config.Config, error) {
	if cfg.Settings.ConfigApp == "" || cfg.Settings.State.Memory() {
		return cfg, nil
	}
	store, err := app.OpenConfigStore(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), tableTimeout)
	defer cancel()
	current, _, err := app.ReadVersion(ctx, store, cfg)
	return current, err
}

// print prints each backend and model, and the instances.
func (v *view) print(out io.Writer) error {
	f := &v.State
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "at %s by the table's clock, revision %d\n\n", f.At.Format(time.RFC3339), f.Revision)
	fmt.Fprintln(w, "BACKEND/MODEL\tCIRCUIT\tSUSPECTED\tTHROTTLED\tSHARE\tDRAINED\tREFUSES\tLAST CHANGE")
	for i := range f.Slots {
		fmt.Fprintln(w, v.slotRow(&f.Slots[i]))
	}
	for _, r := range v.Refusals {
		if r.Slot == "" {
			fmt.Fprintf(w, "every backend of %s %s, as %s found\n", r.Model, r.String(), strings.Join(r.Instances, ", "))
		}
	}
	fmt.Fprintln(w, "\nINSTANCE\tREVISION\tBEHIND\tOUTAGE\tHEARTBEAT")
	for _, i := range f.Instances {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s ago\n", i.Name, i.Revision, i.Behind, i.Outage, f.At.Sub(i.At).Round(time.Second))
	}
	return w.Flush()
}

func (v *view) slotRow(s *fleet.SlotState) string {
	now := v.At.UnixMilli()
	circuit := s.Record.Circuit.State.String()
	if s.Unreadable {
		circuit = "unreadable"
	} else if left := s.Record.Circuit.Until - now; s.Record.Circuit.State != health.Closed && left > 0 {
		circuit += " for " + millis(left)
	}
	drained := "-"
	if s.Record.Override.Drained {
		drained = "by " + s.Record.Override.Operator
	}
	return strings.Join([]string{s.Name, circuit, suspicions(&s.Record), throttleWindows(&s.Record, now), fmt.Sprintf("%d %%", sharePercent(s)), drained, refusalText(v.refusalsOf(s.Name)), v.lastChange(s).String()}, "\t")
}

// sharePercent is how much of its usual traffic the backend gets, as the metric
// spillway.backend.share has it.
func sharePercent(s *fleet.SlotState) int {
	switch {
	case s.Record.Circuit.State != health.Closed, s.Record.Override.Drained:
		return 0
	case s.Share > 0:
		return int(s.Share)
	}
	return 100
}

// refusalText names the operations, and the instances that found it out.
func refusalText(all []admin.Refusal) string {
	if len(all) == 0 {
		return "-"
	}
	return admin.RefusalText(all) + ", as " + strings.Join(all[0].Instances, ", ") + " found"
}

// suspicions are the instances that see nothing but failures, too few for any of
// them to open the circuit.
func suspicions(r *health.Record) string {
	n := suspectingFailures(r)
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d failures at %d instances", n, len(r.Circuit.Suspicions))
}

func suspectingFailures(r *health.Record) int {
	n := 0
	for _, s := range r.Circuit.Suspicions {
		n += s.Failures
	}
	return n
}

// throttleWindows names the limits that are throttled, and for how long.
func throttleWindows(r *health.Record, now int64) string {
	var windows []string
	for kind, term := range r.Windows.ByKind {
		if left := term.Until - now; left > 0 {
			windows = append(windows, health.LimitKind(kind).String()+" for "+millis(left))
		}
	}
	if len(windows) == 0 {
		return "-"
	}
	return strings.Join(windows, ", ")
}

func millis(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }

type slotJSON struct {
	Name         string           `json:"name"` // backend/model
	Circuit      string           `json:"circuit"`
	CircuitMS    int64            `json:"circuitLeftMs,omitempty"`
	Suspicions   int              `json:"suspectingInstances,omitempty"`
	Suspected    int              `json:"suspectingFailures,omitempty"` // of those instances
	ThrottledMS  map[string]int64 `json:"throttledLeftMs,omitempty"`    // by limit
	SharePercent int              `json:"sharePercent"`
	DrainedBy    string           `json:"drainedBy,omitempty"`
	Refuses      []admin.Refusal  `json:"refuses,omitempty"`  // operations that others serve
	Reason       string           `json:"reason,omitempty"`   // of the last change
	Evidence     string           `json:"evidence,omitempty"` // of a circuit that is not closed: the failures that opened it
	ChangedAt    *time.Time       `json:"changedAt,omitempty"`
	ChangedBy    string           `json:"changedBy,omitempty"`
}

type instanceJSON struct {
	Name      string `json:"name"`
	Revision  uint64 `json:"revision"`
	BehindMS  int64  `json:"behindMs"`
	OutageMS  int64  `json:"outageMs"`
	WrittenMS int64  `json:"writtenMsAgo"`
}

// json is what print prints.
func (v *view) json() any {
	f := &v.State
	slots, instances, refused := []slotJSON{}, []instanceJSON{}, []admin.Refusal{}
	for i := range f.Slots {
		slots = append(slots, v.slotOf(&f.Slots[i]))
	}
	for _, r := range v.Refusals {
		if r.Slot == "" {
			refused = append(refused, r)
		}
	}
	for _, i := range f.Instances {
		instances = append(instances, instanceJSON{i.Name, i.Revision, i.Behind.Milliseconds(), i.Outage.Milliseconds(), f.At.Sub(i.At).Milliseconds()})
	}
	return map[string]any{"at": f.At, "revision": f.Revision, "backends": slots, "refusedByAll": refused, "instances": instances}
}

func (v *view) slotOf(s *fleet.SlotState) slotJSON {
	r, now, last := &s.Record, v.At.UnixMilli(), v.lastChange(s)
	j := slotJSON{Name: s.Name, Circuit: r.Circuit.State.String(), SharePercent: sharePercent(s), Refuses: v.refusalsOf(s.Name), Reason: last.reason, Evidence: r.LastChange.Evidence, ChangedBy: last.by}
	j.Suspicions, j.Suspected = len(r.Circuit.Suspicions), suspectingFailures(r)
	if s.Unreadable {
		j.Circuit = "unreadable"
	} else if r.Circuit.State != health.Closed {
		j.CircuitMS = max(r.Circuit.Until-now, 0)
	}
	for kind, term := range r.Windows.ByKind {
		if left := term.Until - now; left > 0 {
			if j.ThrottledMS == nil {
				j.ThrottledMS = map[string]int64{}
			}
			j.ThrottledMS[health.LimitKind(kind).String()] = left
		}
	}
	if r.Override.Drained {
		j.DrainedBy = r.Override.Operator
	}
	if !last.at.IsZero() {
		j.ChangedAt = &last.at
	}
	return j
}
