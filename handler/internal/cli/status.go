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

	"spillway/handler/internal/admin"
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
			t, err := openTables(c.ErrOrStderr())
			if err != nil {
				return err
			}
			v, err := t.read(c.Context())
			if err != nil {
				return err
			}
			s := statusOf(t.cfg, v)
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

	Conditions []admin.ConditionStatus `json:"conditions,omitempty"` // parts of instances that are not ok
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
	State   string    `json:"state"` // open, half-open, throttled, drained, or which operation it refuses
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	LeftMS  int64     `json:"leftMs,omitempty"`
}

// statusOf sums the state of the slots up by model.
func statusOf(cfg *config.Config, f *view) *fleetStatus {
	slots := map[string]*fleet.SlotState{}
	for i := range f.Slots {
		slots[f.Slots[i].Name] = &f.Slots[i]
	}
	s := &fleetStatus{At: f.At, Models: []modelStatus{}, Instances: len(f.Instances), Conditions: f.Conditions}
	for i := range cfg.Pools {
		s.Models = append(s.Models, modelOf(&cfg.Pools[i], slots, f))
	}
	slices.SortStableFunc(s.Models, func(a, b modelStatus) int {
		return cmp.Compare(slices.Index(modelStates, b.State), slices.Index(modelStates, a.State))
	})
	s.Headline = headline(s)
	return s
}

func modelOf(p *balancer.Pool, slots map[string]*fleet.SlotState, v *view) modelStatus {
	m := modelStatus{Model: p.Model, State: modelOK}
	throttled := 0
	for i := range p.Backends {
		b := &p.Backends[i]
		if b.Weight == 0 {
			continue
		}
		m.Backends++
		name := b.Name + "/" + p.Model
		why, out := downOf(b.Name, slots[name], v.At)
		if !out {
			why, out = refusing(b.Name, v.refusalsOf(name))
		}
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
	if why, refused := refusing("every backend", v.refusalsOf(p.Model)); refused {
		m.Why, m.Serving, m.Since = append(m.Why, why), 0, why.Since
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

// refusing is that a backend refuses operations, as some instances found out; others
// it may serve.
func refusing(name string, all []admin.Refusal) (why backendDown, out bool) {
	if len(all) == 0 {
		return why, false
	}
	return backendDown{Backend: name, State: refusalText(all), Since: all[0].Since}, true
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
	for i := range s.Conditions {
		c := &s.Conditions[i]
		parts = append(parts, c.Part+" is "+c.State+" on "+c.Instance)
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
	for i := range s.Conditions {
		c := &s.Conditions[i]
		fmt.Fprintf(w, "\n%s is %s on %s since %s: %s\n  still works: %s\n  fix: %s\n", c.Part, c.State, c.Instance, c.Since.Format(time.RFC3339), c.Why, c.Works, c.Fix)
	}
	return w.Flush()
}

func forMillis(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return " for " + millis(ms)
}
