package app

import (
	"context"
	"log/slog"
	"time"

	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/config"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/telemetry/webhook"
)

// quotas is the consumers' limits. Their table also holds the issued keys.
type quotas struct {
	*quota.Limiter
	store tablestore.Store
}

func newQuotas(cfg *config.Config, log *slog.Logger, onError func(error), onWarning func(w *quota.Warning), countInstances func(context.Context) (int, error)) (*quotas, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+quotaTable)
	if err != nil {
		return nil, err
	}
	return &quotas{store: store, Limiter: quota.New(quota.Config{
		Store: store, Consumers: consumers(cfg), Refresh: cfg.Settings.StateRefresh, CountInstances: countInstances,
		Warnings: quota.Warnings{Report: onWarning, Deliver: deliverWarning(cfg, log)},
		OnError:  onError,
	})}, nil
}

// deliverWarning sends warnings to the webhook; nil when there is none.
func deliverWarning(cfg *config.Config, log *slog.Logger) func(ctx context.Context, w *quota.Warning) error {
	if !cfg.Settings.Webhook.Set() {
		return nil
	}
	hook := &webhook.Webhook{URL: cfg.Settings.Webhook.Reveal(), Secret: cfg.Settings.WebhookSecret.Reveal(), OnError: func(err error) {
		log.WarnContext(context.Background(), "a warning has not reached the webhook; it is retried", "error", err)
	}}
	return func(ctx context.Context, w *quota.Warning) error { return hook.Deliver(ctx, w.ID, "budget.warning", w) }
}

// keyCache is the issued keys. It must be called before Run, and the cache be
// closed.
func (q *quotas) keyCache(cfg *config.Config, onError func(error)) *keys.Cache {
	r := &keys.Cache{
		Store: q.store, Feed: q.Feed(), RefreshInterval: cfg.Settings.StateRefresh, Now: time.Now,
		OnError: onError,
	}
	q.Feed().Subscribe(r.OnFeedRead)
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
	// The consumers' limits decide in which row of the feed the keys' version is.
	q, err := newQuotas(cfg, slog.New(slog.DiscardHandler), nil, nil, nil)
	if err != nil {
		return nil, err
	}
	return &keys.Issuer{Store: q.store, Feed: q.Feed()}, nil
}
