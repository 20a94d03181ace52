package app

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
	*quota.Limiter
	store tablestore.Store
}

func (g *gateway) openBooks(cfg *config.Config, log *slog.Logger) (*books, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+quotaTable)
	if err != nil {
		return nil, err
	}
	b := &books{store: store, Limiter: quota.New(quota.Config{
		Store: store, Consumers: consumers(cfg), Refresh: cfg.Settings.StateRefresh, CountInstances: g.instances,
		OnError: func(err error) { log.WarnContext(context.Background(), "quotas are not kept in step", "error", err) },
	})}
	g.beside = append(g.beside, b.Run)
	return b, nil
}

// instances counts the instances that told the table of themselves lately.
func (g *gateway) instances(ctx context.Context) (int, error) {
	fleet, err := g.keeper.ReadState(ctx)
	if err != nil {
		return 0, fmt.Errorf("count instances: %w", err)
	}
	return len(fleet.Instances), nil
}

// ring is the keys that were issued at run time. It must be closed.
func (b *books) ring(cfg *config.Config, log *slog.Logger) *keys.Cache {
	r := &keys.Cache{
		Store: b.store, Feed: b.Feed(), RefreshInterval: cfg.Settings.StateRefresh, Now: time.Now,
		OnError: func(err error) { log.WarnContext(context.Background(), "issued keys cannot be read", "error", err) },
	}
	b.Feed().OnRead = append(b.Feed().OnRead, r.OnFeedRead)
	return r
}

func consumers(cfg *config.Config) []*consumer.Consumer {
	all := make([]*consumer.Consumer, len(cfg.Consumers))
	for i := range cfg.Consumers {
		all[i] = &cfg.Consumers[i]
	}
	return all
}

// NewIssuer issues and revokes the keys that the instances of cfg accept.
func NewIssuer(cfg *config.Config) (*keys.Issuer, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+quotaTable)
	if err != nil {
		return nil, err
	}
	// The number of the board's rows follows from the consumers' limits.
	board := quota.New(quota.Config{Store: store, Consumers: consumers(cfg), Refresh: cfg.Settings.StateRefresh}).Feed()
	return &keys.Issuer{Store: store, Feed: board}, nil
}
