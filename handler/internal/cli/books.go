package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/config"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
)

// books is the consumers' quotas and issued keys, which share a table and its
// notice board.
type books struct {
	*quota.Ledger
	store tablestore.Store
}

// booksTable is behind the prefix of the tables' names.
const booksTable = "books"

func (g *gateway) openBooks(cfg *config.Config, log *slog.Logger) (*books, error) {
	store, err := openStore(cfg, cfg.Settings.StateTable+booksTable)
	if err != nil {
		return nil, err
	}
	var who []*consumer.Consumer
	for i := range cfg.Consumers {
		who = append(who, &cfg.Consumers[i])
	}
	b := &books{store: store, Ledger: quota.New(quota.Config{
		Store: store, Consumers: who, Refresh: cfg.Settings.StateRefresh, Count: g.instances,
		Trouble: func(err error) { log.WarnContext(context.Background(), "quotas are not kept in step", "error", err) },
	})}
	g.beside = append(g.beside, b.Run)
	return b, nil
}

// instances counts the instances that told the table of themselves lately.
func (g *gateway) instances(ctx context.Context) (int, error) {
	fleet, err := g.keeper.Fleet(ctx)
	if err != nil {
		return 0, fmt.Errorf("count instances: %w", err)
	}
	return len(fleet.Instances), nil
}

// ring is the keys that were issued at run time. It must be closed.
func (b *books) ring(cfg *config.Config, log *slog.Logger) *keys.Ring {
	r := &keys.Ring{
		Store: b.store, Board: b.Board(), Refresh: cfg.Settings.StateRefresh, Now: time.Now,
		Trouble: func(err error) { log.WarnContext(context.Background(), "issued keys cannot be read", "error", err) },
	}
	b.Board().Heard = append(b.Board().Heard, r.Heard)
	return r
}
