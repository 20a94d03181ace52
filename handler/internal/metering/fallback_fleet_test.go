package metering

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore/memory"
)

var (
	cheap = &balancer.Pool{Model: "cheap", Price: usage.Price{Currency: "USD", Output: 1}, Backends: []balancer.Backend{{Name: "a"}}}
	dear  = &balancer.Pool{Model: "dear", Price: usage.Price{Currency: "USD", Output: 1000}, Backends: []balancer.Backend{{Name: "b", Slot: 1}}}
)

// byFallback sends requests for the cheap model to so many instances, so many at a
// time, of which the dear one serves each that may use it. It returns how many those
// were, and how many the cheap one had to serve.
func byFallback(t *testing.T, who *consumer.Consumer, instances, requests, atOnce int, lasts time.Duration, counted bool) (fell, stayed int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running, all sync.WaitGroup
	var mu sync.Mutex
	fleet := openFleet(ctx, &running, distant{new(memory.Store)}, who, instances)
	time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute + time.Second)))
	if counted { // the instances know how many they are
		for i := range 20 * instances {
			r := chat(false, 80, 100)
			r.Consumer = &consumer.Consumer{Name: "other"}
			_, _ = fleet[i%instances].Reserve(ctx, r, []*balancer.Pool{cheap})
			time.Sleep(10 * time.Second / time.Duration(20*instances))
		}
	}
	places := make(chan struct{}, atOnce)
	for i := range requests {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			m, r := fleet[i%instances], chat(false, 80, 100)
			r.Consumer = who
			pools := m.WithinLimits(r, []*balancer.Pool{cheap, dear})
			x, err := m.Reserve(ctx, r, pools)
			if err != nil {
				time.Sleep(time.Millisecond)
				return
			}
			by := pools[len(pools)-1]
			if may := x.Fallback(); by == dear && may != nil && !may(ctx, dear) {
				by = cheap
			}
			time.Sleep(lasts)
			m.Settle(x, r, served(by, lasts, proxy.Delivery{Usage: usage.Tokens{Prompt: 20, Completion: 100}}))
			mu.Lock()
			defer mu.Unlock()
			if by == dear {
				fell++
			} else {
				stayed++
			}
		})
	}
	all.Wait()
	stop()
	running.Wait()
	return fell, stayed
}

// What a dear fallback serves for a cheap model stays within the budget also on
// several instances: each goes beyond it by one answer at most.
func TestFallbacksOfAFleetSpendTheBudget(t *testing.T) {
	for _, n := range []int{1, 5, 20} {
		for _, lasts := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, time.Second} {
			for _, counted := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d instances, counted %t, answers of %v", n, counted, lasts), func(t *testing.T) {
					fell := 0
					synctest.Test(t, func(t *testing.T) {
						fell, _ = byFallback(t, &consumer.Consumer{Name: "team-a", BudgetPerMonth: 2}, n, 350, 10, lasts, counted)
					})
					t.Logf("$%.2f of $2", float64(fell)/10)
					if fell > 20+n || fell < 18 {
						t.Error("spent too much or too little")
					}
				})
			}
		}
	}
}

// What a fallback serves stays within its own limit also on several instances, and
// before these know how many they are.
func TestFallbacksOfAFleetKeepTheirOwnLimit(t *testing.T) {
	for name, limit := range map[string]consumer.Limits{"month": {TokensPerMonth: 1100}, "minute": {TokensPerMinute: 1100}} {
		for _, n := range []int{1, 5, 20} {
			for _, lasts := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, time.Second} {
				for _, counted := range []bool{false, true} {
					t.Run(fmt.Sprintf("a %s, %d instances, counted %t, answers of %v", name, n, counted, lasts), func(t *testing.T) {
						fell, stayed := 0, 0
						who := &consumer.Consumer{Name: "team-a", PerModel: map[string]consumer.Limits{dear.Model: limit}}
						synctest.Test(t, func(t *testing.T) {
							fell, stayed = byFallback(t, who, n, 60, 5, lasts, counted)
						})
						t.Logf("%d tokens of 1100, %d by the cheap model", 120*fell, stayed)
						if fell > 9+n || fell < 7 || fell+stayed != 60 {
							t.Errorf("%d tokens of 1100, %d served by the cheap model", 120*fell, stayed)
						}
					})
				}
			}
		}
	}
}

// A fallback that may serve and then does not keeps nothing of its limits.
func TestFallbackThatDoesNotServeIsChargedNothing(t *testing.T) {
	for name, limit := range map[string]consumer.Limits{"month": {TokensPerMonth: 250}, "minute": {TokensPerMinute: 250}, "requests": {RequestsPerMinute: 2}} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(5 * time.Second)
			m := newMeter(t, &consumer.Consumer{Name: "team-a", PerModel: map[string]consumer.Limits{dear.Model: limit}})
			request := func(by *balancer.Pool) (may bool) {
				r := chat(false, 80, 100)
				r.Consumer = m.Limiter.(*quota.Limiter).Consumers()[0]
				x, err := m.Reserve(t.Context(), r, []*balancer.Pool{cheap, dear})
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // it may be asked again
					may = x.Fallback()(t.Context(), dear)
				}
				m.Settle(x, r, served(by, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 20, Completion: 100}}))
				return may
			}
			for i := range 20 {
				if !request(cheap) {
					t.Fatalf("%s: request %d may not use the fallback, which served none", name, i+1)
				}
			}
			for i, want := range []bool{true, true, false} {
				if request(dear) != want {
					t.Errorf("%s: answer %d of the fallback: want %t", name, i+1, want)
				}
			}
		})
	}
}
