package quota

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/memory"
	"spillway/handler/internal/tablestore/storetest"
)

// load is the callers of one consumer, evenly over the instances.
type load struct {
	times   float64 // of the limit, in estimated tokens
	lasts   time.Duration
	settles time.Duration // how long an answer takes, on average

	served, refused, other atomic.Int64
	mu                     sync.Mutex
	used                   map[int64]int64 // by true minute of admission
	waits                  []time.Duration
}

const mean = 1000 // tokens of a request

// drive sends each instance its part of the load for the duration, and waits for
// the last answer.
func (x *load) drive(ctx context.Context, c *consumer.Consumer, fleet []*Limiter) {
	x.used = map[int64]int64{}
	perSecond := x.times * float64(c.TokensPerMinute) / 60 / mean / float64(len(fleet))
	var all sync.WaitGroup
	end := time.Now().Add(x.lasts)
	for _, l := range fleet {
		all.Go(func() {
			for {
				time.Sleep(time.Duration(-math.Log(1-rand.Float64()) / perSecond * 1e9))
				if time.Now().After(end) {
					return
				}
				all.Go(func() { x.request(ctx, c, l) })
			}
		})
	}
	all.Wait()
}

func (x *load) request(ctx context.Context, c *consumer.Consumer, l *Limiter) {
	estimate := int64(mean/2 + rand.IntN(mean))
	before := time.Now()
	r, err := l.Reserve(ctx, c, Demand{Model: "gpt-4o", Prompt: estimate})
	x.mu.Lock()
	x.waits = append(x.waits, time.Since(before))
	x.mu.Unlock()
	var over *ExceededError
	switch {
	case errors.As(err, &over):
		x.refused.Add(1)
		return
	case err != nil:
		x.other.Add(1)
		return
	}
	x.served.Add(1)
	used := int64(float64(estimate) * (0.4 + 0.6*rand.Float64()))
	x.mu.Lock()
	x.used[time.Now().Unix()/60] += used
	x.mu.Unlock()
	time.Sleep(time.Duration((0.2 + 1.6*rand.Float64()) * float64(x.settles)))
	r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: used / 3, Completion: used - used/3}})
}

// worst is the largest minute, in percent of the limit; total is all of them.
func (x *load) worst(c *consumer.Consumer) (worst float64, total int64) {
	for _, n := range x.used {
		worst = max(worst, 100*float64(n)/float64(c.TokensPerMinute))
		total += n
	}
	return worst, total
}

// warmUp has requests of others come to instances until these have counted each other.
func warmUp(fleet ...*Limiter) {
	for range 20 {
		for _, l := range fleet {
			l.feed.NoteTraffic()
		}
		time.Sleep(time.Second)
	}
}

// distance delays a table by a network round trip.
type distance struct{ tablestore.Store }

func (d distance) Get(ctx context.Context, p, k string) (tablestore.Row, tablestore.Response, error) {
	time.Sleep(time.Duration(rand.Int64N(int64(5*time.Millisecond))) + time.Millisecond)
	row, reply, err := d.Store.Get(ctx, p, k)
	time.Sleep(time.Millisecond)
	return row, reply, err
}

func (d distance) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	time.Sleep(time.Duration(rand.Int64N(int64(5*time.Millisecond))) + time.Millisecond)
	v, reply, err := d.Store.Put(ctx, row)
	time.Sleep(time.Millisecond)
	return v, reply, err
}

// faults are the typical ones without late writes, which the simulation of package
// lease has.
func faults() chaos.Faults {
	f := chaos.TypicalFaults()
	f.Late = 0
	return f
}

// Limiters with their goroutines and clocks, in virtual time. The order of
// goroutines is not controlled here; the simulation of package lease does that.
func TestTwentyLimitersKeepOneLimit(t *testing.T) {
	for _, c := range []struct {
		limit         int64
		times         float64
		least, most   float64 // percent, of the worst minute
		refusedAtMost float64
	}{
		{600_000, 10, 90, 105, 100},
		{60_000, 10, 90, 105, 100},
		{600_000, 0.8, 0, 105, 0.5},
	} {
		t.Run(fmt.Sprintf("%d a minute, load %g", c.limit, c.times), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(midMonth)
				team := &consumer.Consumer{Name: "team-a", TokensPerMinute: c.limit, TokensPerMonth: 1e12}
				ctx, cancel := context.WithCancel(t.Context())
				var g sync.WaitGroup
				inner := distance{new(memory.Store)}
				var fleet []*Limiter
				for range 20 {
					store := &chaos.Store{Inner: inner, Faults: faults()}
					skew := time.Duration(rand.Int64N(int64(10*time.Minute))) - 5*time.Minute
					fleet = append(fleet, open(ctx, &g, Config{
						Store: store, Consumers: []*consumer.Consumer{team}, CountInstances: fleetOf(20),
						Now: func() time.Time { return time.Now().Add(skew) },
					}))
				}
				x := load{times: c.times, lasts: 4 * time.Minute, settles: 500 * time.Millisecond}
				x.drive(ctx, team, fleet)
				cancel()
				g.Wait()
				worst, total := x.worst(team)
				refused := 100 * float64(x.refused.Load()) / float64(x.refused.Load()+x.served.Load())
				t.Logf("worst minute %.1f %%, mean %.1f %%, refused %.2f %%, served %d", worst, float64(total)/float64(len(x.used))/float64(c.limit)*100, refused, x.served.Load())
				if worst > c.most || worst < c.least || refused > c.refusedAtMost || x.other.Load() > 0 {
					t.Errorf("worst minute %.1f %%, refused %.2f %%, %d other errors", worst, refused, x.other.Load())
				}
				if float64(total) > 1.01*float64(len(x.used))*float64(c.limit) {
					t.Errorf("%d in %d minutes of %d", total, len(x.used), c.limit)
				}
			})
		})
	}
}

func TestTableOutageUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		team := &consumer.Consumer{Name: "team-a", TokensPerMinute: 600_000, TokensPerMonth: 100_000_000}
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		inner := new(memory.Store)
		var fleet []*Limiter
		var faulty []*chaos.Store
		for range 10 {
			store := &chaos.Store{Inner: distance{inner}}
			faulty = append(faulty, store)
			fleet = append(fleet, open(ctx, &g, Config{Store: store, Consumers: []*consumer.Consumer{team}, CountInstances: fleetOf(10)}))
		}
		warmUp(fleet...)
		cut := func(off bool) {
			for _, w := range faulty {
				w.SetPartitioned(off)
			}
		}
		g.Go(func() {
			time.Sleep(80 * time.Second)
			cut(true)
			time.Sleep(60 * time.Second)
			cut(false)
		})
		x := load{times: 0.6, lasts: 4 * time.Minute, settles: 500 * time.Millisecond}
		x.drive(ctx, team, fleet)
		time.Sleep(5 * time.Second)
		cancel()
		g.Wait()
		_, total := x.worst(team)
		refused := 100 * float64(x.refused.Load()) / float64(x.refused.Load()+x.served.Load())
		late := 0
		for _, w := range x.waits {
			if w > time.Millisecond {
				late++
			}
		}
		t.Logf("refused %.2f %%, %d of %d waited for the table", refused, late, len(x.waits))
		if refused > 1 || float64(late) > 0.02*float64(len(x.waits)) {
			t.Errorf("refused %.2f %%, %d of %d waited", refused, late, len(x.waits))
		}
		row, _, err := inner.Get(t.Context(), "q|team-a", "tpmo-0")
		if err != nil {
			t.Fatal(err)
		}
		record, err := lease.Parse(row.Columns[recordColumn])
		if err != nil || record.Granted != total {
			t.Errorf("%d used, %d booked in the month, %v", total, record.Granted, err)
		}
	})
}

// Twenty limiters on Azurite, with faults: all spending is booked in the end. With
// SPILLWAY_SOAK the test runs for longer and checks the minute's limit as well,
// which takes idle processors.
func TestTwentyLimitersOnAzurite(t *testing.T) {
	connection := storetest.Azurite(t)
	soak := os.Getenv("SPILLWAY_SOAK") != ""
	x := load{times: 10, lasts: 4 * time.Second, settles: 300 * time.Millisecond}
	if soak {
		x.lasts = 25 * time.Second // ten times the load spends the limit in six
	}
	team := &consumer.Consumer{Name: "team-a", TokensPerMinute: 240_000, TokensPerMonth: 1_000_000_000}
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	var fleet []*Limiter
	for range 20 {
		fleet = append(fleet, open(ctx, &g, Config{
			Store: &chaos.Store{Inner: connect(t, connection), Faults: faults()}, Consumers: []*consumer.Consumer{team}, CountInstances: fleetOf(20),
		}))
	}
	x.drive(ctx, team, fleet)
	worst, total := x.worst(team)
	waitForBooking(t, connect(t, connection), total)
	cancel()
	g.Wait()
	t.Logf("ten times the load: worst minute %.1f %%, %d served, %d refused", worst, x.served.Load(), x.refused.Load())
	if x.served.Load() == 0 || x.other.Load() > 0 || soak && (worst > 105 || worst < 30) {
		t.Errorf("%d served, %d other errors, worst minute %.1f %%", x.served.Load(), x.other.Load(), worst)
	}
}

func connect(t *testing.T, connection string) tablestore.Store {
	t.Helper()
	store, err := azure.Connect(connection, "quotas", azure.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// waitForBooking waits until the month's record holds exactly the total: unused
// leases are returned after two seconds.
func waitForBooking(t *testing.T, store tablestore.Store, total int64) {
	t.Helper()
	var record lease.Record
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		row, _, err := store.Get(t.Context(), "q|team-a", "tpmo-0")
		if err != nil {
			continue
		}
		if record, err = lease.Parse(row.Columns[recordColumn]); err != nil {
			t.Fatal(err)
		}
		if record.Granted == total {
			return
		}
	}
	t.Fatalf("%d used, %d booked in the month", total, record.Granted)
}
