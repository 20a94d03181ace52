package quota

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore/memory"
)

func byCaller(most int, l consumer.Limits) *consumer.Consumer {
	return &consumer.Consumer{Name: "team-a", PerCaller: &consumer.CallerLimits{Limits: l, MaxActive: most}}
}

// as spends tokens as a caller; it returns the refusal, if there is one.
func as(t *testing.T, l *Limiter, c *consumer.Consumer, caller string, tokens int64) *ExceededError {
	t.Helper()
	r, err := l.Reserve(t.Context(), c, Demand{Caller: caller, Model: "gpt-4o", Prompt: tokens})
	if err == nil {
		r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: tokens}, Cost: float64(tokens) / 1000})
		return nil
	}
	var over *ExceededError
	if !errors.As(err, &over) {
		t.Fatal(err)
	}
	return over
}

// Each caller has the limits for itself, on all instances together, and one who is
// refused refuses nobody else.
func TestCallersHaveLimitsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		c := byCaller(100, consumer.Limits{TokensPerMinute: 1000, TokensPerMonth: 3000, BudgetPerMonth: 50})
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		store := new(memory.Store)
		var fleet []*Limiter
		for range 3 {
			fleet = append(fleet, open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{c}, Rand: func() float64 { return .5 }}))
		}
		served := map[string]int{}
		for minute := range 4 {
			for i := range 30 {
				for _, caller := range []string{"ann", "bob", ""} {
					over := as(t, fleet[i%3], c, caller, 100)
					switch {
					case over == nil:
						served[fmt.Sprint(caller, minute)]++
					case minute < 2 && over.Limit != "tokensPerMinute of each caller":
						t.Fatalf("%q, minute %d, request %d: %v", caller, minute, i, over)
					case minute == 3 && over.Limit == "tokensPerMonth of each caller" && over.Resets.IsZero():
						t.Fatalf("%v", over)
					}
				}
				time.Sleep(time.Second)
			}
			time.Sleep(30 * time.Second)
		}
		for _, caller := range []string{"ann", "bob", ""} {
			for minute, want := range []int{10, 10, 10, 0} {
				if got := served[fmt.Sprint(caller, minute)]; got != want {
					t.Errorf("%q was served %d requests in minute %d, want %d", caller, got, minute, want)
				}
			}
		}
		cancel()
		g.Wait()
		rows, _, _ := store.List(context.Background(), "", "", "")
		for _, row := range rows {
			if text := row.Partition + row.Key + fmt.Sprint(row.Columns); strings.Contains(text, "ann") || strings.Contains(text, "bob") {
				t.Errorf("the table holds a caller's name: %s", text)
			}
		}
	})
}

// Callers who invent names share one bucket once too many are active, and only the
// active ones cost memory. Their rows are deleted when they say nothing any more.
func TestInventedCallersShareOneBucket(t *testing.T) {
	c := byCaller(10, consumer.Limits{RequestsPerMinute: 5})
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		served := 0
		for i := range 5000 {
			if as(t, l, c, fmt.Sprint("invented ", i), 1) == nil {
				served++
			}
		}
		if served > 10+5 { // one for each of ten, and the bucket of the others
			t.Errorf("%d requests of invented callers were served", served)
		}
		if n := len(l.limitsFor("team-a").callers.active); n > 11 {
			t.Errorf("%d callers are kept", n)
		}
		time.Sleep(idleCaller + 5*time.Second)
		if over := as(t, l, c, "new", 1); over != nil {
			t.Errorf("a new caller after the others left: %v", over)
		}
		if n := len(l.limitsFor("team-a").callers.active); n > 2 {
			t.Errorf("%d idle callers are kept", n-1)
		}
		time.Sleep(time.Minute)
		deleted, err := DeleteIdleCallers(t.Context(), store, []*consumer.Consumer{c}, time.Now())
		if err != nil || deleted != 0 {
			t.Errorf("%d rows deleted in the first hour, %v", deleted, err)
		}
		deleted, err = DeleteIdleCallers(t.Context(), store, []*consumer.Consumer{c}, time.Now().Add(2*time.Hour))
		if err != nil || deleted != 12 {
			t.Errorf("%d rows deleted, %v; want those of ten callers, the others, and the new one", deleted, err)
		}
	})
}

// A consumer of ten thousand callers costs what its active ones cost.
func TestIdleCallersCostNothing(t *testing.T) {
	c := byCaller(1000, consumer.Limits{TokensPerMinute: 1000, BudgetPerMonth: 5})
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		for i := range 10_000 {
			if over := as(t, l, c, fmt.Sprint("caller ", i), 10); over != nil {
				t.Fatalf("caller %d: %v", i, over)
			}
			time.Sleep(250 * time.Millisecond) // 480 are active at a time
		}
		time.Sleep(idleCaller)
		_, before := store.count()
		for range 600 {
			if over := as(t, l, c, "the only one", 1); over != nil {
				t.Fatal(over)
			}
			time.Sleep(time.Second)
		}
		_, after := store.count()
		if n := after - before; n > 600*6 {
			t.Errorf("%d exchanges with rows for 600 requests", n)
		}
		if n := len(l.limitsFor("team-a").callers.active); n > 500 {
			t.Errorf("%d callers are kept", n)
		}
	})
}

// Without the table a caller is served its part at once.
func TestCallersWithoutTheTable(t *testing.T) {
	c := byCaller(100, consumer.Limits{RequestsPerMinute: 5})
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		store.set(0, true)
		_ = as(t, l, c, "first", 1)
		time.Sleep(2 * time.Second)
		began := time.Now()
		served := 0
		for range 8 {
			if as(t, l, c, "ann", 1) == nil {
				served++
			}
		}
		if waited := time.Since(began); served != 5 || waited > time.Second {
			t.Errorf("%d of 8 served in %v, want 5 at once", served, waited)
		}
		store.set(0, false)
	})
}
