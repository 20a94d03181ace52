package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/config"
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

// fleetStatus is what the status prints.
type fleetStatus struct {
	At        time.Time     `json:"at"` // by the table's clock
	Headline  string        `json:"headline"`
	Models    []modelStatus `json:"models"` // the worst first
	Instances int           `json:"instances"`

	Conditions []admin.ConditionStatus `json:"conditions,omitempty"` // parts of instances that are not ok
}

type modelStatus struct {
	Model    string          `json:"model"`
	State    admin.PoolState `json:"state"` // in the words of the status page
	Backends int             `json:"backends"`
	Serving  int             `json:"serving"`
	Since    time.Time       `json:"since,omitzero"`
	Why      string          `json:"why,omitempty"`
	Out      []backendOut    `json:"out,omitempty"` // the backends that do not serve as usual
}

// backendOut is why a backend does not serve as usual.
type backendOut struct {
	Backend string             `json:"backend"`
	State   admin.BackendState `json:"state"`
	Reason  string             `json:"reason"`
	Since   time.Time          `json:"since,omitzero"`
	LeftMS  int64              `json:"leftMs,omitempty"`
}

// statusOf is what the status page shows of the models, as far as the tables tell it.
func statusOf(cfg *config.Config, f *view) *fleetStatus {
	page := admin.TableStatus(cfg.Pools, cfg.Slots, &f.State, &f.Shared)
	s := &fleetStatus{
		At: f.At, Headline: page.Headline.Text + " · " + count(len(f.Instances), "instance"),
		Models: []modelStatus{}, Instances: len(f.Instances), Conditions: f.Conditions,
	}
	for i := range page.Pools {
		s.Models = append(s.Models, modelOf(&page.Pools[i]))
	}
	slices.SortStableFunc(s.Models, func(a, b modelStatus) int { return cmp.Compare(a.State.Rank(), b.State.Rank()) })
	return s
}

func modelOf(p *admin.PoolStatus) modelStatus {
	m := modelStatus{Model: p.Model, State: p.State, Backends: p.Backends, Serving: p.Serving}
	if p.State != admin.Healthy {
		m.Why = p.Summary
	}
	if p.Since != nil {
		m.Since = p.Since.UTC()
	}
	for i := range p.Groups {
		for j := range p.Groups[i].Backends {
			b := &p.Groups[i].Backends[j]
			if b.Reason() == "" {
				continue
			}
			out := backendOut{Backend: b.Name, State: b.State, Reason: b.Reason(), LeftMS: b.LeftMS}
			if b.Since != nil {
				out.Since = b.Since.UTC()
			}
			m.Out = append(m.Out, out)
		}
	}
	return m
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
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", m.Model, m.State, m.Serving, m.Backends, since, cmp.Or(m.Why, "-"))
	}
	for i := range s.Conditions {
		c := &s.Conditions[i]
		fmt.Fprintf(w, "\n%s: %s on %s since %s: %s\n  still works: %s\n  fix: %s\n", c.Part, c.State, c.Instance, c.Since.Format(time.RFC3339), c.Why, c.Works, c.Fix)
	}
	return w.Flush()
}
