package quota

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore/memory"
)

// fleetOf counts n instances.
func fleetOf(n int) func(context.Context) (int, error) {
	return func(context.Context) (int, error) { return n, nil }
}

// known is how many limiters know each number of instances.
func known(fleet []*Limiter) map[int64]int {
	by := map[int64]int{}
	for _, l := range fleet {
		by[l.instances.instances.Load()]++
	}
	return by
}

// Every instance knows how many run, and few count.
func TestOneInstanceCountsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		var running, counts atomic.Int64
		team := &consumer.Consumer{Name: "team-a", TokensPerMinute: 1000}
		cfg := Config{Store: new(memory.Store), Consumers: []*consumer.Consumer{team}, CountInstances: func(context.Context) (int, error) {
			if counts.Add(1)%5 == 0 {
				return 0, errors.New("the table does not answer")
			}
			return int(running.Load()), nil
		}}
		var fleet []*Limiter
		traffic := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				for _, l := range fleet {
					l.feed.NoteTraffic()
				}
			}
		}
		for running.Store(20); len(fleet) < 20; {
			fleet = append(fleet, open(ctx, &g, cfg))
		}
		traffic(6 * time.Second)
		if by := known(fleet); by[20] != 20 {
			t.Errorf("after 6 s: %v, want all to know of 20", by)
		}
		late := open(ctx, &g, cfg)
		late.feed.NoteTraffic()
		late.feed.Read(ctx)
		if n := late.instances.instances.Load(); n != 20 {
			t.Errorf("an instance that just started knows of %d, want 20", n)
		}
		fleet = append(fleet, late)
		running.Store(21)
		counts.Store(0)
		traffic(10 * time.Minute)
		if by := known(fleet); by[21] != 21 {
			t.Errorf("after a while: %v, want all to know of 21", by)
		}
		if n := counts.Load(); n < 20 || n > 120 {
			t.Errorf("counted %d times in 10 minutes, want about one in 15 to 30 s by all together", n)
		}
		cancel()
		g.Wait()
	})
}

func TestInvalidCountsAreIgnored(t *testing.T) {
	var c instanceCount
	for _, entry := range []string{"", "x", `{"n":-1}`, `{"n":0}`, `{"n":1000000000}`, `{"n":"7"}`, "null", `{"n":1e400}`} {
		if c.observe(entry, time.Unix(0, 0)); c.instances.Load() != 0 {
			t.Errorf("%q counts %d instances", entry, c.instances.Load())
		}
	}
	if c.observe(`{"n":7}`, time.Unix(0, 0)); c.instances.Load() != 7 {
		t.Error("a valid count after invalid ones is ignored")
	}
}

// The table is lost before any instance had a request of this consumer. With the
// count each spends its part; without it, each spends the whole.
func TestOutageBeforeTheFirstRequest(t *testing.T) {
	for name, count := range map[string]func(context.Context) (int, error){"counted": fleetOf(10), "not counted": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				used := spentInOutage(t, count)
				t.Logf("%d of 60000 tokens were spent in the minute without a table", used)
				if over := used > 61_000; over == (count != nil) {
					t.Errorf("%d tokens spent; want the count to make the difference", used)
				}
				if used < 30_000 {
					t.Errorf("only %d tokens spent", used)
				}
			})
		})
	}
}

// spentInOutage is what ten instances grant in one minute when the table is lost
// before their first request.
func spentInOutage(t *testing.T, count func(context.Context) (int, error)) int {
	t.Helper()
	time.Sleep(midMonth)
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	team := &consumer.Consumer{Name: "team-a", TokensPerMinute: 60_000}
	store := &counting{Store: new(memory.Store)}
	var fleet []*Limiter
	for range 10 {
		fleet = append(fleet, open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{team}, CountInstances: count}))
	}
	for range 10 {
		for _, l := range fleet {
			l.feed.NoteTraffic() // requests of other consumers
		}
		time.Sleep(time.Second)
	}
	store.set(0, true)
	time.Sleep(5 * time.Second)
	var used atomic.Int64
	var callers sync.WaitGroup
	for _, l := range fleet {
		callers.Go(func() {
			for range 20 {
				if r, err := l.Reserve(ctx, team, Demand{Model: "gpt-4o", Prompt: 3000}); err == nil {
					r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 3000}})
					used.Add(3000)
				}
			}
		})
	}
	callers.Wait()
	store.set(0, false)
	cancel()
	g.Wait()
	return int(used.Load())
}
