package cli

import (
	"context"
	"fmt"
	"io"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
)

// tableTimeout is how long a command waits for the table.
const tableTimeout = 30 * time.Second

// backends is `spillway backends`: what the fleet agrees on, and an operator's
// word that all of it obeys.
func backends(ctx context.Context, args []string, out io.Writer) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch {
	case verb == "list" && len(args) == 1:
	case (verb == "drain" || verb == "restore" || verb == "reset") && len(args) == 2:
	default:
		return fmt.Errorf("%w: spillway backends list | drain NAME | restore NAME | reset NAME (a backend, or backend/model)", errUsage)
	}
	cfg, keeper, err := openReplica()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	if verb != "list" {
		if err := override(ctx, keeper, verb, args[1]); err != nil {
			return fmt.Errorf("%s %s: %w", verb, args[1], err)
		}
		_, err := fmt.Fprintf(out, "%s %s: written; instances with traffic obey within %s and one exchange with the table\n", verb, args[1], cfg.Settings.StateRefresh)
		return err
	}
	fleet, err := keeper.ReadState(ctx)
	if err != nil {
		return err
	}
	return printFleet(out, &fleet)
}

// openReplica is a keeper that only looks and speaks.
func openReplica() (*config.Config, *fleet.Replica, error) {
	cfg, err := config.Load()
	if err != nil {
		return nil, nil, err
	}
	if cfg.Settings.State.Memory() {
		return nil, nil, fmt.Errorf("there is no shared state to look at: set SPILLWAY_STATE or AzureWebJobsStorage to what the instances use")
	}
	replica, err := app.NewReplica(cfg)
	return cfg, replica, err
}

func override(ctx context.Context, k *fleet.Replica, verb, backend string) error {
	who := "operator"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	switch verb {
	case "drain":
		return k.Drain(ctx, backend, who)
	case "restore":
		return k.Restore(ctx, backend, who)
	}
	return k.Reset(ctx, backend, who)
}

// printFleet prints the table's word on each slot, and what each instance last
// agreed to.
func printFleet(out io.Writer, f *fleet.State) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "at %s by the table's clock, revision %d\n\n", f.At.Format(time.RFC3339), f.Revision)
	fmt.Fprintln(w, "BACKEND/MODEL\tCIRCUIT\tTHROTTLED\tSHARE\tDRAINED\tLAST CHANGE")
	for i := range f.Slots {
		fmt.Fprintln(w, slotRow(&f.Slots[i], f.At))
	}
	fmt.Fprintln(w, "\nINSTANCE\tLAST AGREED TO\tBEHIND\tOUTAGE\tSEEN")
	for _, i := range f.Instances {
		fmt.Fprintf(w, "%s\trevision %d\t%s\t%s\t%s ago\n", i.Name, i.Revision, i.Behind, i.Outage, f.At.Sub(i.At).Round(time.Second))
	}
	return w.Flush()
}

func slotRow(s *fleet.SlotState, at time.Time) string {
	now := at.UnixMilli()
	circuit := s.Record.Circuit.State.String()
	if s.Unreadable {
		circuit = "unreadable"
	} else if left := s.Record.Circuit.Until - now; s.Record.Circuit.State != health.Closed && left > 0 {
		circuit += " for " + millis(left)
	}
	drained, share := "-", "100 %"
	if s.Record.Override.Drained {
		drained = "by " + s.Record.Override.Operator
	}
	if s.Share > 0 {
		share = fmt.Sprintf("%d %%", s.Share)
	}
	return strings.Join([]string{s.Name, circuit, throttleWindows(&s.Record, now), share, drained, lastChange(s.Record.LastChange)}, "\t")
}

// throttleWindows names the limits that the backend asked to be left alone for.
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

func lastChange(s health.Change) string {
	if s.At == 0 {
		return "never"
	}
	return fmt.Sprintf("%s by %s: %s", time.UnixMilli(s.At).UTC().Format(time.RFC3339), s.By, s.Reason)
}
