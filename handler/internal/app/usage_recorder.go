package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"sync/atomic"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/admin"
	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
)

// usageRecorder records the tokens and the cost of finished requests.
type usageRecorder struct {
	*accounting.Recorder
	store  tablestore.Store
	active atomic.Bool // a request finished since the janitor's last run
}

var _ api.Observer = (*usageRecorder)(nil)

func newUsageRecorder(cfg *config.Config) (*usageRecorder, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+usageTable)
	if err != nil {
		return nil, err
	}
	return &usageRecorder{store: store, Recorder: accounting.New(accounting.Config{
		Store: store, Instance: cfg.Settings.Instance, BootID: rand.Text(),
	})}, nil
}

// newJanitor deletes expired rows from the tables. One instance of the app does
// it at a time.
func newJanitor(cfg *config.Config, log *slog.Logger, u *usageRecorder, quotas *quotas, replica *fleet.Replica) *fleet.Janitor {
	return &fleet.Janitor{
		Store: u.store, Busy: func() bool { return u.active.Swap(false) }, Instance: cfg.Settings.Instance,
		OnDone: func(chore string, removed int, err error) { logChore(log, chore, removed, err) },
		Tasks: []fleet.Task{
			{Name: "rows of ended instances", Run: replica.DeleteStaleHeartbeats},
			{Name: "rows of idle callers", Run: func(ctx context.Context) (int, error) {
				return quota.DeleteIdleCallers(ctx, quotas.store, quotas.Consumers(), time.Now())
			}},
			{Name: "traffic of ended instances", Run: func(ctx context.Context) (int, error) { return admin.DeleteStaleTraffic(ctx, u.store, time.Now()) }},
			{Name: "expired usage", Run: func(ctx context.Context) (int, error) { return accounting.DeleteExpired(ctx, u.store, time.Now()) }},
		},
	}
}

func logChore(log *slog.Logger, chore string, removed int, err error) {
	ctx := context.Background()
	switch {
	case err != nil:
		log.WarnContext(ctx, "housekeeping failed; it is retried in an hour", "chore", chore, "removed", removed, "error", err)
	case removed > 0:
		log.InfoContext(ctx, "housekeeping", "chore", chore, "removed", removed)
	}
}

func poolsBySlot(cfg *config.Config) []*balancer.Pool {
	all := make([]*balancer.Pool, len(cfg.Slots))
	for i := range cfg.Pools {
		for _, b := range cfg.Pools[i].Backends {
			all[b.Slot] = &cfg.Pools[i]
		}
	}
	return all
}

// RequestDone records what the attempts of a request used, those that were not
// delivered included: backends bill them too.
func (u *usageRecorder) RequestDone(x *api.RequestRecord) {
	u.active.Store(true)
	for i := range x.Charges {
		u.record(x, &x.Charges[i])
	}
}

func (u *usageRecorder) record(x *api.RequestRecord, c *metering.Charge) {
	k := accounting.Key{Caller: cmp.Or(c.Caller, x.CallerKey), Model: c.Pool.Model, Backend: c.Backend.Name, Currency: c.Pool.Price.Currency, Tier: c.Tier}
	if x.Consumer != nil {
		k.Consumer = x.Consumer.Name
	}
	totals := accounting.Totals{Tokens: c.Tokens, Cost: accounting.MoneyOf(c.Cost)}
	if c.Delivered {
		totals.Requests = 1
	}
	if c.Broken {
		totals.Broken = 1
	}
	if c.Estimated {
		totals.Unmetered = boolToInt(c.Delivered)
		totals.Estimated, totals.EstimatedCost = c.Tokens, totals.Cost
	}
	at := c.At
	if at.IsZero() {
		at = x.Start.Add(x.Duration)
	}
	if c.Withdrawn {
		u.Withdraw(at, k, totals)
	} else {
		u.Add(at, k, totals)
	}
}

func boolToInt(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// rows is the usage of all instances, for the status page.
func (u *usageRecorder) rows(ctx context.Context, from, to time.Time) ([]accounting.Row, error) {
	_ = u.Flush(ctx) // when writing fails, so does reading, which reports it
	all, err := (&accounting.Reader{Store: u.store}).Rows(ctx, from, to)
	if all == nil && err != nil {
		return nil, err
	}
	return all, nil
}

// NewTraffic is the table in which the instances of cfg share their traffic.
func NewTraffic(cfg *config.Config) (tablestore.Store, error) {
	return OpenStore(cfg, cfg.Settings.StateTable+usageTable)
}

// NewUsageReader reads the usage that the instances of cfg wrote.
func NewUsageReader(cfg *config.Config) (*accounting.Reader, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+usageTable)
	if err != nil {
		return nil, err
	}
	return &accounting.Reader{Store: store}, nil
}
