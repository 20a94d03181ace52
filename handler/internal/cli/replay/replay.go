// Package replay runs the requests of a log once more, in virtual time, against another
// pool document: the balancer, the circuit breakers, the throttles and the limits are
// those that serve; the backends are models (docs/replay.md).
//
// It sends nothing, and needs no secret and no table.
package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"spillway/handler/internal/config"
)

// Scenario is what a log is replayed with. Config and Name are required; the zero value
// of any other field is its default.
type Scenario struct {
	Name      string
	Config    *config.Config
	Capacity  Capacities
	Units     Throughputs   // what a provisioned unit of a model does; nil = the table
	Instances int           // 0 = 1
	MaxWait   time.Duration // SPILLWAY_MAX_WAIT; 0 = none
	PTUPrice  float64       // of one unit for an hour, in the currency of the prices
	Seed      uint64
	Times     *Latency // how long answers take; nil = what the log says

	// Progress is called now and then with how many requests have arrived; nil = it is not.
	Progress func(arrived int)
}

// lead is how long before the first request the instances start: they know the clock of
// the table by then.
const lead = 10 * time.Second

// Run replays the log. The error is that of ctx, or says what of the scenario is not
// known.
func Run(ctx context.Context, log *Log, s *Scenario) (*Outcome, error) {
	if len(log.Records) == 0 {
		return nil, fmt.Errorf("replay %s: the log has no requests", s.Name)
	}
	w, err := newWorld(log, s)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	w.arrivals()
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	return w.tally.outcome(w), nil
}

// random is the source of all chance of a run. The seed decides every draw.
func random(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 19)) //nolint:gosec // a simulation is to be repeatable
}
