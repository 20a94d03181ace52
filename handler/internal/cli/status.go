package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
)

func statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Print which models are in trouble, why and since when",
		Long:    "Prints the models, those in trouble first, as all instances share it, and how many\ninstances there are.\n" + targetHelp,
		Example: "  spillway status\n  spillway status --app func-spillway-prod\n  spillway status --json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, replica, err := openReplica()
			if err != nil {
				return err
			}
			state, err := readState(c.Context(), replica)
			if err != nil {
				return err
			}
			s := statusOf(cfg, &state)
			if asJSON {
				return printJSON(c.OutOrStdout(), s)
			}
			return s.print(c.OutOrStdout())
		},
	}
	jsonFlag(c, &asJSON)
	return withTarget(c)
}

// The states of a model, the worst last.
const (
	modelOK        = "ok"
	modelDegraded  = "degraded"   // a backend is out, others serve
	modelThrottled = "throttled"  // no backend serves for now: all wait for their limits
	modelDown      = "no backend" // no backend serves
)

var modelStates = []string{modelOK, modelDegraded, modelThrottled, modelDown}

// fleetStatus is what the status prints.
type fleetStatus struct {
	At        time.Time     `json:"at"` // by the table's clock
	Headline  string        `json:"headline"`
	Models    []modelStatus `json:"models"` // the worst first
	Instances int           `json:"instances"`
}

type modelStatus struct {
	Model    string        `json:"model"`
	State    string        `json:"state"`
	Backends int           `json:"backends"`
	Serving  int           `json:"serving"`
	Since    time.Time     `json:"since,omitzero"` // of the latest trouble
	Why      []backendDown `json:"why,omitempty"`
}

// backendDown is why a backend does not serve.
type backendDown struct {
	Backend string    `json:"backend"`
	State   string    `json:"state"` // open, half-open, throttled, drained
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	LeftMS  int64     `json:"leftMs,omitempty"`
}

// statusOf sums the state of the slots up by model.
func statusOf(cfg *config.Config, f *fleet.State) *fleetStatus {
	slots := map[string]*fleet.SlotState{}
	for i := range f.Slots {
		slots[f.Slots[i].Name] = &f.Slots[i]
	}
	s := &fleetStatus{At: f.At, Models: []modelStatus{}, Instances: len(f.Instances)}
	for i := range cfg.Pools {
		s.Models = append(s.Models, modelOf(&cfg.Pools[i], slots, f.At))
	}
	slices.SortStableFunc(s.Models, func(a, b modelStatus) int {
		return cmp.Compare(slices.Index(modelStates, b.State), slices.Index(modelStates, a.State))
	})
	s.Headline = headline(s)
	return s
}

func modelOf(p *balancer.Pool, slots map[string]*fleet.SlotState, at time.Time) modelStatus {
	m := modelStatus{Model: p.Model, State: modelOK}
	throttled := 0
	for i := range p.Backends {
		b := &p.Backends[i]
		if b.Weight == 0 {
			continue
		}
		m.Backends++
		why, out := downOf(b.Name, slots[b.Name+"/"+p.Model], at)
		if !out {
			m.Serving++
			continue
		}
		if why.State == modelThrottled {
			throttled++
		}
		m.Why = append(m.Why, why)
		if why.Since.After(m.Since) {
			m.Since = why.Since
		}
	}
	switch {
	case m.Serving == 0 && throttled > 0:
		m.State = modelThrottled
	case m.Serving == 0:
		m.State = modelDown
	case len(m.Why) > 0:
		m.State = modelDegraded
	}
	return m
}

// downOf is why a backend does not serve; nil = nothing is known of it.
func downOf(name string, s *fleet.SlotState, at time.Time) (why backendDown, out bool) {
	if s == nil {
		return why, false
	}
	r, now := &s.Record, at.UnixMilli()
	why = backendDown{Backend: name, Reason: r.LastChange.Reason}
	if r.LastChange.At > 0 {
		why.Since = time.UnixMilli(r.LastChange.At).UTC()
	}
	for kind := range r.Windows.ByKind {
		why.LeftMS = max(why.LeftMS, r.Windows.ByKind[kind].Until-now)
	}
	switch {
	case r.Override.Drained:
		why.State, why.Reason, why.LeftMS = "drained", "by "+r.Override.Operator, 0
	case r.Circuit.State != health.Closed:
		why.State, why.LeftMS = r.Circuit.State.String(), max(r.Circuit.Until-now, 0)
		if r.Circuit.Since > 0 {
			why.Since = time.UnixMilli(r.Circuit.Since).UTC()
		}
	case why.LeftMS > 0:
		why.State = modelThrottled
	default:
		return why, false
	}
	return why, true
}

// headline names the models in trouble, the worst first.
func headline(s *fleetStatus) string {
	var parts []string
	for _, state := range slices.Backward(modelStates[1:]) {
		var names []string
		for i := range s.Models {
			if s.Models[i].State == state {
				names = append(names, s.Models[i].Model)
			}
		}
		if len(names) > 0 {
			parts = append(parts, state+": "+strings.Join(names, ", "))
		}
	}
	text := "all " + count(len(s.Models), "model") + " served by every backend"
	if len(parts) > 0 {
		text = strings.Join(parts, "; ")
	}
	return text + " · " + count(s.Instances, "instance")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (s *fleetStatus) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "%s\nat %s by the table's clock\n\nMODEL\tSTATE\tSERVING\tSINCE\tWHY\n", s.Headline, s.At.Format(time.RFC3339))
	for i := range s.Models {
		m := &s.Models[i]
		since := "-"
		if !m.Since.IsZero() {
			since = m.Since.Format(time.RFC3339)
		}
		var why []string
		for _, b := range m.Why {
			why = append(why, strings.TrimSpace(b.Backend+" "+b.State+forMillis(b.LeftMS)+" "+b.Reason))
		}
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", m.Model, m.State, m.Serving, m.Backends, since, cmp.Or(strings.Join(why, "; "), "-"))
	}
	return w.Flush()
}

func forMillis(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return " for " + millis(ms)
}
