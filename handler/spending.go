package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync/atomic"
	"time"

	"spillway/handler/config"
	"spillway/handler/housekeeping"
	"spillway/handler/ops"
	"spillway/handler/server"
	"spillway/handler/table"
	"spillway/handler/usage"
	"spillway/handler/usagebook"
)

// usageTable is behind the prefix of the tables' names.
const usageTable = "usage"

// spending is what was used, by whom, and whether there is traffic at all.
type spending struct {
	book  *usagebook.Book
	store table.Store
	busy  atomic.Bool
}

var _ server.Watcher = (*spending)(nil)

// openSpending keeps the usage of this instance, and has the fleet's tables
// tidied by one of its instances.
func (g *gateway) openSpending(cfg *config.Config) (*spending, error) {
	store, err := openStore(cfg, cfg.Settings.StateTable+usageTable)
	if err != nil {
		return nil, err
	}
	s := &spending{store: store, book: usagebook.New(usagebook.Config{
		Store: store, Instance: cfg.Settings.Instance, Boot: rand.Text(), Trouble: func(err error) {
			g.sight.log.WarnContext(context.Background(), "usage is not written down; it is kept until it is", "error", err)
		},
	})}
	g.sight.watched = append(g.sight.watched, s)
	g.beside = append(g.beside, s.book.Run)
	if !cfg.Settings.State.Memory() {
		keeper := &housekeeping.Keeper{
			Store: store, Busy: func() bool { return s.busy.Swap(false) }, Instance: cfg.Settings.Instance, Done: g.tidied,
			Chores: []housekeeping.Chore{
				{Name: "stamps of instances that are gone", Do: g.keeper.Sweep},
				{Name: "usage of long ago", Do: func(ctx context.Context) (int, error) { return usagebook.Tidy(ctx, store, time.Now()) }},
			},
		}
		g.beside = append(g.beside, keeper.Run)
	}
	return s, nil
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

// Saw books a request that a backend served.
func (s *spending) Saw(x *server.Exchange) {
	s.busy.Store(true)
	r := x.Result
	if r == nil || r.Served == nil {
		return
	}
	d := &r.Delivery
	k := usagebook.Key{Model: r.Pool.Model, Backend: r.Served.Name, Currency: r.Pool.Price.Currency}
	if x.Consumer != nil {
		k.Consumer = x.Consumer.Name
	}
	sum := usagebook.Sum{Requests: 1, Tokens: d.Usage, Cost: usagebook.MoneyOf(r.Pool.Price.Cost(d.Usage))}
	if d.Broken {
		sum.Broken = 1
	}
	if d.Usage == (usage.Tokens{}) && x.Status < http.StatusBadRequest {
		sum.Unmetered = 1
	}
	s.book.Add(x.Began.Add(x.Took), k, sum)
}

// rows is everybody's usage, for the status page.
func (s *spending) rows(ctx context.Context, from, to time.Time) ([]ops.UsageRow, error) {
	_ = s.book.Flush(ctx) // what cannot be written cannot be read either
	lines, err := (&usagebook.Reader{Store: s.store}).Lines(ctx, from, to)
	if lines == nil && err != nil {
		return nil, err //nolint:wrapcheck // it says what was read
	}
	rows := make([]ops.UsageRow, len(lines))
	for i := range lines {
		l := &lines[i]
		rows[i] = ops.UsageRow{
			Hour: l.Hour, Consumer: l.Consumer, Model: l.Model, Backend: l.Backend, Requests: l.Requests,
			Tokens: l.Tokens, Cost: l.Cost.Amount(), Currency: l.Currency,
		}
	}
	return rows, nil
}
