package metering

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// attacker is a consumer that tries everything to spend more than its limits, and
// what it spent at backends.
type attacker struct {
	who   *consumer.Consumer
	table tablestore.Store
	start time.Time

	mu     sync.Mutex
	random *rand.Rand
	fleet  []*attacked
	tokens map[int]int64 // by the minute in which they were known
	money  float64
	served int
	asked  int
}

// attacked is an instance.
type attacked struct {
	*Meter
	down sync.Once
	stop func(kill bool)
}

// deaf is a table that a killed instance does not reach.
type deaf struct {
	tablestore.Store
	killed context.Context
}

func (d deaf) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if d.killed.Err() != nil {
		return "", tablestore.Response{}, tablestore.ErrUnknown
	}
	return d.Store.Put(ctx, row)
}

func (a *attacker) begin(t *testing.T, instances int) *attacked {
	killed, kill := context.WithCancel(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	l := quota.New(quota.Config{
		Store: deaf{a.table, killed}, Consumers: []*consumer.Consumer{a.who}, CountInstances: func(context.Context) (int, error) { return instances, nil },
	})
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	x := &attacked{Meter: New(l, []*balancer.Pool{mini, mini, large}, a.table)}
	x.stop = func(dead bool) {
		if dead {
			kill()
		}
		x.down.Do(func() { cancel(); <-done; kill() })
	}
	return x
}

// attack goes on for so long, over so many instances, of which one is restarted or
// killed each minute or so.
func (a *attacker) attack(t *testing.T, instances int, lasts time.Duration) {
	t.Helper()
	a.table, a.tokens, a.random = distant{new(memory.Store)}, map[int]int64{}, rand.New(rand.NewPCG(15, uint64(instances)))
	for range instances {
		a.fleet = append(a.fleet, a.begin(t, instances))
	}
	time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
	a.start = time.Now()
	var all sync.WaitGroup
	for n := 0; time.Since(a.start) < lasts; n++ {
		if n%20 != 0 || a.chance(2) { // bursts, and pauses
			time.Sleep(time.Duration(a.pick(0, 0, 0, 0, 50, 200)) * time.Millisecond)
		}
		if n%500 == 499 {
			all.Go(func() { a.restart(t, instances) })
		}
		all.Go(func() { a.request(t, n) })
	}
	all.Wait()
	for _, x := range a.fleet {
		x.stop(false)
	}
	time.Sleep(time.Second) // the last means are shared
}

func (a *attacker) restart(t *testing.T, instances int) {
	i, dead := a.pick(0, instances-1), a.chance(2)
	next := a.begin(t, instances)
	a.mu.Lock()
	old := a.fleet[i]
	a.fleet[i] = next
	a.mu.Unlock()
	old.stop(dead)
}

func (a *attacker) pick(of ...int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return of[a.random.IntN(len(of))]
}

// chance is true once in so many times.
func (a *attacker) chance(in int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.random.IntN(in) == 0
}

func (a *attacker) instance() *attacked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fleet[a.random.IntN(len(a.fleet))]
}

func (a *attacker) spend(pool *balancer.Pool, used usage.Tokens) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[int(time.Since(a.start)/time.Minute)] += used.Total()
	a.money += pool.Price.Cost(used)
	a.served++
}

// tokensPerSecond is how fast the backends generate.
const tokensPerSecond = 80

// request makes one request: it may be tiny or huge, streamed, in the background, or
// left at any time, and a fallback may serve.
func (a *attacker) request(t *testing.T, n int) {
	x := a.instance()
	r := chat(a.chance(2), int64(a.pick(40, 4000)), int64(a.pick(0, 1, 900, 4000)))
	r.Consumer = a.who
	a.mu.Lock()
	a.asked++
	a.mu.Unlock()
	if r.Parsed.Background = a.chance(5); r.Parsed.Background {
		r.Operation = *operations.ByName("responses")
	}
	reserved, err := x.Reserve(t.Context(), r, []*balancer.Pool{mini, large})
	if err != nil {
		return
	}
	pool := []*balancer.Pool{mini, large}[a.pick(0, 0, 1)]
	output := int64(a.pick(1, 1, 500, 4000))
	output = min(output, maxOutput(r, pool))
	whole := 300*time.Millisecond + time.Duration(output)*time.Second/tokensPerSecond
	used := usage.Tokens{Prompt: r.Parsed.PromptBytes / 4, Completion: output}
	switch {
	case r.Parsed.Background:
		a.background(x, reserved, r, pool, used, whole)
	case a.chance(2):
		a.leave(x, reserved, r, pool, used, time.Duration(a.pick(1, 3, 9))*whole/10)
	default:
		time.Sleep(whole)
		a.spend(pool, used)
		d := proxy.Delivery{Usage: used, TextBytes: 4 * output, FirstToken: began.Add(300 * time.Millisecond)}
		x.Settle(reserved, r, served(pool, whole, d))
	}
}

// leave leaves a request after so long.
func (a *attacker) leave(x *attacked, reserved *Reservation, r *proxy.Request, pool *balancer.Pool, used usage.Tokens, after time.Duration) {
	time.Sleep(after)
	used.Completion = min(used.Completion, int64(max(0, after-300*time.Millisecond).Seconds()*tokensPerSecond))
	a.spend(pool, used)
	if !r.Parsed.Stream || used.Completion == 0 {
		x.Settle(reserved, r, ended(pool, abandoned(&pool.Backends[0], "caller left", after)))
		return
	}
	d := proxy.Delivery{Broken: true, CallerLeft: true, TextBytes: 4 * used.Completion, FirstToken: began.Add(300 * time.Millisecond)}
	x.Settle(reserved, r, served(pool, after, d))
}

// background starts a response, which another one of the requests asks for later.
func (a *attacker) background(x *attacked, reserved *Reservation, r *proxy.Request, pool *balancer.Pool, used usage.Tokens, whole time.Duration) {
	result := served(pool, 100*time.Millisecond, proxy.Delivery{Stored: proxy.Stored{ID: "resp_1", Background: true}})
	due := x.Promise(reserved, r, &proxy.BackendResponse{Backend: result.ServedBy, Result: result})
	if a.chance(3) {
		result = ended(pool, abandoned(&pool.Backends[0], "caller left", 100*time.Millisecond))
	}
	x.Settle(reserved, r, result)
	time.Sleep(whole)
	a.spend(pool, used)
	if len(result.Attempts) > 0 && result.ServedBy != nil && a.chance(2) {
		a.instance().Correct(r, due, &proxy.Stored{Ended: true, Reported: a.chance(2), Usage: used}, "")
	}
}

// An hour in which one consumer tries to spend more than its limits, by everything
// that it can do.
func TestAttackersHour(t *testing.T) {
	lasts := 3 * time.Minute
	if os.Getenv("SPILLWAY_SOAK") != "" {
		lasts = time.Hour
	}
	const minute, budget = 60_000, 10.0
	answer := 4000*20e-6 + 1000*10e-6 // the dearest
	for _, n := range []int{1, 5, 20} {
		t.Run(fmt.Sprint("a month's limit, ", n, " instances"), func(t *testing.T) {
			a := &attacker{who: &consumer.Consumer{Name: "team-a", BudgetPerMonth: budget}}
			synctest.Test(t, func(t *testing.T) { a.attack(t, n, lasts) })
			t.Logf("%d of %d requests spent $%.2f of $%g in %v; an answer is $%.2f", a.served, a.asked, a.money, budget, lasts, answer)
			if a.money > budget+float64(n)*answer {
				t.Errorf("spent $%.2f of $%g", a.money, budget)
			}
		})
		t.Run(fmt.Sprint("a minute's limit, ", n, " instances"), func(t *testing.T) {
			a := &attacker{who: &consumer.Consumer{Name: "team-a", TokensPerMinute: minute}}
			synctest.Test(t, func(t *testing.T) { a.attack(t, n, lasts) })
			worst, sum := int64(0), int64(0)
			for m := range int(lasts / time.Minute) {
				worst, sum = max(worst, a.tokens[m]), sum+a.tokens[m]
			}
			mean := 100 * sum / int64(lasts/time.Minute) / minute
			t.Logf("%d of %d requests in %v: worst minute %d %%, mean %d %% of the limit", a.served, a.asked, lasts, 100*worst/minute, mean)
			if worst > 2*minute || mean > 115 {
				t.Errorf("worst minute %d %%, mean %d %% of the limit", 100*worst/minute, mean)
			}
		})
	}
}
