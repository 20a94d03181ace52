package fleet

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// Config configures a Replica. Store, Slots and Instance are required; the zero
// value of any other field is its default.
type Config struct {
	Store             tablestore.Store
	Group             string                  // which pool document's backends these are; part of the row's key; "" = "default"
	Slots             []string                // names "backend/model", for people; their index is the health.Slot
	Identities        []string                // of the slots: what two configurations must agree in to share a record; nil = their names
	Instance          string                  // this instance, for people; made unique by a boot nonce
	Breakers          []health.BreakerPolicy  // of the slots; nil = the defaults
	Throttles         []health.ThrottlePolicy // of the slots; nil = the defaults
	Refresh           time.Duration           // how often the row is read while there is traffic; 0 = 500 ms
	MaxInstances      int                     // the fleet's size until it is counted; 0 = 1
	Timeout           time.Duration           // of one exchange with the table; 0 = 1 s
	StaleAfter        time.Duration           // after this time without contact, each instance probes on its own; 0 = 5 s
	IdleAfter         time.Duration           // after this time without traffic, the row is not read; 0 = 60 s
	HeartbeatInterval time.Duration           // between two heartbeats of an active instance; 0 = 15 s, < 0 = none
	Environment       Environment

	// Usual is the usual time to first content of a slot, p95; 0 = unknown. It
	// scales how long evidence is fresh. nil = unknown.
	Usual func(slot health.Slot) time.Duration

	// OnChange is called with every change of a record that this instance
	// applied, with the replica's lock held: it must be quick and must not call
	// the replica. nil = it is not called.
	OnChange func(slot health.Slot, before, after health.Record)
}

func (c Config) withDefaults() Config {
	c.Group = cmp.Or(c.Group, "default")
	if c.Identities == nil {
		c.Identities = c.Slots
	}
	if c.Usual == nil {
		c.Usual = func(health.Slot) time.Duration { return 0 }
	}
	c.Refresh = cmp.Or(c.Refresh, 500*time.Millisecond)
	c.MaxInstances = max(c.MaxInstances, 1)
	c.Timeout = cmp.Or(c.Timeout, time.Second)
	c.StaleAfter = cmp.Or(c.StaleAfter, 5*time.Second)
	c.IdleAfter = cmp.Or(c.IdleAfter, time.Minute)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 15*time.Second)
	c.Environment = c.Environment.withDefaults()
	return c
}

// policies are those of the slot.
func (c *Config) policies(n int) (breaker health.BreakerPolicy, throttle health.ThrottlePolicy) {
	if n < len(c.Breakers) {
		breaker = c.Breakers[n]
	}
	if n < len(c.Throttles) {
		throttle = c.Throttles[n]
	}
	return breaker.WithDefaults(), throttle.WithDefaults()
}

// Environment is the clocks, randomness and waiting of a Replica. The zero
// Environment is the real one; a simulation has its own.
type Environment struct {
	Now   func() time.Time    // the process's clock: monotonic, of any origin
	Wall  func() time.Time    // the machine's wall clock, which runs on while the process is suspended
	Rand  func(n int64) int64 // in [0, n)
	Pacer Pacer               // how the replica waits
}

func (e Environment) withDefaults() Environment {
	if e.Now == nil {
		e.Now = time.Now
		e.Wall = func() time.Time { return time.Now().Round(0) }
	}
	if e.Wall == nil {
		e.Wall = e.Now
	}
	if e.Rand == nil {
		e.Rand = rand.Int64N
	}
	if e.Pacer == nil {
		e.Pacer = make(timerPacer, 1)
	}
	return e
}

// Pacer is how one goroutine waits and how others wake it.
type Pacer interface {
	// Wait returns when d has passed, when ctx is done, or, then with true, when
	// Wake was called since the last Wait returned.
	Wait(ctx context.Context, d time.Duration) bool
	// Sleep returns when d has passed or ctx is done. It ignores Wake.
	Sleep(ctx context.Context, d time.Duration)
	// Wake never blocks.
	Wake()
}

// timerPacer is the real one. It keeps at most one wake-up.
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
