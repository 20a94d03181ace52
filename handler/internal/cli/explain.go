package cli

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/app"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// explainFlags is the request that `spillway explain` explains.
type explainFlags struct {
	model        string
	tokens       int64
	stream, json bool
	request      string // id of one that has ended
}

func explainCommand() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use: "explain [LOG...]", Short: "Print which backends a request would be sent to, in which order, and why; or what became of one",
		Long: "Prints the order in which the backends of a model would be tried now, and why\n" +
			"others are skipped. The health of the backends is read from the shared state;\nwithout one, all count as healthy.\n\n" +
			"With --request it finds the log line of a request that has ended, by the id in its\nx-request-id, in the files LOG or on standard input, and prints why it went where it went.\n" + targetHelp,
		Example: "  spillway explain --model gpt-4o --tokens 2000\n  spillway explain --request req_ABC spillway.log\n  tail -n 10000 spillway.log | spillway explain --request req_ABC --json",
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.request != "" && f.model != "":
				return usageError(c, "--request and --model exclude each other")
			case f.request != "":
				return explainRequest(f.request, args, c.InOrStdin(), c.OutOrStdout(), f.json)
			case f.model == "":
				return usageError(c, "--model or --request is missing")
			case len(args) > 0:
				return usageError(c, "log files are read with --request only")
			}
			return f.run(c.Context(), c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&f.model, "model", "", "the `model` or alias that the request names")
	c.Flags().Int64Var(&f.tokens, "tokens", 0, "the tokens that the request needs, about")
	c.Flags().StringVar(&f.request, "request", "", "the `id` of a request that has ended")
	c.Flags().BoolVar(&f.stream, "stream", false, "the request asks for a stream")
	jsonFlag(c, &f.json)
	return withTarget(c)
}

type poolJSON struct {
	Model      string          `json:"model"`
	Candidates []candidateJSON `json:"candidates"`
}

type candidateJSON struct {
	Backend  string `json:"backend"`
	Position int    `json:"position"` // from 1; 0 = skipped
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	Reason   string `json:"reason,omitempty"`
	WaitMS   int64  `json:"leftMs,omitempty"` // for which the reason holds
}

func (f *explainFlags) run(ctx context.Context, out io.Writer) error {
	cfg, err := config.LoadForTable()
	if err != nil {
		return err
	}
	pools := cfg.CandidatePools(f.model)
	if pools == nil {
		return fmt.Errorf("no backend serves the model %q; the models are: %s", f.model, strings.Join(app.Models{Config: cfg}.Names(nil), ", "))
	}
	snapshot, source, err := readSnapshot(ctx, cfg)
	if err != nil {
		return err
	}
	query := &balancer.Query{Now: time.Now(), Rand: rand.Float64, Tokens: f.tokens, Load: proxy.NewLoad(len(cfg.Slots))}
	explained := make([]poolJSON, len(pools))
	for i, p := range pools {
		d := p.Decide(query, snapshot, nil)
		explained[i] = poolJSON{p.Model, candidates(&d, query.Now)}
	}
	if f.json {
		return printJSON(out, map[string]any{"model": f.model, "tokens": f.tokens, "stream": f.stream, "health": source, "pools": explained})
	}
	fmt.Fprintf(out, "model %s as %s, about %d tokens%s; %s\n", f.model, pools[0].Model, f.tokens, map[bool]string{true: ", streamed"}[f.stream], source)
	for i := range explained {
		printCandidates(out, i, &explained[i])
	}
	return nil
}

func candidates(d *balancer.Decision, now time.Time) []candidateJSON {
	all := make([]candidateJSON, len(d.Candidates))
	for i := range d.Candidates {
		c := &d.Candidates[i]
		all[i] = candidateJSON{
			Backend: c.Backend.Name, Priority: c.Backend.Priority, Weight: c.Backend.Weight, Reason: string(c.Reason),
			WaitMS: max(c.Until.Sub(now).Milliseconds(), 0),
		}
		if i < d.Eligible {
			all[i].Position = i + 1
		}
	}
	return all
}

// printCandidates prints the candidates of a pool; every pool but the first is
// a fallback.
func printCandidates(out io.Writer, i int, p *poolJSON) {
	if i > 0 {
		fmt.Fprintf(out, "when all of these are exhausted, the fallback %s:\n", p.Model)
	}
	for _, c := range p.Candidates {
		position, reason := "   -", c.Reason
		if c.Position > 0 {
			position = fmt.Sprintf("%3d.", c.Position)
		}
		if c.WaitMS > 0 {
			reason += " for " + millis(c.WaitMS)
		}
		line := fmt.Sprintf("%s %-24s priority %d, weight %d  %s", position, c.Backend, c.Priority, c.Weight, reason)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
}

// readSnapshot is the health of the backends, and where it comes from.
func readSnapshot(ctx context.Context, cfg *config.Config) (*health.Snapshot, string, error) {
	if cfg.Settings.State.Memory() {
		return &health.Snapshot{}, "no shared state is configured, so all backends count as healthy", nil
	}
	replica, err := app.NewReplica(cfg)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	if err := replica.Read(ctx); err != nil {
		return nil, "", fmt.Errorf("read shared state (%s): %w", cfg.Settings.State.Setting, err)
	}
	return replica.Snapshot(), "health as in the table now", nil
}
