package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
)

// Monitor writes a line when a condition changes that nobody reports: the table
// is out of reach, instances disagree. It checks once a second.
type Monitor struct {
	Events   *EventLog
	Requests *RequestLog
	Counters func() fleet.Counters
	Snapshot func() *health.Snapshot // no side effect; nil = own circuits have no lines

	// OwnCircuitChanged is called when a circuit that binds this instance alone
	// opened, became half-open or closed.
	OwnCircuitChanged func(slot health.Slot, before health.CircuitState, after *health.Health)

	own                 []health.CircuitState // by slot, of circuits that bind this instance alone
	table               tableState
	since               time.Time // the present or last trouble with the table
	lastTrouble         time.Time // of the last line about it
	reported            bool      // … which no line has ended yet
	last                fleet.Counters
	longestDisagreement time.Duration // disagreement since the last line of it
	changes             uint64
	wasted              uint64
	lastAgreement       time.Time
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
	w.checkTable(now, &c)
	w.checkOwnCircuits()
	w.checkAgreement(now, &c)
	w.Requests.Flush(now)
	w.last = c
}

// reminderInterval is the time between two lines of trouble with the table: an
// alert reads the last few minutes, and trouble that comes and goes must not fill
// the log.
const reminderInterval = time.Minute

// tableState is how the table serves this instance.
type tableState uint8

const (
	tableServes   tableState = iota
	tableFails               // the last exchange failed
	tableReadOnly            // it answers, and takes no write
	tableLost                // it has not answered for long, and the instance decides alone
)

func tableStateOf(c *fleet.Counters) tableState {
	switch {
	case c.Disconnected:
		return tableLost
	case readOnly(c):
		return tableReadOnly
	case c.LastError != nil:
		return tableFails
	}
	return tableServes
}

// checkTable writes a line at once when trouble with the table begins, again
// every minute while it lasts or comes back, and one when it is over.
func (w *Monitor) checkTable(now time.Time, c *fleet.Counters) {
	is := tableStateOf(c)
	if is != tableServes && w.table == tableServes {
		w.since = now
	}
	w.table = is
	switch {
	case is != tableServes && now.Sub(w.lastTrouble) >= reminderInterval:
		w.lastTrouble, w.reported = now, true
	case is == tableServes && w.reported:
		w.reported = false
	default:
		return
	}
	w.logTable(now, c)
}

func (w *Monitor) logTable(now time.Time, c *fleet.Counters) {
	level, trouble := slog.LevelInfo, w.table != tableServes
	if trouble {
		level = slog.LevelWarn
	}
	f := newJSONLine(nil, now, level, "state")
	f.text("instance", w.Events.Instance).key("degraded").boolean(trouble).flag("read_only", w.table == tableReadOnly)
	if err := cmp.Or(c.WriteError, c.LastError); err != nil {
		f.text("error", truncate(err.Error()))
	}
	if !trouble {
		f.seconds("outage_seconds", now.Sub(w.since))
	}
	w.Events.Out.write(f.end(), level)
}

// checkOwnCircuits reports changes of the circuits that bind this instance alone.
// When the fleet's circuit takes over, its own line tells so.
func (w *Monitor) checkOwnCircuits() {
	if w.Snapshot == nil || w.OwnCircuitChanged == nil {
		return
	}
	snapshot := w.Snapshot()
	if w.own == nil {
		w.own = make([]health.CircuitState, len(snapshot.Slots))
	}
	for slot := range min(len(w.own), len(snapshot.Slots)) {
		h, was := &snapshot.Slots[slot], w.own[slot]
		is := health.Closed
		if h.Own {
			is = h.State
		}
		w.own[slot] = is
		if is != was && (h.Own || h.State == health.Closed) {
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
