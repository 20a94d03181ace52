package quota

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// contended is a table whose rows of quotas others always write first.
type contended struct{ *counting }

func (c contended) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	_ = c.record(ctx, row.Partition)
	return "", tablestore.Response{}, tablestore.ErrConflict
}

// A request that the table keeps waiting is served from what the instance may spend
// without it, and then refused for the moment: nothing says that the limit is spent.
func TestLimitThatIsNotReadInTimeIsNotUsedUp(t *testing.T) {
	for name, c := range map[string]*consumer.Consumer{
		"tokens of a month": {Name: "team-a", TokensPerMonth: 100_000_000},
		"money":             {Name: "team-a", BudgetPerMonth: 250},
		"a minute":          {Name: "team-a", TokensPerMinute: 1_000_000},
	} {
		for _, down := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(midMonth)
				ctx, cancel := context.WithCancel(t.Context())
				var g sync.WaitGroup
				store := &counting{Store: new(memory.Store)}
				l := open(ctx, &g, Config{Store: contended{store}, Consumers: []*consumer.Consumer{c}, CountInstances: fleetOf(100), Rand: func() float64 { return .5 }})
				if _, over := reserve(t, l, c, 1000); over == nil || !over.Unknown || !over.Retryable || over.Wait != time.Second || over.Resets.IsZero() != (c.TokensPerMinute > 0) {
					t.Errorf("%s, of an instance that has just started: %+v", name, over)
				}
				warmUp(l)
				store.set(0, down)
				served := 0
				var over *ExceededError
				for ; served < 200 && over == nil; served++ { // ten are its part, and a hundred a month's lease
					_, over = reserve(t, l, c, 1000)
				}
				if over == nil {
					t.Fatalf("%s, table down %t: %d served", name, down, served)
				}
				if c.TokensPerMinute > 0 && down {
					over.Unknown = true // its part of the minute is a limit of its own
				}
				if served < 11 || served > 112 || !over.Unknown || !over.Retryable {
					t.Errorf("%s, table down %t: %d served, then %+v", name, down, served, over)
				}
				store.set(0, false)
				cancel()
				g.Wait()
			})
		}
	}
}

// slow is a table that takes up to half a second.
type slow struct{ tablestore.Store }

func (s slow) wait() { time.Sleep(time.Duration(250+rand.IntN(200)) * time.Millisecond) }

func (s slow) Get(ctx context.Context, p, k string) (tablestore.Row, tablestore.Response, error) {
	s.wait()
	return s.Store.Get(ctx, p, k)
}

func (s slow) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.wait()
	return s.Store.Put(ctx, row)
}

// A slow table costs time, and nothing of a budget: callers who repeat what they are
// told to repeat spend all of it, and hardly more.
func TestSlowTableServesTheWholeBudget(t *testing.T) {
	for _, instances := range []int{1, 5, 20} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(midMonth)
			ctx, cancel := context.WithCancel(t.Context())
			var g, callers sync.WaitGroup
			c := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 2}
			table := slow{new(memory.Store)}
			var mu sync.Mutex
			served, repeated := 0, 0
			for range instances {
				l := open(ctx, &g, Config{Store: table, Consumers: []*consumer.Consumer{c}, CountInstances: fleetOf(instances)})
				callers.Go(func() {
					for range 200 {
						r, err := l.Reserve(ctx, c, Demand{Model: "gpt-4o", Prompt: 10_000, Price: usage.Price{Input: 10}})
						var over *ExceededError
						switch {
						case errors.As(err, &over) && !over.Retryable:
							return
						case err != nil:
							mu.Lock()
							repeated++
							mu.Unlock()
							time.Sleep(over.Wait)
							continue
						}
						time.Sleep(50 * time.Millisecond)
						r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 10_000}, Cost: 0.1})
						mu.Lock()
						served++
						mu.Unlock()
					}
				})
			}
			callers.Wait()
			t.Logf("%d instances: %d of 20 served, %d repeated", instances, served, repeated)
			if served < 20 || served > 20+instances {
				t.Errorf("%d instances served %d requests of a twentieth of the budget", instances, served)
			}
			cancel()
			g.Wait()
		})
	}
}
