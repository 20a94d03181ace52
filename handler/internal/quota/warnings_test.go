package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore/memory"
)

// warned is a fleet whose warnings are gathered.
type warned struct {
	mu      sync.Mutex
	reports []string
	hook    func(ctx context.Context, w *Warning) error
}

func (x *warned) report(w *Warning) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reports = append(x.reports, fmt.Sprintf("%s %g", w.Limit, w.Mark))
}

func (x *warned) start(ctx context.Context, g *sync.WaitGroup, store *counting, c *consumer.Consumer) *Limiter {
	return open(ctx, g, Config{Store: store, Consumers: []*consumer.Consumer{c}, Rand: func() float64 { return .5 }, Warnings: Warnings{Report: x.report, Deliver: x.hook}})
}

// use reserves ten times as much as it uses.
func use(t *testing.T, l *Limiter, c *consumer.Consumer, tokens int64) {
	t.Helper()
	d := Demand{Model: "gpt-4o", Prompt: tokens, MaxOutput: 9 * tokens, Certainty: 1, Price: usage.Price{Input: 1000, Output: 1000}}
	if r, err := l.Reserve(t.Context(), c, d); err == nil {
		r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: tokens}, Cost: float64(tokens) / 1000})
	}
}

// A mark of a month's limit is reported once by the whole fleet, by what was used
// and not by what is reserved, and again in the next month.
func TestOneWarningForTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(31*24*time.Hour - 15*time.Minute)
		c := &consumer.Consumer{Name: "team-a", TokensPerMonth: 100_000, WarnAt: []float64{50, 80, 95, 100}}
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		store, x := &counting{Store: new(memory.Store)}, new(warned)
		var fleet []*Limiter
		for range 5 {
			fleet = append(fleet, x.start(ctx, &g, store, c))
		}
		held := spend(t, fleet[0], c, 45_000)
		wantUsedUp := func(when string, want bool) {
			if s := fleet[0].LimitStatuses()[0]; s.UsedUp != want {
				t.Errorf("%s: %+v", when, s)
			}
		}
		wantUsedUp("nearly half of it reserved", false)
		var seen []int
		for step := range 120 {
			use(t, fleet[step%5], c, 1000)
			time.Sleep(5 * time.Second)
			if step == 40 {
				held.Refund()
			}
			synctest.Wait()
			if n := len(x.reports); len(seen) < n {
				seen = append(seen, step+1)
			}
		}
		synctest.Wait()
		wantUsedUp("refused", true)
		if want := []string{"tokensPerMonth 50", "tokensPerMonth 80", "tokensPerMonth 95", "tokensPerMonth 100"}; !slices.Equal(x.reports, want) {
			t.Errorf("warned %q, want %q", x.reports, want)
		}
		for i, at := range []int{50, 80, 95} {
			if i < len(seen) && (seen[i] < at || seen[i] > at+5) {
				t.Errorf("warning %d at %d %%", i+1, seen[i])
			}
		}
		time.Sleep(5 * time.Minute)
		for step := range 60 {
			use(t, fleet[step%5], c, 1000)
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		wantUsedUp("in the next month", false)
		if len(x.reports) != 5 || x.reports[4] != "tokensPerMonth 50" {
			t.Errorf("in the next month: %q", x.reports)
		}
		cancel()
		g.Wait()
	})
}

// Marks that are reached within seconds are each warned of at once: whose consumer goes
// home behind a mark is told so.
func TestMarksThatAreReachedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		c := &consumer.Consumer{Name: "team-a", TokensPerMonth: 100_000, WarnAt: []float64{30, 50, 70}}
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		store, x := &counting{Store: new(memory.Store)}, new(warned)
		fleet := []*Limiter{x.start(ctx, &g, store, c), x.start(ctx, &g, store, c)}
		used := 0
		for n, mark := range []int{30, 50, 70} {
			for step := 0; used < mark; step++ {
				use(t, fleet[step%2], c, 1000)
				used++
			}
			time.Sleep(4 * time.Second)
			synctest.Wait()
			if len(x.reports) != n+1 {
				t.Errorf("warned %q at %d percent", x.reports, mark)
			}
		}
		cancel()
		g.Wait()
	})
}

// Without the table nobody is warned, and the fleet once when it is back. What an
// instance has not delivered when it crashes, another one delivers, under the same
// id; nothing of it is in a request's way.
func TestWarningsAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		c := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 100, WarnAt: []float64{50}}
		ctx, cancel := context.WithCancel(t.Context())
		first, crash := context.WithCancel(ctx)
		var g sync.WaitGroup
		store := &counting{Store: new(memory.Store)}
		var mu sync.Mutex
		var ids []string
		broken := true
		x := &warned{hook: func(ctx context.Context, w *Warning) error {
			mu.Lock()
			down := broken
			ids = append(ids, w.ID)
			mu.Unlock()
			if down {
				<-ctx.Done()
				return errors.New("the process ends")
			}
			return nil
		}}
		a := x.start(first, &g, store, c)
		for range 58 {
			use(t, a, c, 1000)
			time.Sleep(3 * time.Second)
		}
		synctest.Wait()
		if len(x.reports) != 1 || len(ids) != 1 {
			t.Fatalf("%d reports, %d deliveries", len(x.reports), len(ids))
		}
		crash()
		mu.Lock()
		broken = false
		mu.Unlock()
		b := x.start(ctx, &g, store, c)
		for range 30 {
			use(t, b, c, 100)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if len(x.reports) != 1 || len(ids) != 2 || ids[0] != ids[1] {
			t.Errorf("%d reports, deliveries %q: want one more, of the same id", len(x.reports), ids)
		}
		store.set(0, true)
		time.Sleep(5 * time.Second)
		store.set(0, false)
		cancel()
		g.Wait()
	})
}
