package quota

import (
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
)

// Meter is what a caller is told about one limit, in x-ratelimit-limit,
// -remaining and -reset. The zero Meter is no limit.
type Meter struct {
	Limit     int64
	Remaining int64         // over the fleet, as far as this instance knows; never negative
	Reset     time.Duration // until the whole limit is there again
}

// Standing is what a caller is told about its limits per minute.
type Standing struct {
	Tokens   Meter
	Requests Meter
}

// Standing tells how a consumer stands with this model: of the limits that bear
// on it, those with the least left. It never waits.
func (l *Ledger) Standing(c *consumer.Consumer, model string) Standing {
	var s Standing
	if c == nil || l.books[c.Name] == nil {
		return s
	}
	b := l.books[c.Name]
	for _, of := range [][]*entry{b.byModel[model], b.all} {
		for _, e := range of {
			if e.period != lease.Minute {
				continue
			}
			into := &s.Tokens
			if e.unit == requests {
				into = &s.Requests
			}
			if m := l.meter(e); into.Limit == 0 || m.Remaining < into.Remaining {
				*into = m
			}
		}
	}
	return s
}

func (l *Ledger) meter(e *entry) Meter {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.account.Standing(l.moment(e.period))
	return Meter{s.Limit, s.Remaining, l.untilEnd(e.period, s.Window)}
}

// Line is one limit of one consumer, for the status page and the metrics.
type Line struct {
	Consumer  string
	Limit     string  // "tokensPerMinute"
	Model     string  // "" = over all models
	Amount    float64 // tokens, requests, or money in the currency of the prices
	Remaining float64 // as far as this instance knows
	Reset     time.Duration
}

// Lines lists all limits, by consumer.
func (l *Ledger) Lines() []Line {
	var lines []Line
	for who, b := range l.books {
		for e := range b.entries() {
			m := l.meter(e)
			line := Line{Consumer: who, Limit: e.name, Model: e.model, Amount: float64(m.Limit), Remaining: float64(m.Remaining), Reset: m.Reset}
			if e.unit == money {
				line.Amount, line.Remaining = lease.Amount(m.Limit), lease.Amount(m.Remaining)
			}
			lines = append(lines, line)
		}
	}
	slices.SortFunc(lines, func(a, b Line) int {
		return strings.Compare(a.Consumer+"\x00"+a.Model+"\x00"+a.Limit, b.Consumer+"\x00"+b.Model+"\x00"+b.Limit)
	})
	return lines
}
