package replay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore/memory"
)

// limits is the consumers' limits, those of one instance for all: what instances lease
// of a limit differs from that by no more than docs/quotas.md says. Months begin empty.
// The table answers at once, so no request waits for it.
type limits struct {
	limiter *quota.Limiter
	meter   *metering.Meter
	store   memory.Store
	stopped atomic.Int64 // when the run ended, Unix nanoseconds; 0 = it goes on
}

// newLimits is nil when no consumer has limits.
func newLimits(w *world) *limits {
	var all []*consumer.Consumer
	limited := false
	for i := range w.scenario.Config.Consumers {
		c := &w.scenario.Config.Consumers[i]
		all = append(all, c)
		limited = limited || c.Concurrency > 0 || c.MaxRequestTokens > 0 || len(c.PerModel) > 0 ||
			c.TokensPerMinute > 0 || c.RequestsPerMinute > 0 || c.TokensPerMonth > 0 || c.BudgetPerMonth > 0
	}
	if !limited {
		return nil
	}
	l := new(limits)
	now := func() time.Time {
		if ended := l.stopped.Load(); ended != 0 { // what is leased is returned in real time
			return w.time().Add(time.Since(time.Unix(0, ended)))
		}
		return w.time()
	}
	l.store.Now = now
	l.limiter = quota.New(quota.Config{Store: &l.store, Consumers: all, MaxInstances: 1, Now: now, Rand: random(w.scenario.Seed + 1).Float64})
	l.meter = metering.New(l.limiter, nil, &l.store)
	return l
}

// stop ends the goroutines of the limits.
func (l *limits) stop() {
	if l == nil {
		return
	}
	l.stopped.Store(time.Now().UnixNano())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.limiter.Run(ctx)
}

// holding is what a request holds of the limits. The zero holding is nothing.
type holding struct {
	limits   *limits
	leave    func()
	reserved *metering.Reservation
}

// reserve reserves what the request may use, and returns the pools within the limits.
// The error is why it is refused.
func (l *limits) reserve(c *call, pools []*balancer.Pool) ([]*balancer.Pool, error) {
	if l == nil || c.consumer == nil {
		return pools, nil
	}
	leave, err := l.meter.Enter(c.consumer, false)
	if err != nil {
		return nil, limitError(err)
	}
	pools = l.meter.WithinLimits(c.request, pools)
	reserved, err := l.meter.Reserve(context.Background(), c.request, pools)
	if err != nil {
		leave()
		return nil, limitError(err)
	}
	c.held = holding{l, leave, reserved}
	c.request.Another = reserved.Another()
	c.request.Fallback = reserved.Fallback()
	return pools, nil
}

// limitError names the limit.
func limitError(err error) error {
	var over *quota.ExceededError
	if errors.As(err, &over) {
		return errors.New("limit of the consumer: " + over.Limit)
	}
	return err
}

func (h *holding) mayFallBack(c *call, p *balancer.Pool) bool {
	return c.request.Fallback == nil || c.request.Fallback(context.Background(), p)
}

// settle charges what was used.
func (h *holding) settle(c *call, result *proxy.Result) {
	if h.limits == nil {
		return
	}
	h.limits.meter.Settle(h.reserved, c.request, result)
	h.leave()
}

// tokens is what the request used.
func (r *Record) tokens() usage.Tokens {
	return usage.Tokens{Prompt: int64(r.Prompt), Cached: int64(r.Cached), Completion: int64(r.Completion)}
}

// reasonOf is why no backend served.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, proxy.ErrThrottled):
		return "every backend was throttled"
	case errors.Is(err, proxy.ErrConstrainedOut):
		return "no backend within the consumer's bounds"
	case errors.Is(err, proxy.ErrTimeout):
		return "no backend answered in time"
	}
	return "no backend was available"
}
