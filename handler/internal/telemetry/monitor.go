package telemetry

import (
	"context"
	"log/slog"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/telemetry/condition"
)

// Monitor writes a line when something changes that nobody reports: a part fails,
// instances disagree. It checks once a second.
type Monitor struct {
	Events   *EventLog
	Requests *RequestLog
	Counters func() fleet.Counters
	Snapshot func() *health.Snapshot // no side effect; nil = own circuits have no lines

	Conditions *condition.Set // nil = none are watched

	// OwnCircuitChanged is called when a circuit that binds this instance alone
	// opened, became half-open or closed.
	OwnCircuitChanged func(slot health.Slot, before health.CircuitState, after *health.Health)

	own                 []ownCircuit // by slot
	last                fleet.Counters
	longestDisagreement time.Duration // disagreement since the last line of it
	changes             uint64
	wasted              uint64
	lastAgreement       time.Time
}

// ownCircuit is a circuit that binds this instance alone: as it was at the last check,
// and as it was last reported.
type ownCircuit struct {
	seen, reported health.CircuitState
	until          time.Time // of the last report
}

// checkInterval is the time between two checks.
const checkInterval = time.Second

// Run checks until ctx is done.
func (w *Monitor) Run(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.Check(w.Events.Now())
		}
	}
}

// Check checks once.
func (w *Monitor) Check(now time.Time) {
	c := w.Counters()
	w.logConditions(now)
	w.checkOwnCircuits()
	w.checkAgreement(now, &c)
	w.Requests.Flush(now)
	w.last = c
}

// logConditions writes the lines of the parts that fail, or work again
// (docs/observability.md#conditions).
func (w *Monitor) logConditions(now time.Time) {
	if w.Conditions == nil {
		return
	}
	for _, c := range w.Conditions.Check(now) {
		level := [...]slog.Level{condition.OK: slog.LevelInfo, condition.Degraded: slog.LevelWarn, condition.Failing: slog.LevelError}[c.State]
		f := newJSONLine(nil, now, level, "condition")
		f.text("instance", w.Events.Instance).text("part", c.Part.Name).text("state", c.State.String()).seconds("seconds", now.Sub(c.Since))
		if c.State != condition.OK {
			f.text("why", truncate(c.Why)).text("works", c.Part.Works).text("fix", c.Part.Fix)
		}
		w.Events.Out.write(f.end(), level)
	}
}

// checkOwnCircuits reports changes of the circuits that bind this instance alone. An
// opening is reported when it has lasted until the next check: mostly the fleet's
// circuit takes over before, and its own line tells so. A probe that fails is over
// before the next check: it shows by a later end, and is another opening.
func (w *Monitor) checkOwnCircuits() {
	if w.Snapshot == nil || w.OwnCircuitChanged == nil {
		return
	}
	snapshot := w.Snapshot()
	if w.own == nil {
		w.own = make([]ownCircuit, len(snapshot.Slots))
	}
	for slot := range min(len(w.own), len(snapshot.Slots)) {
		h, c := &snapshot.Slots[slot], &w.own[slot]
		is, was := health.Closed, c.reported
		if h.Own {
			is = h.State
		}
		opens := c.seen == health.Closed && is != health.Closed
		reopens := is == health.Open && was == health.Open && h.Until.Sub(c.until) > checkInterval/2
		c.seen = is
		if opens || is == was && !reopens {
			continue
		}
		if reopens {
			was = health.HalfOpen
		}
		c.reported, c.until = is, h.Until
		if h.Own || h.State == health.Closed {
			w.OwnCircuitChanged(health.Slot(slot), was, h)
		}
	}
}

// agreementInterval is the shortest time between two lines of agreement.
const agreementInterval = time.Minute

// checkAgreement writes the longest time that this instance took to adopt
// another's change, if there was one.
func (w *Monitor) checkAgreement(now time.Time, c *fleet.Counters) {
	if n := c.Disagreements - w.last.Disagreements; n > 0 {
		w.longestDisagreement = max(w.longestDisagreement, (c.Disagreement-w.last.Disagreement)/time.Duration(n))
		w.changes += n
	}
	w.wasted += c.StaleRequests - w.last.StaleRequests
	if w.changes == 0 || now.Sub(w.lastAgreement) < agreementInterval {
		return
	}
	f := newJSONLine(nil, now, slog.LevelInfo, "agreement")
	f.text("instance", w.Events.Instance).number("changes", int64(w.changes))
	f.seconds("disagreement_seconds", w.longestDisagreement).number("wasted_requests", int64(w.wasted))
	w.Events.Out.write(f.end(), slog.LevelInfo)
	w.longestDisagreement, w.changes, w.wasted, w.lastAgreement = 0, 0, 0, now
}
