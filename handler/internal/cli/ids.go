package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/openai/operations"
)

func idsCommand() *cobra.Command {
	return withTarget(group(
		&cobra.Command{
			Use: "ids", Short: "Give stored objects that have no owner to a consumer",
			Long: "Where there are several consumers, an object belongs to the consumer that made it\n" +
				"through the gateway, and nobody reaches any other. What was made before, or without\nthe gateway, can be adopted.\n" + targetHelp,
			Example: "  spillway ids adopt --consumer team-a --backend payg-sweden file-abc123",
		},
		adoptCommand(),
	))
}

// adoption is the flags of "ids adopt".
type adoption struct {
	consumer, backend, kind string
	dryRun                  bool
}

func adoptCommand() *cobra.Command {
	var a adoption
	c := &cobra.Command{
		Use: "adopt ID...", Short: "Record a consumer as the owner of objects at a backend",
		Long: "Records a consumer as the owner of files, vector stores and other objects that a\nbackend holds. An object that has an owner keeps it. Name only what you know to be\nthe consumer's: what the batch of another has written has no owner until it asks.",
		Example: "  spillway ids adopt --consumer team-a --backend payg-sweden file-abc123 vs_def456\n" +
			"  spillway ids adopt --dry-run --consumer team-a --backend payg-sweden --kind file 1234",
		RunE: func(c *cobra.Command, ids []string) error {
			if len(ids) == 0 || a.consumer == "" || a.backend == "" {
				return usageError(c, "name the consumer, the backend, and at least one id")
			}
			cfg, err := loadPools("every adopted id")
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), tableTimeout)
			defer cancel()
			return a.adopt(ctx, c, cfg, ids)
		},
	}
	c.Flags().StringVar(&a.consumer, "consumer", "", "the consumer that will own them")
	c.Flags().StringVar(&a.backend, "backend", "", "the backend that holds them")
	c.Flags().StringVar(&a.kind, "kind", "", "what they are, where the id does not show it: file, vector_store, …")
	c.Flags().BoolVar(&a.dryRun, "dry-run", false, "only say what would be recorded")
	return c
}

// adopt records the owner of each id, and goes on after one that has another.
func (a *adoption) adopt(ctx context.Context, c *cobra.Command, cfg *config.Config, ids []string) error {
	model, err := a.check(cfg)
	if err != nil {
		return err
	}
	store, err := app.NewAffinity(cfg, nil)
	if err != nil {
		return err
	}
	var failed []error
	for _, id := range ids {
		kind := operations.Kind(a.kind)
		if kind == "" {
			kind = operations.KindOf(id)
		}
		if kind == "" {
			failed = append(failed, fmt.Errorf("%s: what it is cannot be read from the id; name it with --kind", id))
			continue
		}
		l := affinity.Location{Backend: a.backend, Model: model, Kind: string(kind), Owner: a.consumer, CreatedAt: time.Now()}
		says, err := a.record(ctx, store, l, id)
		if err != nil {
			failed = append(failed, fmt.Errorf("adopt %s: %w", id, err))
			continue
		}
		fmt.Fprintf(c.OutOrStdout(), "%s %s %s %s\n", strings.ReplaceAll(string(kind), "_", " "), id, says, a.consumer)
	}
	return errors.Join(failed...)
}

// record records the owner of one id, or says what it would do.
func (a *adoption) record(ctx context.Context, store *affinity.Store, l affinity.Location, id string) (says string, err error) {
	if !a.dryRun {
		return "belongs to", untilAnswered(ctx, func() error { return store.Claim(ctx, l, id) })
	}
	err = untilAnswered(ctx, func() error { _, err := store.Lookup(ctx, l.Owner, id); return err })
	if errors.Is(err, affinity.ErrUnknown) {
		return "would belong to", nil
	}
	return "belongs already to", err
}

// untilAnswered asks the table until it answers or ctx is done: the store waits only as
// long as a request may.
func untilAnswered(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		if !errors.Is(err, affinity.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// check returns a model of the backend.
func (a *adoption) check(cfg *config.Config) (model string, err error) {
	if a.kind != "" && !operations.Kind(a.kind).Known() {
		return "", fmt.Errorf("there is no kind %q; use one such as file, vector_store, batch, response, conversation or prompt", a.kind)
	}
	if err := checkConsumer(cfg, a.consumer); err != nil {
		return "", err
	}
	var names []string
	for i := range cfg.Pools {
		for j := range cfg.Pools[i].Backends {
			name := cfg.Pools[i].Backends[j].Name
			if name == a.backend {
				return cfg.Pools[i].Model, nil
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return "", fmt.Errorf("there is no backend %q in the pool document; use one of: %s", a.backend, strings.Join(slices.Compact(names), ", "))
}
