package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"spillway/handler/internal/app"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// explain prints the decision that a request would meet now: with shared
// state, by what the table says of the backends; without, with all of them
// healthy.
func explain(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	model := flags.String("model", "", "")
	tokens := flags.Int64("tokens", 0, "")
	stream := flags.Bool("stream", false, "")
	if err := flags.Parse(args); err != nil || *model == "" || flags.NArg() > 0 {
		return fmt.Errorf("%w: spillway explain --model M [--tokens N] [--stream]", errUsage)
	}
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	line := cfg.CandidatePools(*model)
	if line == nil {
		return fmt.Errorf("no backend serves the model %q; the models are: %s", *model, strings.Join(app.Models{Config: cfg}.Names(nil), ", "))
	}
	snapshot, said, err := readSnapshot(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "model %s as %s, about %d tokens%s; %s\n", *model, line[0].Model, *tokens, map[bool]string{true: ", streamed"}[*stream], said)
	query := &balancer.Query{Now: time.Now(), Rand: rand.Float64, Tokens: *tokens, Load: proxy.NewLoad(len(cfg.Slots))}
	for i, p := range line {
		if i > 0 {
			fmt.Fprintf(out, "when all of these are exhausted, the fallback %s:\n", p.Model)
		}
		d := p.Decide(query, snapshot, nil)
		printDecision(out, &d, query.Now)
	}
	return nil
}

// printDecision prints one decision, a candidate a line.
func printDecision(out io.Writer, d *balancer.Decision, now time.Time) {
	for i := range d.Candidates {
		c := &d.Candidates[i]
		place, reason := "   -", string(c.Reason)
		if i < d.Eligible {
			place = fmt.Sprintf("%3d.", i+1)
		}
		if left := c.Until.Sub(now); left > 0 {
			reason += fmt.Sprintf(" for %s", left.Round(time.Millisecond))
		}
		line := fmt.Sprintf("%s %-24s priority %d, weight %d  %s", place, c.Backend.Name, c.Backend.Priority, c.Backend.Weight, reason)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
}

// readSnapshot is what the table says of the backends.
func readSnapshot(ctx context.Context, cfg *config.Config) (*health.Snapshot, string, error) {
	if cfg.Settings.State.Memory() {
		return &health.Snapshot{}, "no shared state is configured, so all backends count as healthy", nil
	}
	replica, err := app.NewReplica(cfg)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := replica.Read(ctx); err != nil {
		return nil, "", fmt.Errorf("read shared state (%s): %w", cfg.Settings.State.Setting, err)
	}
	return replica.Snapshot(), "health as the table has it now", nil
}
