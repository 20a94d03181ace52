package quota

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
)

// A limit that stays as it was goes on with what was spent of it, whatever becomes of
// others; a request under way settles with the limit that it began with.
func TestLimitsGoOnWhenTheConsumersChange(t *testing.T) {
	before := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000, RequestsPerMinute: 100, Concurrency: 2}
	single(t, before, func(t *testing.T, l *Limiter, _ *counting) {
		spend(t, l, before, 4000).Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 4000}})
		underWay := spend(t, l, before, 3000)
		if _, err := l.Enter(before, false); err != nil {
			t.Fatal(err)
		}
		after := &consumer.Consumer{Name: "team-a", TokensPerMinute: 10_000, RequestsPerMinute: 50, Concurrency: 2}
		other := &consumer.Consumer{Name: "team-b", TokensPerMinute: 1000}
		l.Configure([]*consumer.Consumer{after, other})
		if _, over := reserve(t, l, after, 4000); over == nil || over.Limit != "tokensPerMinute" {
			t.Errorf("more than is left: %v", over)
		}
		if _, err := l.Enter(after, false); err != nil {
			t.Errorf("a second request at once: %v", err)
		}
		if _, err := l.Enter(after, false); err == nil {
			t.Error("a third request at once was let in")
		}
		second := spend(t, l, after, 3000)
		second.Refund()
		underWay.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 1000}})
		spend(t, l, after, 5000)
		if _, over := reserve(t, l, other, 2000); over == nil {
			t.Error("the limit of a new consumer does not hold")
		}
		l.Configure(nil)
		if r, over := reserve(t, l, after, 1_000_000); r != nil || over != nil {
			t.Errorf("a consumer that is configured no more: %v, %v", r, over)
		}
	})
}

// What was leased of a limit that is dropped is returned at once, so that another
// instance can use it.
func TestADroppedLimitReturnsItsLease(t *testing.T) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMonth: 10_000}
	single(t, c, func(t *testing.T, l *Limiter, store *counting) {
		spend(t, l, c, 1000).Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 1000}})
		l.Configure([]*consumer.Consumer{{Name: "team-a", TokensPerMonth: 20_000}})
		time.Sleep(time.Second)
		synctest.Wait()
		another := New(Config{Store: store, Consumers: []*consumer.Consumer{c}})
		defer another.cancel()
		spend(t, another, c, 8500)
		another.cancel()
		another.running.Wait()
	})
}
