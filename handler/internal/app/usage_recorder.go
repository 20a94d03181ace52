package app

import (
	"context"
	"crypto/rand"
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

// spending is what was used, by whom, and whether there is traffic at all.
type spending struct {
	book  *accounting.Recorder
	store tablestore.Store
	busy  atomic.Bool
	pools []*balancer.Pool // by health.Slot
}

var _ api.Observer = (*spending)(nil)

// openSpending keeps the usage of this instance, and has the fleet's tables
// tidied by one of its instances.
func (g *gateway) openSpending(cfg *config.Config) (*spending, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+usageTable)
	if err != nil {
		return nil, err
	}
	s := &spending{store: store, pools: poolsOf(cfg), book: accounting.New(accounting.Config{
		Store: store, Instance: cfg.Settings.Instance, BootID: rand.Text(), OnError: func(err error) {
			g.sight.log.WarnContext(context.Background(), "usage is not written down; it is kept until it is", "error", err)
		},
	})}
	g.sight.watched = append(g.sight.watched, s)
	g.beside = append(g.beside, s.book.Run)
	if !cfg.Settings.State.Memory() {
		keeper := &fleet.Janitor{
			Store: store, Busy: func() bool { return s.busy.Swap(false) }, Instance: cfg.Settings.Instance, OnDone: g.tidied,
			Tasks: []fleet.Task{
				{Name: "stamps of instances that are gone", Run: g.keeper.DeleteStaleHeartbeats},
				{Name: "usage of long ago", Run: func(ctx context.Context) (int, error) { return accounting.DeleteExpired(ctx, store, time.Now()) }},
			},
		}
		g.beside = append(g.beside, keeper.Run)
	}
	return s, nil
}

// poolsOf is the pool that each slot belongs to.
func poolsOf(cfg *config.Config) []*balancer.Pool {
	all := make([]*balancer.Pool, len(cfg.Slots))
	for i := range cfg.Pools {
		for _, b := range cfg.Pools[i].Backends {
			all[b.Slot] = &cfg.Pools[i]
		}
	}
	return all
}

// tidied tells of a chore.
func (g *gateway) tidied(chore string, removed int, err error) {
	ctx := context.Background()
	switch {
	case err != nil:
		g.sight.log.WarnContext(ctx, "housekeeping failed; it is tried again in an hour", "chore", chore, "removed", removed, "error", err)
	case removed > 0:
		g.sight.log.InfoContext(ctx, "housekeeping", "chore", chore, "removed", removed)
	}
}

// RequestDone books a request that a backend served, and what other backends are known
// to have used for it in vain: they bill it all the same.
func (s *spending) RequestDone(x *api.RequestRecord) {
	s.busy.Store(true)
	r := x.Result
	if r == nil {
		return
	}
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.Wasted != (usage.Tokens{}) {
			s.add(x, s.poolOf(r, a.Backend), a.Backend, accounting.Totals{Tokens: a.Wasted})
		}
	}
	if r.ServedBy == nil {
		return
	}
	d := &r.Delivery
	sum := accounting.Totals{Requests: 1, Tokens: d.Usage}
	if d.Broken {
		sum.Broken = 1
	}
	if d.Usage == (usage.Tokens{}) && x.Status < http.StatusBadRequest {
		sum.Unmetered = 1
	}
	s.add(x, r.Pool, r.ServedBy, sum)
}

// add books a sum, and what it costs.
func (s *spending) add(x *api.RequestRecord, p *balancer.Pool, b *balancer.Backend, sum accounting.Totals) {
	k := accounting.Key{Model: p.Model, Backend: b.Name, Currency: p.Price.Currency}
	if x.Consumer != nil {
		k.Consumer = x.Consumer.Name
	}
	sum.Cost = accounting.MoneyOf(p.Price.Cost(sum.Tokens))
	s.book.Add(x.Start.Add(x.Duration), k, sum)
}

// poolOf is the pool that a backend was tried for: the last one, or one that
// it is the fallback of.
func (s *spending) poolOf(r *proxy.Result, b *balancer.Backend) *balancer.Pool {
	for i := range r.Pool.Backends {
		if r.Pool.Backends[i].Slot == b.Slot {
			return r.Pool
		}
	}
	return s.pools[b.Slot]
}

// rows is everybody's usage, for the status page.
func (s *spending) rows(ctx context.Context, from, to time.Time) ([]admin.UsageRow, error) {
	_ = s.book.Flush(ctx) // what cannot be written cannot be read either
	lines, err := (&accounting.Reader{Store: s.store}).Rows(ctx, from, to)
	if lines == nil && err != nil {
		return nil, err //nolint:wrapcheck // it says what was read
	}
	rows := make([]admin.UsageRow, len(lines))
	for i := range lines {
		l := &lines[i]
		rows[i] = admin.UsageRow{
			Hour: l.Hour, Consumer: l.Consumer, Model: l.Model, Backend: l.Backend, Requests: l.Requests, Unmetered: l.Unmetered,
			Tokens: l.Tokens, Cost: l.Cost.Amount(), Currency: l.Currency,
		}
	}
	return rows, nil
}

// NewUsageReader reads the usage that the instances of cfg have written.
func NewUsageReader(cfg *config.Config) (*accounting.Reader, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable+usageTable)
	if err != nil {
		return nil, err
	}
	return &accounting.Reader{Store: store}, nil
}
