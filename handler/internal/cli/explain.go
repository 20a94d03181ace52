package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/app"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// explainFlags is the request that `spillway explain` explains.
type explainFlags struct {
	model        string
	consumer     string // "" = one without fences
	tokens       int64
	stream, json bool
	request      string // id of one that has ended
}

func explainCommand() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use: "explain [LOG...]", Short: "Print which backends a request would be sent to, in which order, and why; or what became of one",
		Long: "Prints the order in which the backends of a model would be tried now, and why\n" +
			"others are skipped. The order within a priority group is drawn for each request: the\nshare is how often a backend is the first of its group. The health of the backends is\n" +
			"read from the shared state; without one, all count as healthy.\n\n" +
			"With --request it finds the log line of a request that has ended, by the id in its\nx-request-id, in the files LOG or on standard input, and prints why it went where it went.\n" + targetHelp,
		Example: "  spillway explain --model gpt-4o --tokens 2000\n  spillway explain --request req_ABC spillway.log\n  tail -n 10000 spillway.log | spillway explain --request req_ABC --json",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.request != "" && f.model+f.consumer != "":
				return usageError(c, "--request and --model or --consumer exclude each other")
			case f.request != "":
				return explainRequest(f.request, args, c.InOrStdin(), c.OutOrStdout(), f.json)
			case f.model == "":
				return usageError(c, "--model or --request is missing")
			case len(args) > 0:
				return usageError(c, "log files are read with --request only")
			}
			return f.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.model, "model", "", "the `model` or alias that the request names")
	c.Flags().StringVar(&f.consumer, "consumer", "", "the `name` of the consumer that sends it; without one, no fence holds")
	c.Flags().Int64Var(&f.tokens, "tokens", 0, "the tokens that the request needs, about")
	c.Flags().StringVar(&f.request, "request", "", "the `id` of a request that has ended")
	c.Flags().BoolVar(&f.stream, "stream", false, "the request asks for a stream")
	jsonFlag(c, &f.json)
	return withTarget(c)
}

type poolJSON struct {
	Model      string          `json:"model"`
	NotAllowed bool            `json:"notAllowed,omitempty"` // for the consumer's models
	Candidates []candidateJSON `json:"candidates"`
	Refused    []admin.Refusal `json:"refused,omitempty"` // operations, by the model's backends
}

type candidateJSON struct {
	Backend  string `json:"backend"`
	Position int    `json:"position"` // from 1; 0 = skipped
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	Share    int    `json:"sharePercent,omitempty"` // how often it is the first of its priority group
	Reason   string `json:"reason,omitempty"`
	Cause    string `json:"cause,omitempty"`  // of a circuit that is not closed
	WaitMS   int64  `json:"leftMs,omitempty"` // for which the reason holds
}

func (f *explainFlags) run(ctx context.Context, out, notes io.Writer) error {
	cfg, err := config.LoadForTable()
	if err != nil {
		return whichDeployment(err)
	}
	if cfg, err = currentVersion(cfg); err != nil {
		return err
	}
	pools := cfg.CandidatePools(f.model)
	if pools == nil {
		return fmt.Errorf("no backend serves the model %q; the models are: %s", f.model, strings.Join(app.Models{Config: cfg}.Names(nil), ", "))
	}
	who, err := f.fences(cfg)
	if err != nil {
		return err
	}
	seen, err := readSnapshot(ctx, cfg, notes)
	if err != nil {
		return err
	}
	query := &balancer.Query{Now: time.Now(), Rand: rand.New(rand.NewPCG(1, 2)).Float64, Tokens: f.tokens, Load: proxy.NewLoad(len(cfg.Slots))} //nolint:gosec // the same text for the same state
	query.Geographies, query.MinPriority = who.Bounds()
	explained := make([]poolJSON, len(pools))
	for i, p := range pools {
		allowed := who.MayUse(p.Model) || p.Model == document.Wildcard && who.MayUse(f.model)
		explained[i] = poolJSON{p.Model, !allowed, candidates(p, query, seen.snapshot), seen.refused(p)}
	}
	if f.json {
		return printJSON(out, map[string]any{"model": f.model, "consumer": fencesOf(who), "tokens": f.tokens, "stream": f.stream, "health": seen.source, "pools": explained})
	}
	if who != nil {
		fmt.Fprintln(out, "consumer "+who.Name+": "+fencesOf(who).String())
	}
	fmt.Fprintf(out, "model %s as %s, about %d tokens%s; %s\n", f.model, pools[0].Model, f.tokens, map[bool]string{true: ", streamed"}[f.stream], seen.source)
	for i := range explained {
		printCandidates(out, i, &explained[i])
		if explained[0].NotAllowed {
			break // the request is refused
		}
	}
	return nil
}

// draws is how many decisions the shares are of.
const draws = 1000

// candidates are those of a pool, in the order in which most requests try them.
func candidates(p *balancer.Pool, q *balancer.Query, s *health.Snapshot) []candidateJSON {
	firsts := map[*balancer.Backend]int{}
	var d balancer.Decision
	for range draws {
		q.Sequence++
		d = p.Decide(q, s, d.Candidates)
		countFirsts(&d, firsts)
	}
	all := make([]candidateJSON, len(d.Candidates))
	for i := range d.Candidates {
		c := &d.Candidates[i]
		all[i] = candidateJSON{
			Backend: c.Backend.Name, Priority: c.Backend.Priority, Weight: c.Backend.Weight, Reason: string(c.Reason),
			WaitMS: max(c.Until.Sub(q.Now).Milliseconds(), 0),
		}
		if c.Reason.CircuitAlone() {
			all[i].Cause = s.Of(c.Backend.Slot).Reason
		}
		if i < d.Eligible {
			all[i].Share = (100*firsts[c.Backend] + draws/2) / draws
		}
	}
	slices.SortStableFunc(all[:d.Eligible], func(a, b candidateJSON) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Share, a.Share))
	})
	for i := range d.Eligible {
		all[i].Position = i + 1
	}
	return all
}

// countFirsts counts the first of each priority group.
func countFirsts(d *balancer.Decision, firsts map[*balancer.Backend]int) {
	last := -1
	for i := range d.Candidates[:d.Eligible] {
		if c := &d.Candidates[i]; c.Reason == health.NotSkipped && c.Backend.Priority > last {
			firsts[c.Backend]++
			last = c.Backend.Priority
		}
	}
}

// printCandidates prints the candidates of a pool; every pool but the first is
// a fallback.
func printCandidates(out io.Writer, i int, p *poolJSON) {
	if i > 0 {
		fmt.Fprintf(out, "when all of these are exhausted, the fallback %s:\n", p.Model)
	}
	if p.NotAllowed {
		fmt.Fprintf(out, "   -  none: %s is not among the consumer's models\n", p.Model)
		return
	}
	for _, c := range p.Candidates {
		position, reason := "   -", c.Reason+onlyIf(c.Cause != "", " ("+c.Cause+")")
		if c.Position > 0 {
			position = fmt.Sprintf("%3d.", c.Position)
		}
		if c.WaitMS > 0 {
			reason += " for " + millis(c.WaitMS)
		}
		if c.Share > 0 && c.Share < 100 {
			reason = fmt.Sprintf("first of its group for %d %% of the requests  %s", c.Share, reason)
		}
		line := fmt.Sprintf("%s %-24s priority %d, weight %d  %s", position, c.Backend, c.Priority, c.Weight, reason)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	for _, r := range p.Refused {
		who, _, _ := strings.Cut(cmp.Or(r.Slot, "every backend/"), "/")
		fmt.Fprintf(out, "   ! %-24s %s, as %s found: such requests go elsewhere\n", who, r.String(), strings.Join(r.Instances, ", "))
	}
}

// fenceJSON is what bounds a consumer's requests.
type fenceJSON struct {
	Name             string   `json:"name"`
	Models           []string `json:"models,omitempty"`
	Geographies      []string `json:"geographies,omitempty"`
	MinPriority      int      `json:"minPriority,omitempty"`
	MaxRequestTokens int64    `json:"maxRequestTokens,omitempty"`
	Concurrency      int      `json:"concurrency,omitempty"`
}

// fences returns the consumer that sends the request; nil = none is named.
func (f *explainFlags) fences(cfg *config.Config) (*consumer.Consumer, error) {
	if f.consumer == "" {
		return nil, nil
	}
	for i := range cfg.Consumers {
		if cfg.Consumers[i].Name == f.consumer {
			return &cfg.Consumers[i], nil
		}
	}
	return nil, checkConsumer(cfg, f.consumer)
}

func fencesOf(c *consumer.Consumer) *fenceJSON {
	if c == nil {
		return nil
	}
	return &fenceJSON{c.Name, c.Models, c.Geographies, c.MinPriority, c.MaxRequestTokens, c.Concurrency}
}

func (f *fenceJSON) String() string {
	var parts []string
	add := func(set bool, text string) {
		if set {
			parts = append(parts, text)
		}
	}
	add(len(f.Models) > 0, "models "+strings.Join(f.Models, ", "))
	add(len(f.Geographies) > 0, "geographies "+strings.Join(f.Geographies, ", "))
	add(f.MinPriority > 0, fmt.Sprintf("priority groups from %d on", f.MinPriority))
	add(f.MaxRequestTokens > 0, fmt.Sprintf("at most %d tokens a request", f.MaxRequestTokens))
	add(f.Concurrency > 0, fmt.Sprintf("at most %d at once on each instance", f.Concurrency))
	if len(parts) == 0 {
		return "no fences"
	}
	return strings.Join(parts, "; ")
}

// seenHealth is the health of the backends, and where it comes from.
type seenHealth struct {
	snapshot *health.Snapshot
	source   string
	shared   admin.Shared
}

func readSnapshot(ctx context.Context, cfg *config.Config, notes io.Writer) (*seenHealth, error) {
	if cfg.Settings.State.Memory() {
		return &seenHealth{snapshot: &health.Snapshot{}, source: "no shared state is configured, so all backends count as healthy"}, nil
	}
	t, err := tablesOf(cfg, notes)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	if err := t.replica.Read(ctx); err != nil {
		return nil, fmt.Errorf("read shared state (%s): %w", cfg.Settings.State.Setting, err)
	}
	return &seenHealth{t.replica.Snapshot(), "health as in the table now", t.readShared(ctx, time.Now())}, nil
}

// refused are the operations that backends of the pool refuse.
func (s *seenHealth) refused(p *balancer.Pool) (all []admin.Refusal) {
	for _, r := range s.shared.Refusals {
		if _, model, _ := strings.Cut(r.Slot, "/"); cmp.Or(r.Model, model) == p.Model {
			all = append(all, r)
		}
	}
	return all
}
