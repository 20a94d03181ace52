package telemetry

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota"
)

// Every consumer in the metrics has a hundred lines or more for each model and backend
// that it uses. So the first firstNamed consumers that make requests have series of their
// own, and then up to topNamed of those that make more than one of topNamed requests; the
// others' are summed. A series stays once it is there: a counter must not fall.
const (
	firstNamed = 100
	topNamed   = 100
)

// others stands for consumers without series of their own. No consumer can have its name.
var others = &consumer.Consumer{Name: "(others)"}

// topConsumers decides which consumers have series of their own. The zero topConsumers
// has named none.
type topConsumers struct {
	total  atomic.Int64 // requests
	named  atomic.Pointer[map[string]bool]
	counts sync.Map // name → *atomic.Int64, requests of a consumer without series

	mu sync.Mutex // guards changes of named
}

// of counts a request of the consumer, and returns whose series it is counted in.
func (t *topConsumers) of(c *consumer.Consumer) *consumer.Consumer {
	if c == nil {
		return nil
	}
	total := t.total.Add(1)
	if t.has(c.Name) || t.name(c.Name, firstNamed) {
		return c
	}
	count, ok := t.counts.Load(c.Name)
	if !ok {
		count, _ = t.counts.LoadOrStore(c.Name, new(atomic.Int64))
	}
	if n := count.(*atomic.Int64).Add(1); n*topNamed > total && t.name(c.Name, firstNamed+topNamed) { //nolint:forcetypeassert // nothing else is stored
		t.counts.Delete(c.Name)
		return c
	}
	return others
}

func (t *topConsumers) has(name string) bool {
	named := t.named.Load()
	return named != nil && (*named)[name]
}

// name gives the consumer series of its own, unless so many have them.
func (t *topConsumers) name(name string, most int) bool {
	if named := t.named.Load(); named != nil && len(*named) >= most {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := map[string]bool{}
	if named := t.named.Load(); named != nil {
		if len(*named) >= most {
			return (*named)[name]
		}
		for other := range *named {
			next[other] = true
		}
	}
	next[name] = true
	t.named.Store(&next)
	return true
}

// topLimits are the limits of which most is used, up to so many, and the sums of the
// others by kind and model.
func topLimits(all []quota.LimitStatus, most int) []quota.LimitStatus {
	if len(all) <= most {
		return all
	}
	part := func(l *quota.LimitStatus) float64 { return l.Used / max(l.Amount, 1) }
	slices.SortStableFunc(all, func(a, b quota.LimitStatus) int { return cmp.Compare(part(&b), part(&a)) })
	type kind struct{ limit, model string }
	sums := map[kind]*quota.LimitStatus{}
	top := slices.Clone(all[:most])
	for i := range all[most:] {
		l := &all[most+i]
		sum := sums[kind{l.Limit, l.Model}]
		if sum == nil {
			sum = &quota.LimitStatus{Consumer: others.Name, Limit: l.Limit, Model: l.Model}
			sums[kind{l.Limit, l.Model}] = sum
		}
		sum.Amount, sum.Used, sum.Remaining = sum.Amount+l.Amount, sum.Used+l.Used, sum.Remaining+l.Remaining
	}
	for _, sum := range sums {
		top = append(top, *sum)
	}
	return top
}
