package telemetry

import (
	"context"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/quota"
)

// Monitor writes a line when a condition changes that nobody reports: the table
// is out of reach, instances disagree, a budget is nearly used. It checks once
// a second.
type Monitor struct {
	Events   *EventLog
	Requests *RequestLog
	Counters func() fleet.Counters
	Quotas   func() []quota.LimitStatus // nil = there are none

	degraded            bool
	since               time.Time
	lastReminder        time.Time // of the table
	last                fleet.Counters
	longestDisagreement time.Duration // disagreement since the last line of it
	changes             uint64
	wasted              uint64
	lastAgreement       time.Time
	loggedMarks         map[string]int // by budget: the mark of its last line
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
	w.checkAgreement(now, &c)
	w.checkBudgets(now)
	w.Requests.Flush(now)
	w.last = c
}

// reminderInterval is the time between two lines of one outage: an alert reads
// the last few minutes.
const reminderInterval = 5 * time.Minute

// checkTable writes a line when the table is lost, again while it is, and when
// it is back.
func (w *Monitor) checkTable(now time.Time, c *fleet.Counters) {
	if c.Disconnected == w.degraded && (!c.Disconnected || now.Sub(w.lastReminder) < reminderInterval) {
		return
	}
	level := "INFO"
	if c.Disconnected {
		level, w.lastReminder = "WARN", now
	}
	if c.Disconnected && !w.degraded {
		w.since = now
	}
	w.degraded = c.Disconnected
	f := newJSONLine(nil, now, level, "state")
	f.text("instance", w.Events.Instance).key("degraded").boolean(c.Disconnected)
	if c.LastError != nil {
		f.text("error", truncate(c.LastError.Error()))
	}
	if !c.Disconnected {
		f.seconds("outage_seconds", now.Sub(w.since)+c.SinceContact)
	}
	w.Events.Out.write(f.end(), c.Disconnected)
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
	f := newJSONLine(nil, now, "INFO", "agreement")
	f.text("instance", w.Events.Instance).number("changes", int64(w.changes))
	f.seconds("disagreement_seconds", w.longestDisagreement).number("wasted_requests", int64(w.wasted))
	w.Events.Out.write(f.end(), false)
	w.longestDisagreement, w.changes, w.wasted, w.lastAgreement = 0, 0, 0, now
}

// budgetMarks are the percentages of a month's limit that have a line.
var budgetMarks = [...]int{50, 80, 95, 100}

// checkBudgets writes a line when a consumer passes a mark of a month's limit.
func (w *Monitor) checkBudgets(now time.Time) {
	if w.Quotas == nil {
		return
	}
	for _, line := range w.Quotas() {
		if line.Limit != "tokensPerMonth" && line.Limit != "budgetPerMonth" || line.Amount <= 0 {
			continue
		}
		used := 100 * (line.Amount - line.Remaining) / line.Amount
		w.checkBudget(now, &line, used)
	}
}

func (w *Monitor) checkBudget(now time.Time, line *quota.LimitStatus, used float64) {
	mark := 0
	for _, m := range budgetMarks {
		if used >= float64(m) {
			mark = m
		}
	}
	name := line.Consumer + "\x00" + line.Model + "\x00" + line.Limit
	before := w.loggedMarks[name]
	if w.loggedMarks == nil {
		w.loggedMarks = map[string]int{}
	}
	w.loggedMarks[name] = mark
	if mark <= before {
		return
	}
	f := newJSONLine(nil, now, "WARN", "budget")
	f.text("instance", w.Events.Instance).text("consumer", line.Consumer).text("model", line.Model).text("budget", line.Limit)
	f.decimal("percent", used, 4).decimal("limit", line.Amount, 12)
	w.Events.Out.write(f.end(), true)
}
