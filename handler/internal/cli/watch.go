package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/fleet"
)

func watchBackendsCommand() *cobra.Command {
	var asJSON bool
	interval := 2 * time.Second
	c := &cobra.Command{
		Use: "watch", Short: "Print the state of the backends, and then each change, until it is interrupted",
		Long:    "Prints the state of the backends as \"backends list\" does, and then a line for each\nbackend and model that changes, until it is interrupted. With --json each line is an object.",
		Example: "  spillway backends watch\n  spillway backends watch --interval 10s --json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return usageError(c, "--interval %s is below 100ms", interval)
			}
			t, err := openTables(c.ErrOrStderr())
			if err != nil {
				return err
			}
			w := &watch{out: c.OutOrStdout(), asJSON: asJSON, last: map[string]string{}}
			return w.run(c.Context(), t, interval)
		},
	}
	c.Flags().DurationVar(&interval, "interval", interval, "how often to read the table")
	jsonFlag(c, &asJSON)
	return c
}

// watch prints what differs from the last state.
type watch struct {
	out    io.Writer
	asJSON bool
	last   map[string]string // by slot: its state as it was printed
}

// run reads until ctx ends, which is no error.
func (w *watch) run(ctx context.Context, t *tables, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		v, err := t.read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil: // it watches on: an outage is what it is for
			fmt.Fprintf(t.notes, "note: %s: %v\n", time.Now().UTC().Format(time.TimeOnly), explained(err))
		default:
			if err := w.print(v, first); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *watch) print(v *view, first bool) error {
	if first && !w.asJSON {
		if err := v.print(w.out); err != nil {
			return err
		}
		fmt.Fprintln(w.out)
	}
	for i := range v.Slots {
		s := &v.Slots[i]
		now := v.stateOf(s)
		was, known := w.last[s.Name]
		w.last[s.Name] = now
		if known && was == now || first && !w.asJSON {
			continue
		}
		if err := w.line(v, s, was); err != nil {
			return err
		}
	}
	return nil
}

// stateOf is what a line is printed for: not the time that is left.
func (v *view) stateOf(s *fleet.SlotState) string {
	j := v.slotOf(s)
	words := []string{j.Circuit}
	for _, kind := range slices.Sorted(maps.Keys(j.ThrottledMS)) {
		words = append(words, kind+" throttled")
	}
	if j.DrainedBy != "" {
		words = append(words, "drained by "+j.DrainedBy)
	}
	if len(j.Refuses) > 0 {
		words = append(words, refusalText(j.Refuses))
	}
	return strings.Join(words, ", ")
}

func (w *watch) line(v *view, s *fleet.SlotState, was string) error {
	if w.asJSON {
		return json.NewEncoder(w.out).Encode(struct {
			At  time.Time `json:"at"`
			Was string    `json:"was,omitempty"`
			slotJSON
		}{v.At, was, v.slotOf(s)})
	}
	_, err := fmt.Fprintf(w.out, "%s  %s  %s -> %s  %s\n", v.At.Format(time.TimeOnly), s.Name, was, v.stateOf(s), v.lastChange(s))
	return err
}
