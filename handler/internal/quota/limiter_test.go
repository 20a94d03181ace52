package quota

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore/memory"
)

func TestMinuteLimitIsSpentExactlyAndRenewed(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		for i := range 10 {
			r, over := reserve(t, l, c, 1000)
			if over != nil {
				t.Fatalf("request %d of 10: %v", i+1, over)
			}
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 1000}})
		}
		_, over := reserve(t, l, c, 1000)
		if over == nil || !over.Retryable || over.Limit != "tokensPerMinute" {
			t.Fatalf("eleventh request: %+v, want a retryable refusal by tokensPerMinute", over)
		}
		time.Sleep(over.Wait)
		if _, over := reserve(t, l, c, 1000); over != nil {
			t.Errorf("after exactly the wait of the error: %v", over)
		}
	})
}

func TestUnusedReservationIsReturned(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		for i := range 16 { // 16 reservations of 5,000, 4,800 tokens
			r, over := reserve(t, l, c, 5000)
			if over != nil {
				t.Fatalf("request %d: %v", i+1, over)
			}
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 100, Completion: 200}})
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 1 << 40}}) // ignored
		}
		r, over := reserve(t, l, c, 5200)
		if over != nil {
			t.Fatalf("all that is left: %v", over)
		}
		r.Refund()
		if s := l.RateLimits(c, "", "gpt-4o", usage.Price{}); s.Tokens.Remaining != 5200 || s.Tokens.Limit != 10_000 {
			t.Errorf("16 answers of 300 tokens out of 10000 leave %+v", s.Tokens)
		}
	})
}

func TestRequestLargerThanTheLimitIsNotRetryable(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000, MaxRequestTokens: 20_000}
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		for _, tokens := range []int64{10_001, 20_001, 1<<63 - 1} {
			_, over := reserve(t, l, c, tokens)
			if over == nil || over.Retryable || over.Wait != 0 {
				t.Errorf("%d tokens: %+v, want a refusal that is not retryable", tokens, over)
			}
		}
		if _, rows := store.count(); rows != 0 {
			t.Errorf("%d exchanges for requests that could never be served", rows)
		}
		if _, over := reserve(t, l, c, -5); over != nil {
			t.Errorf("a negative estimate: %v", over)
		}
	})
}

func TestAllLimitsOrNoneAreReserved(t *testing.T) {
	c := &consumer.Consumer{
		Name: "team-a", TokensPerMinute: 100_000, RequestsPerMinute: 100,
		PerModel: map[string]consumer.Limits{"gpt-4o": {RequestsPerMinute: 3}},
	}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		for range 3 {
			if _, over := reserve(t, l, c, 1000); over != nil {
				t.Fatal(over)
			}
		}
		for range 50 {
			_, over := reserve(t, l, c, 1000)
			if over == nil || over.Limit != "requestsPerMinute of model gpt-4o" {
				t.Fatalf("fourth request for the model: %+v", over)
			}
		}
		s := l.RateLimits(c, "", "gpt-4o", usage.Price{})
		if s.Requests.Remaining != 0 || s.Requests.Limit != 3 || s.Tokens.Remaining != 97_000 {
			t.Errorf("refused requests must reserve nothing: %+v", s)
		}
		if s := l.RateLimits(c, "", "other", usage.Price{}); s.Requests.Remaining != 97 {
			t.Errorf("other models keep theirs: %+v", s)
		}
		if _, err := l.Reserve(t.Context(), c, Demand{Model: "other", Prompt: 1000}); err != nil {
			t.Errorf("another model: %v", err)
		}
	})
}

func TestBudgetPerMonth(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", BudgetPerMonth: 1}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		// Each answer costs 0.006, and could cost 0.081: at the end what is left is
		// less, and still spent.
		d := Demand{Model: "gpt-4o", Prompt: 400, Output: 500, Certainty: 1, MaxOutput: 8000, Price: usage.Price{Input: 2.5, Output: 10}}
		for spent := 0; ; spent++ {
			r, err := l.Reserve(t.Context(), c, d)
			var over *ExceededError
			if errors.As(err, &over) {
				if over.Retryable || over.Limit != "budgetPerMonth" || over.Wait < 24*time.Hour || spent != 166 {
					t.Errorf("budget used up by %d answers: %+v", spent, over)
				}
				return
			}
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 400, Completion: 500}, Cost: 0.006})
			time.Sleep(time.Second)
		}
	})
}

// Requests under way may all turn out as large as they can be: together they
// overspend a month by at most one answer on each instance.
func TestMonthIsOverspentByAtMostOneAnswer(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMonth: 100_000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		var under []*Reservation
		for range 100 { // 20 tokens are expected of each, because it was so lately
			r, err := l.Reserve(t.Context(), c, Demand{Model: "gpt-4o", Output: 20, Certainty: 1, MaxOutput: 16_000})
			if err == nil {
				under = append(under, r)
			}
		}
		for _, r := range under {
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Completion: 16_000}})
		}
		if n := int64(len(under)) * 16_000; n < 96_000 || n > 100_000+16_000 {
			t.Errorf("%d tokens spent of 100000", n)
		}
	})
}

// What requests under way have reserved and may not use is no reason to give up.
func TestReservedMonthIsRefusedForTheMoment(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMonth: 100_000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		reserve := func() (*Reservation, *ExceededError) {
			r, err := l.Reserve(t.Context(), c, Demand{Model: "gpt-4o", Output: 20_000, Certainty: 1, MaxOutput: 60_000})
			var over *ExceededError
			_ = errors.As(err, &over)
			return r, over
		}
		var under []*Reservation
		var over *ExceededError
		for over == nil {
			var r *Reservation
			if r, over = reserve(); over == nil {
				under = append(under, r)
			}
		}
		if !over.Reserved || !over.Retryable || over.Wait != 2*time.Second {
			t.Errorf("with %d under way: %+v", len(under), over)
		}
		for len(under) > 0 {
			under[0].Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Completion: 20_000}})
			under = under[1:]
			if r, _ := reserve(); r != nil {
				under = append(under, r)
			}
		}
		if _, over = reserve(); over == nil || over.Reserved || over.Retryable {
			t.Errorf("used up: %+v", over)
		}
	})
}

// A small limit serves the answers that fit into it, whatever could have come.
func TestSmallLimitsServeRequestsOfUnknownSize(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 1000, TokensPerMonth: 5000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		for i := range 8 {
			r, err := l.Reserve(t.Context(), c, Demand{Model: "gpt-4o", Prompt: 20, MaxOutput: 128_000})
			if err != nil {
				t.Fatalf("answer %d: %v", i+1, err)
			}
			r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 20, Completion: 80}})
		}
	})
}

func TestAnswersOfUnknownSizeReserveWhatTheyMayUse(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 60_000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		served := 0
		for range 87 {
			if _, err := l.Reserve(t.Context(), c, Demand{Model: "gpt-4o", Prompt: 10, MaxOutput: 32_000, MinuteOutput: 16_000}); err == nil {
				served++
			}
		}
		if served != 3 {
			t.Errorf("%d of 87 requests of unknown size at once, want 3", served)
		}
	})
}

// What another model than the demanded one served is charged to its limits.
func TestUsageIsChargedToTheModelThatServed(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 100_000, PerModel: map[string]consumer.Limits{
		"mini": {TokensPerMinute: 10_000, RequestsPerMinute: 10}, "gpt-4o": {TokensPerMinute: 10_000, RequestsPerMinute: 10},
	}}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		r, err := l.Reserve(t.Context(), c, Demand{Model: "mini", Prompt: 1000})
		if err != nil {
			t.Fatal(err)
		}
		r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 1000, Completion: 2000}})
		mini, large := l.RateLimits(c, "", "mini", usage.Price{}), l.RateLimits(c, "", "gpt-4o", usage.Price{})
		if mini.Tokens.Remaining != 10_000 || mini.Requests.Remaining != 10 || large.Tokens.Remaining != 7000 || large.Requests.Remaining != 9 {
			t.Errorf("mini %+v, gpt-4o %+v", mini, large)
		}
		if s := l.RateLimits(c, "", "other", usage.Price{}); s.Tokens.Remaining != 97_000 {
			t.Errorf("all models together: %+v", s)
		}
	})
}

// What is left of a month bounds what the headers promise for the minute.
func TestRemainingIsNoMoreThanTheMonthHas(t *testing.T) {
	price := usage.Price{Input: 2.5, CachedInput: 1.25, Output: 10}
	for name, c := range map[string]struct {
		consumer *consumer.Consumer
		left     int64
	}{
		"tokens": {&consumer.Consumer{Name: "team-a", TokensPerMinute: 100_000, TokensPerMonth: 3000}, 2000},
		"money":  {&consumer.Consumer{Name: "team-a", TokensPerMinute: 100_000, BudgetPerMonth: 0.01}, 6000}, // 0.0075 at 1.25
		"minute": {&consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000, TokensPerMonth: 1_000_000}, 9000},
	} {
		t.Run(name, func(t *testing.T) {
			single(t, c.consumer, func(t *testing.T, l *Limiter, _ *counting) {
				spend(t, l, c.consumer, 1000)
				if s := l.RateLimits(c.consumer, "", "gpt-4o", price); s.Tokens.Remaining != c.left {
					t.Errorf("%d left, want %d", s.Tokens.Remaining, c.left)
				}
			})
		})
	}
}

func TestRefusalsNameTheLimitAndItsReset(t *testing.T) {
	for name, c := range map[string]struct {
		over ExceededError
		want string
	}{
		"a minute":  {ExceededError{Limit: "tokensPerMinute", Amount: 60_000, Wait: 8500 * time.Millisecond, Retryable: true}, "quota exceeded: tokensPerMinute (60000) has not enough left. Please retry after 9 seconds"},
		"reserved":  {ExceededError{Limit: "budgetPerMonth", Amount: 2, Wait: 2 * time.Second, Retryable: true, Reserved: true}, "quota exceeded: what is left of budgetPerMonth (2) is reserved for what requests under way may use. Please retry after 2 seconds, or ask for fewer tokens"},
		"unknown":   {ExceededError{Limit: "budgetPerMonth", Amount: 2, Wait: time.Second, Retryable: true, Unknown: true}, "quota unknown: what is left of budgetPerMonth (2) could not be read from the table in time. Please retry after a second"},
		"a month":   {ExceededError{Limit: "budgetPerMonth of model gpt-4o", Amount: 12.5, Wait: time.Hour, Resets: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}, "quota exceeded: budgetPerMonth of model gpt-4o (12.5) has not enough left for this request. It resets at 2026-12-01T00:00Z; ask the operator for more"},
		"too large": {ExceededError{Limit: "maxRequestTokens", Amount: 100}, "quota exceeded: the request alone is larger than maxRequestTokens (100) allows; make it smaller or ask the operator for more"},
	} {
		if got := c.over.Error(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestReservationGrowsWithItsAnswer(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		r := spend(t, l, c, 100)
		r.Grow(8000)
		r.Grow(50) // never less
		if s := l.RateLimits(c, "", "gpt-4o", usage.Price{}); s.Tokens.Remaining != 2000 {
			t.Errorf("%d left while 8000 are under way", s.Tokens.Remaining)
		}
		r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Completion: 7000}})
		r.Grow(9000)
		if s := l.RateLimits(c, "", "gpt-4o", usage.Price{}); s.Tokens.Remaining != 3000 {
			t.Errorf("%d left after 7000", s.Tokens.Remaining)
		}
	})
}

func TestCanceledReservationReservesNothing(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000}
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		store.set(300*time.Millisecond, false)
		ctx, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer leave()
		if _, err := l.Reserve(ctx, c, Demand{Model: "gpt-4o", Prompt: 9_000}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("reserve with a canceled context: %v", err)
		}
		store.set(0, false)
		time.Sleep(2 * time.Second)
		if _, over := reserve(t, l, c, 10_000); over != nil {
			t.Errorf("the whole limit, after the cancellation: %v", over)
		}
	})
}

func TestConcurrencyIsPerInstance(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", Concurrency: 3}
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Store: new(memory.Store), Consumers: []*consumer.Consumer{c}, CountInstances: fleetOf(2)})
		var inside []func()
		for range 3 {
			leave, err := l.Enter(c, false)
			if err != nil {
				t.Fatal(err)
			}
			inside = append(inside, leave)
		}
		var over *ExceededError
		if _, err := l.Enter(c, false); !errors.As(err, &over) || over.Limit != "concurrency" || !over.Retryable {
			t.Fatalf("fourth request at once of three: %v", err)
		}
		inside[0]()
		if _, err := l.Enter(c, false); err != nil {
			t.Errorf("after one left: %v", err)
		}
		if _, err := l.Enter(c, true); err == nil {
			t.Error("a fourth one was let in")
		}
	})
}

// What is used up refuses whoever comes, before anything is known of the request; what
// needs nothing of it is let in.
func TestUsedUpLimitsRefuseAtTheEntrance(t *testing.T) {
	for _, x := range []struct {
		c    consumer.Consumer
		free bool // a request without tokens is refused, too
	}{{consumer.Consumer{RequestsPerMinute: 1}, true}, {consumer.Consumer{TokensPerMinute: 1000}, false}, {consumer.Consumer{TokensPerMonth: 1000}, false}} {
		x.c.Name = "team-a"
		single(t, &x.c, func(t *testing.T, l *Limiter, _ *counting) {
			enter := func(free bool) (over *ExceededError) {
				leave, err := l.Enter(&x.c, free)
				if err == nil {
					leave()
				}
				_ = errors.As(err, &over)
				return over
			}
			if over := enter(false); over != nil {
				t.Fatalf("with all of it left: %v", over)
			}
			spend(t, l, &x.c, 1000)
			if _, over := reserve(t, l, &x.c, 1); over == nil {
				t.Fatal("it is not used up")
			}
			if over := enter(false); over == nil || over.Limit == "" {
				t.Errorf("%+v: a request was let in", x.c)
			}
			if over := enter(true); (over != nil) != x.free {
				t.Errorf("%+v: one without tokens: %v", x.c, over)
			}
			if x.c.TokensPerMonth == 0 {
				time.Sleep(61 * time.Second)
				if over := enter(false); over != nil {
					t.Errorf("%+v, in the next minute: %v", x.c, over)
				}
			}
		})
	}
}

// A request that can never fit is refused as such, also while another limit is used
// up for a time.
func TestTooLargeIsReportedBeforeUsedUp(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", RequestsPerMinute: 1, TokensPerMinute: 1000}
	single(t, c, func(t *testing.T, l *Limiter, _ *counting) {
		spend(t, l, c, 10)
		if _, over := reserve(t, l, c, 10); over == nil || over.Limit != "requestsPerMinute" || !over.Retryable {
			t.Errorf("a second request: %+v", over)
		}
		if _, over := reserve(t, l, c, 1001); over == nil || over.Limit != "tokensPerMinute" || over.Retryable || over.Wait != 0 {
			t.Errorf("one larger than the limit: %+v", over)
		}
	})
}

func TestNoConsumerHasNoLimits(t *testing.T) {
	l := New(Config{Store: new(memory.Store)})
	r, err := l.Reserve(t.Context(), nil, Demand{Model: "gpt-4o", Prompt: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 1}})
	r.Refund()
	if s := l.RateLimits(nil, "", "gpt-4o", usage.Price{}); s != (RateLimitStatus{}) {
		t.Errorf("status without a consumer: %+v", s)
	}
}
