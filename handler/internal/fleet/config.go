// Package state keeps the instances of one deployment agreed on the health of
// the backends: a Keeper in each instance, one table between them.
//
// The request path ([Replica.Look], [Replica.Enter], [Replica.Report] and their
// like) is memory only. One goroutine, [Replica.Run], reads the shared row,
// adopts what it says, and writes what this instance has to say by
// compare-and-swap. The protocol and the measurements behind each rule are
// facts/table-state.md §0 and §3; its model is in model/.
package fleet

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// Config is what a Keeper is made of. Store, Slots and Instance are needed;
// the zero value of any other field means its default.
type Config struct {
	Store             tablestore.Store
	Group             string   // which pool document's backends these are; part of the row's key; "" = "default"
	Slots             []string // stable names "backend/model"; their index is the health.Slot
	Instance          string   // this instance, for people; made unique by a boot nonce
	Breaker           health.BreakerPolicy
	Throttle          health.ThrottlePolicy
	Refresh           time.Duration // how often the row is read while there is traffic; 0 = 500 ms
	MaxInstances      int           // refresh as though there were so many, before they are counted; 0 = 1
	Timeout           time.Duration // of one exchange with the table; 0 = 1 s
	StaleAfter        time.Duration // without contact for so long, each instance probes for itself; 0 = 5 s
	IdleAfter         time.Duration // without traffic for so long, the row is not read; 0 = 60 s
	HeartbeatInterval time.Duration // how often an active instance says what it agreed to; 0 = 15 s, < 0 = never
	Environment       Environment

	// OnChange is told of every circuit, drain or throttle that this instance
	// adopted, with its keeper's lock held: it must be quick and must not call
	// back. nil = nobody is told.
	OnChange func(slot health.Slot, before, after health.Record)
}

// Environment is what a Keeper needs of its surroundings. The zero Environment is the real
// one; a simulation brings its own.
type Environment struct {
	Now   func() time.Time    // the process's clock: monotonic, of any origin
	Wall  func() time.Time    // the machine's wall clock, which goes on while the process is suspended
	Rand  func(n int64) int64 // in [0, n)
	Pacer Pacer               // how the keeper waits
}

// Pacer is how one goroutine waits and how others wake it.
type Pacer interface {
	// Wait returns when d has passed, ctx is done, or, then with true, when
	// somebody kicked since the last Wait returned.
	Wait(ctx context.Context, d time.Duration) bool
	// Sleep returns when d has passed or ctx is done. It takes no kick.
	Sleep(ctx context.Context, d time.Duration)
	// Wake never blocks.
	Wake()
}

func (c Config) withDefaults() Config {
	c.Group = cmp.Or(c.Group, "default")
	c.Breaker = c.Breaker.WithDefaults()
	c.Throttle = c.Throttle.WithDefaults()
	c.Refresh = cmp.Or(c.Refresh, 500*time.Millisecond)
	c.MaxInstances = max(c.MaxInstances, 1)
	c.Timeout = cmp.Or(c.Timeout, time.Second)
	c.StaleAfter = cmp.Or(c.StaleAfter, 5*time.Second)
	c.IdleAfter = cmp.Or(c.IdleAfter, time.Minute)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 15*time.Second)
	c.Environment = c.Environment.withDefaults()
	return c
}

func (w Environment) withDefaults() Environment {
	if w.Now == nil {
		w.Now = time.Now
		w.Wall = func() time.Time { return time.Now().Round(0) }
	}
	if w.Wall == nil {
		w.Wall = w.Now
	}
	if w.Rand == nil {
		w.Rand = rand.Int64N
	}
	if w.Pacer == nil {
		w.Pacer = make(timerPacer, 1)
	}
	return w
}

// timerPacer is the real one: at most one kick is remembered.
type timerPacer chan struct{}

func (p timerPacer) Wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (p timerPacer) Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p timerPacer) Wake() {
	select {
	case p <- struct{}{}:
	default:
	}
}
