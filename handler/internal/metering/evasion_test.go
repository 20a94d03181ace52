package metering

import (
	"context"
	"errors"
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

// attempted sends requests to so many instances in turn, each of which is kept under
// way while as many others begin, until a limit refuses one at each. It returns how many
// were sent and what they cost.
func attempted(t *testing.T, who *consumer.Consumer, instances, most int, outcome func() *proxy.Result) (sent int, cost float64) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	fleet := openFleet(ctx, &running, distant{new(memory.Store)}, who, instances)
	var under []func()
	for n, refused := 0, 0; n < most && refused < instances; n++ {
		m, r := fleet[n%instances], chat(true, 400, 0)
		r.Consumer = who
		x, err := m.Reserve(ctx, r, []*balancer.Pool{mini, large})
		var over *quota.ExceededError
		if errors.As(err, &over) {
			if !over.Retryable || who.BudgetPerMonth == 0 {
				refused++
			}
		} else if err != nil {
			t.Fatal(err)
		} else {
			sent, refused = sent+1, 0
			under = append(under, func() {
				_, charged, _ := Total(m.Settle(x, r, outcome()))
				cost += charged
			})
		}
		if len(under) > instances || over != nil && len(under) > 0 {
			under[0]()
			under = under[1:]
		}
	}
	for _, settle := range under {
		settle()
	}
	time.Sleep(time.Second) // the last means are shared
	stop()
	running.Wait()
	return sent, cost
}

// inFleets runs a test for one instance, and for more, in virtual time.
func inFleets(t *testing.T, test func(t *testing.T, instances int)) {
	t.Helper()
	for _, n := range []int{1, 5, 20} {
		bubble(t, fmt.Sprint(n, " instances"), func(t *testing.T) {
			time.Sleep(5 * time.Second)
			test(t, n)
		})
	}
}

// Callers that abort before the first byte have used their backend.
func TestAbortedRequestsCount(t *testing.T) {
	inFleets(t, func(t *testing.T, instances int) {
		who := &consumer.Consumer{Name: "team-a", RequestsPerMinute: 600}
		sent, _ := attempted(t, who, instances, 1500, func() *proxy.Result {
			return ended(mini, abandoned(&mini.Backends[0], "caller left", 10*time.Millisecond))
		})
		t.Logf("%d of 1500 aborted requests were sent under a limit of 600", sent)
		if sent < 595 || sent > 606 {
			t.Error("too many or too few")
		}
	})
}

// A stream that its caller closes at the finish chunk costs what it would have cost
// anyhow.
func TestClosedStreamsSpendTheBudget(t *testing.T) {
	inFleets(t, func(t *testing.T, instances int) {
		who := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 1}
		sent, cost := attempted(t, who, instances, 1000, func() *proxy.Result {
			return served(large, 20*time.Second, proxy.Delivery{Broken: true, TextBytes: 4000, FirstToken: began.Add(time.Second)})
		})
		t.Logf("%d answers for $%.3f under a budget of $1", sent, cost)
		if answer := 0.021; cost < 1-answer-0.08 || cost > 1+float64(instances)*answer {
			t.Error("too much or too little")
		}
	})
}

// The fallback that serves instead of a cheap model spends at its own price.
func TestFallbacksSpendTheBudget(t *testing.T) {
	inFleets(t, func(t *testing.T, instances int) {
		who := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 2}
		sent, cost := attempted(t, who, instances, 1000, func() *proxy.Result {
			return served(large, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: 2000}})
		})
		t.Logf("%d answers for $%.2f under a budget of $2", sent, cost)
		if answer := 0.041; cost > 2+float64(instances)*answer || cost < 2-answer-0.08 {
			t.Error("too much or too little")
		}
	})
}

// A fallback whose own limit is used up is not used: what it serves would be beyond
// the limit.
func TestFallbackBeyondItsOwnLimitIsSkipped(t *testing.T) {
	bubble(t, "fallback", func(t *testing.T) {
		time.Sleep(5 * time.Second)
		who := &consumer.Consumer{Name: "fallback", PerModel: map[string]consumer.Limits{large.Model: {TokensPerMinute: 1000}}}
		m := newMeter(t, who)
		r := chat(false, 400, 400)
		r.Consumer = who
		pools := []*balancer.Pool{mini, large}
		for i := range 10 {
			kept := m.WithinLimits(r, pools)
			if want := i < 2; (len(kept) == 2) != want {
				t.Fatalf("request %d may use %d pools", i+1, len(kept))
			}
			if len(kept) < 2 {
				break
			}
			x, err := m.Reserve(t.Context(), r, kept)
			if err != nil {
				t.Fatal(err)
			}
			m.Settle(x, r, served(large, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: 400}}))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		if kept := m.WithinLimits(r, pools); len(kept) != 2 {
			t.Error("the fallback is not used in the next minute")
		}
	})
}

// A budget ends also where prompts are free and the model that is asked for, whose
// answers nobody knows, is always served by a fallback.
func TestFallbacksWithFreePromptsSpendTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(5 * time.Second)
		who := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 0.1}
		cheap := &balancer.Pool{Model: "cheap", Price: usage.Price{Currency: "USD", Output: 1}, Backends: []balancer.Backend{{Name: "a"}}}
		dear := &balancer.Pool{Model: "dear", Price: usage.Price{Currency: "USD", Output: 1000}, Backends: []balancer.Backend{{Name: "b", Slot: 1}}}
		m, cost := newMeter(t, who), 0.0
		for range 50 {
			r := chat(false, 40, 25)
			r.Consumer = who
			x, err := m.Reserve(t.Context(), r, []*balancer.Pool{cheap, dear})
			if err != nil {
				continue
			}
			_, charged, _ := Total(m.Settle(x, r, served(dear, time.Second, proxy.Delivery{Usage: usage.Tokens{Completion: 25}})))
			cost += charged
			time.Sleep(time.Second)
		}
		if answer := 0.025; cost < 0.1-answer || cost > 0.1+answer {
			t.Errorf("$%.3f were spent of $0.1", cost)
		}
	})
}
