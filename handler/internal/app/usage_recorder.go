package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/admin"
	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/tablestore"
)

// usageRecorder records the tokens and the cost of finished requests.
type usageRecorder struct {
	*accounting.Recorder
	store  tablestore.Store
	active atomic.Bool      // a request finished since the janitor's last run
	pools  []*balancer.Pool // by health.Slot
}

var _ api.Observer = (*usageRecorder)(nil)

func newUsageRecorder(cfg *config.Config, log *slog.Logger) (*usageRecorder, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+usageTable)
	if err != nil {
		return nil, err
	}
	return &usageRecorder{store: store, pools: poolsBySlot(cfg), Recorder: accounting.New(accounting.Config{
		Store: store, Instance: cfg.Settings.Instance, BootID: rand.Text(), OnError: func(err error) {
			log.WarnContext(context.Background(), "usage is not written to the table; it is kept in memory and retried", "error", err)
		},
	})}, nil
}

// newJanitor deletes expired rows from the tables. One instance of the app does
// it at a time.
func newJanitor(cfg *config.Config, log *slog.Logger, u *usageRecorder, replica *fleet.Replica) *fleet.Janitor {
	return &fleet.Janitor{
		Store: u.store, Busy: func() bool { return u.active.Swap(false) }, Instance: cfg.Settings.Instance,
		OnDone: func(chore string, removed int, err error) { logChore(log, chore, removed, err) },
		Tasks: []fleet.Task{
			{Name: "rows of ended instances", Run: replica.DeleteStaleHeartbeats},
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

// RequestDone records a request that a backend served, and the tokens that other
// backends reported for attempts that were not delivered: they bill them too.
func (u *usageRecorder) RequestDone(x *api.RequestRecord) {
	u.active.Store(true)
	r := x.Result
	if r == nil {
		return
	}
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.Wasted != (usage.Tokens{}) {
			u.add(x, u.poolOf(r, a.Backend), a.Backend, accounting.Totals{Tokens: a.Wasted})
		}
	}
	if r.ServedBy == nil {
		return
	}
	d := &r.Delivery
	totals := accounting.Totals{Requests: 1, Tokens: d.Usage}
	if d.Broken {
		totals.Broken = 1
	}
	if d.Usage == (usage.Tokens{}) && x.Status < http.StatusBadRequest {
		totals.Unmetered = 1
	}
	u.add(x, r.Pool, r.ServedBy, totals)
}

// add records totals and their cost.
func (u *usageRecorder) add(x *api.RequestRecord, p *balancer.Pool, b *balancer.Backend, totals accounting.Totals) {
	k := accounting.Key{Model: p.Model, Backend: b.Name, Currency: p.Price.Currency}
	if x.Consumer != nil {
		k.Consumer = x.Consumer.Name
	}
	totals.Cost = accounting.MoneyOf(p.Price.Cost(totals.Tokens))
	u.Add(x.Start.Add(x.Duration), k, totals)
}

// poolOf is the pool for which a backend was tried: the last one, or one that
// has it as a fallback.
func (u *usageRecorder) poolOf(r *proxy.Result, b *balancer.Backend) *balancer.Pool {
	for i := range r.Pool.Backends {
		if r.Pool.Backends[i].Slot == b.Slot {
			return r.Pool
		}
	}
	return u.pools[b.Slot]
}

// rows is the usage of all instances, for the status page.
func (u *usageRecorder) rows(ctx context.Context, from, to time.Time) ([]admin.UsageRow, error) {
	_ = u.Flush(ctx) // when writing fails, so does reading, which reports it
	all, err := (&accounting.Reader{Store: u.store}).Rows(ctx, from, to)
	if all == nil && err != nil {
		return nil, err
	}
	rows := make([]admin.UsageRow, len(all))
	for i := range all {
		l := &all[i]
		rows[i] = admin.UsageRow{
			Hour: l.Hour, Consumer: l.Consumer, Model: l.Model, Backend: l.Backend, Requests: l.Requests, Unmetered: l.Unmetered,
			Tokens: l.Tokens, Cost: l.Cost.Amount(), Currency: l.Currency,
		}
	}
	return rows, nil
}

// NewUsageReader reads the usage that the instances of cfg wrote.
func NewUsageReader(cfg *config.Config) (*accounting.Reader, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+usageTable)
	if err != nil {
		return nil, err
	}
	return &accounting.Reader{Store: store}, nil
}
