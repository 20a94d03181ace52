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
			_, replica, err := openReplica()
			if err != nil {
				return err
			}
			w := &watch{out: c.OutOrStdout(), asJSON: asJSON, last: map[string]string{}}
			return w.run(c.Context(), replica, interval)
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
func (w *watch) run(ctx context.Context, replica *fleet.Replica, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		state, err := readState(ctx, replica)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.print(&state, first); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func readState(ctx context.Context, replica *fleet.Replica) (fleet.State, error) {
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	return replica.ReadState(ctx)
}

func (w *watch) print(f *fleet.State, first bool) error {
	if first && !w.asJSON {
		if err := printState(w.out, f); err != nil {
			return err
		}
		fmt.Fprintln(w.out)
	}
	for i := range f.Slots {
		s := &f.Slots[i]
		now := stateOf(s, f.At)
		was, known := w.last[s.Name]
		w.last[s.Name] = now
		if known && was == now || first && !w.asJSON {
			continue
		}
		if err := w.line(s, f.At, was); err != nil {
			return err
		}
	}
	return nil
}

// stateOf is what a line is printed for: not the time that is left.
func stateOf(s *fleet.SlotState, at time.Time) string {
	j := slotOf(s, at.UnixMilli())
	words := []string{j.Circuit}
	for _, kind := range slices.Sorted(maps.Keys(j.ThrottledMS)) {
		words = append(words, kind+" throttled")
	}
	if j.DrainedBy != "" {
		words = append(words, "drained by "+j.DrainedBy)
	}
	return strings.Join(words, ", ")
}

func (w *watch) line(s *fleet.SlotState, at time.Time, was string) error {
	if w.asJSON {
		return json.NewEncoder(w.out).Encode(struct {
			At  time.Time `json:"at"`
			Was string    `json:"was,omitempty"`
			slotJSON
		}{at, was, slotOf(s, at.UnixMilli())})
	}
	_, err := fmt.Fprintf(w.out, "%s  %s  %s -> %s  %s\n", at.Format(time.TimeOnly), s.Name, was, stateOf(s, at), lastChange(s.Record.LastChange))
	return err
}
