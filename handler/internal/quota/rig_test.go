package quota

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// counting is a table that counts its calls.
type counting struct {
	tablestore.Store
	mu    sync.Mutex
	calls int
	rows  int // exchanges with rows of quotas
	slow  time.Duration
	down  bool
}

func (c *counting) record(ctx context.Context, partition string) error {
	c.mu.Lock()
	c.calls++
	if partition != Partition {
		c.rows++
	}
	slow, down := c.slow, c.down
	c.mu.Unlock()
	if down {
		<-ctx.Done()
		return tablestore.ErrUnknown
	}
	if slow > 0 {
		time.Sleep(slow)
	}
	return nil
}

func (c *counting) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	if err := c.record(ctx, partition); err != nil {
		return nil, tablestore.Response{}, err
	}
	return c.Store.List(ctx, partition, from, to)
}

func (c *counting) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	if err := c.record(ctx, partition); err != nil {
		return tablestore.Row{}, tablestore.Response{}, err
	}
	return c.Store.Get(ctx, partition, key)
}

func (c *counting) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if err := c.record(ctx, row.Partition); err != nil {
		return "", tablestore.Response{}, err
	}
	return c.Store.Put(ctx, row)
}

func (c *counting) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if err := c.record(ctx, row.Partition); err != nil {
		return "", tablestore.Response{}, err
	}
	return c.Store.Upsert(ctx, row)
}

func (c *counting) set(slow time.Duration, down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow, c.down = slow, down
}

func (c *counting) count() (calls, rows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls, c.rows
}

// midMonth leads away from the beginning of virtual time, which is the beginning
// of a month and of a minute.
const midMonth = 10*24*time.Hour + 5*time.Second

// open starts an instance that ends with the test's ctx.
func open(ctx context.Context, g *sync.WaitGroup, cfg Config) *Limiter {
	l := New(cfg)
	g.Go(func() { l.Run(ctx) })
	return l
}

func single(t *testing.T, c *consumer.Consumer, check func(t *testing.T, l *Limiter, store *counting)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		store := &counting{Store: new(memory.Store)}
		l := open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{c}, Rand: func() float64 { return .5 }})
		defer func() {
			store.set(0, false)
			cancel()
			g.Wait()
		}()
		check(t, l, store)
	})
}

func reserve(t *testing.T, l *Limiter, c *consumer.Consumer, tokens int64) (*Reservation, *ExceededError) {
	t.Helper()
	r, err := l.Reserve(t.Context(), c, Demand{Model: "gpt-4o", Size: tokens, Prompt: tokens, Price: usage.Price{Input: 2.5, Output: 10}})
	var over *ExceededError
	if err != nil && !errors.As(err, &over) {
		t.Fatalf("reserve %d: %v", tokens, err)
	}
	return r, over
}

// spend reserves what must be granted.
func spend(t *testing.T, l *Limiter, c *consumer.Consumer, tokens int64) *Reservation {
	t.Helper()
	r, over := reserve(t, l, c, tokens)
	if over != nil {
		t.Fatalf("%d tokens: %v", tokens, over)
	}
	return r
}
