package quota

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore/memory"
)

func TestRequestWithCreditDoesNotWaitForTheTable(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 6_000_000}
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		for range 60 { // a rate is known, and credit is held
			spend(t, l, c, 1000)
			time.Sleep(100 * time.Millisecond)
		}
		store.set(400*time.Millisecond, false)
		for i := range 100 {
			before := time.Now()
			if _, over := reserve(t, l, c, 1000); over != nil {
				t.Fatal(over)
			}
			if waited := time.Since(before); waited > 0 {
				t.Fatalf("request %d waited %v for a slow table", i, waited)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

func TestWaitForTheTableIsBounded(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000, TokensPerMonth: 1_000_000}
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		store.set(0, true)
		before := time.Now()
		if _, over := reserve(t, l, c, 1000); over != nil {
			t.Errorf("first request without the table: %v, want it granted from the offline share", over)
		}
		if waited := time.Since(before); waited > 1500*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		before = time.Now()
		spend(t, l, c, 1000)
		if waited := time.Since(before); waited > 0 {
			t.Errorf("with the table known to be unreachable a request waited %v", waited)
		}
	})
}

func TestIdleInstanceReturnsItsLease(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 600_000}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		store := &counting{Store: new(memory.Store)}
		first := open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{c}})
		for range 20 {
			r, _ := reserve(t, first, c, 1000)
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 1000}})
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		second := open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{c}})
		r := spend(t, second, c, 580_000) // all that is left, so nothing may be held by the first
		r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 580_000}})
		time.Sleep(2 * time.Minute)
		calls, _ := store.count()
		time.Sleep(10 * time.Minute)
		if later, _ := store.count(); later != calls {
			t.Errorf("%d exchanges in ten minutes without a request", later-calls)
		}
		cancel()
		g.Wait()
	})
}

func TestStoppedInstanceReturnsItsLease(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMonth: 1_000_000}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		var g, h sync.WaitGroup
		store := &counting{Store: new(memory.Store)}
		ctx, cancel := context.WithCancel(t.Context())
		first := open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{c}})
		for range 20 {
			r, over := reserve(t, first, c, 100)
			if over != nil {
				t.Fatal(over)
			}
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 100}})
			time.Sleep(100 * time.Millisecond)
		}
		cancel()
		g.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		second := open(ctx, &h, Config{Store: store, Consumers: []*consumer.Consumer{c}})
		if _, over := reserve(t, second, c, 998_000); over != nil {
			t.Errorf("the whole rest of the month after the first instance ended: %v", over)
		}
		cancel()
		h.Wait()
	})
}

func TestColdInstanceKnowsExhaustedLimits(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		store := &counting{Store: new(memory.Store)}
		warm := open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{c}})
		for range 10 {
			spend(t, warm, c, 1000)
		}
		time.Sleep(time.Second)
		cold := open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{c}})
		cold.Feed().NoteTraffic()
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		store.set(0, true) // from here on only what is known can help
		before := time.Now()
		if _, over := reserve(t, cold, c, 1000); over == nil {
			t.Error("a cold instance granted a request beyond a limit that the feed lists as used up")
		}
		if waited := time.Since(before); waited > 0 {
			t.Errorf("the refusal took %v", waited)
		}
		store.set(0, false)
		cancel()
		g.Wait()
	})
}
