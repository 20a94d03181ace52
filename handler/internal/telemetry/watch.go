package telemetry

import (
	"context"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/quota"
)

// Watch looks once a second at what nobody is told of: the table out of reach,
// how far instances disagreed, budgets that come to an end. It writes a line
// when one of them changes.
type Watch struct {
	Events   *Events
	Requests *RequestLog
	Counters func() fleet.Counters
	Quotas   func() []quota.LimitStatus // nil = there are none

	degraded bool
	since    time.Time
	reminded time.Time // of the table
	last     fleet.Counters
	worst    time.Duration // disagreement since the last line of it
	changes  uint64
	wasted   uint64
	told     time.Time
	warned   map[string]int // by budget: the mark that was told of
}

// watchEvery is how often Watch looks.
const watchEvery = time.Second

// Run looks until ctx is done.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.Look(w.Events.Now())
		}
	}
}

// Look is one look.
func (w *Watch) Look(now time.Time) {
	c := w.Counters()
	w.table(now, &c)
	w.agreement(now, &c)
	w.budgets(now)
	w.Requests.Flush(now)
	w.last = c
}

// remindEvery is how often there is a line on an outage that lasts: an alert
// looks a few minutes back.
const remindEvery = 5 * time.Minute

// table tells when the table is lost, again while it is, and when it is back.
func (w *Watch) table(now time.Time, c *fleet.Counters) {
	if c.Alone == w.degraded && (!c.Alone || now.Sub(w.reminded) < remindEvery) {
		return
	}
	level := "INFO"
	if c.Alone {
		level, w.reminded = "WARN", now
	}
	if c.Alone && !w.degraded {
		w.since = now
	}
	w.degraded = c.Alone
	f := newLine(nil, now, level, "state")
	f.text("instance", w.Events.Instance).begin("degraded").boolean(c.Alone)
	if c.Trouble != nil {
		f.text("error", shorten(c.Trouble.Error(), longestCause))
	}
	if !c.Alone {
		f.seconds("outage_seconds", now.Sub(w.since)+c.SinceTable)
	}
	w.Events.Out.write(f.end(), c.Alone)
}

// agreementEvery is how often there is a line on how far instances disagreed.
const agreementEvery = time.Minute

// agreement tells once a minute of the longest time that this instance took to
// learn of another's change, if there was one.
func (w *Watch) agreement(now time.Time, c *fleet.Counters) {
	if n := c.Disagreements - w.last.Disagreements; n > 0 {
		w.worst = max(w.worst, (c.Disagreement-w.last.Disagreement)/time.Duration(n))
		w.changes += n
	}
	w.wasted += c.Wasted - w.last.Wasted
	if w.changes == 0 || now.Sub(w.told) < agreementEvery {
		return
	}
	f := newLine(nil, now, "INFO", "agreement")
	f.text("instance", w.Events.Instance).number("changes", int64(w.changes))
	f.seconds("disagreement_seconds", w.worst).number("wasted_requests", int64(w.wasted))
	w.Events.Out.write(f.end(), false)
	w.worst, w.changes, w.wasted, w.told = 0, 0, 0, now
}

// budgetMarks are the percentages of a month's budget that are told of.
var budgetMarks = [...]int{80, 100} //nolint:gochecknoglobals // a constant

// budgets tells when a consumer passes a mark of a budget for a month.
func (w *Watch) budgets(now time.Time) {
	if w.Quotas == nil {
		return
	}
	for _, line := range w.Quotas() {
		if line.Limit != "tokensPerMonth" && line.Limit != "budgetPerMonth" || line.Amount <= 0 {
			continue
		}
		used := 100 * (line.Amount - line.Remaining) / line.Amount
		w.budget(now, &line, used)
	}
}

func (w *Watch) budget(now time.Time, line *quota.LimitStatus, used float64) {
	mark := 0
	for _, m := range budgetMarks {
		if used >= float64(m) {
			mark = m
		}
	}
	name := line.Consumer + "\x00" + line.Model + "\x00" + line.Limit
	before := w.warned[name]
	if w.warned == nil {
		w.warned = map[string]int{}
	}
	w.warned[name] = mark
	if mark <= before {
		return
	}
	f := newLine(nil, now, "WARN", "budget")
	f.text("instance", w.Events.Instance).text("consumer", line.Consumer).text("model", line.Model).text("budget", line.Limit)
	f.decimal("percent", used, 4).decimal("limit", line.Amount, 12)
	w.Events.Out.write(f.end(), true)
}
