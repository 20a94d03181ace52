package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// others is what the other instances share, as of the last read. The zero others
// is nothing.
type others struct {
	rows   []*sharedTraffic
	events []Event // merged
}

func newOthers(rows []*sharedTraffic) *others {
	o := &others{rows: rows}
	for _, t := range rows {
		o.events = append(o.events, t.Events...)
	}
	o.events = mergeEvents(o.events)
	return o
}

// minutes is the last minute on all instances.
type minutes struct {
	slots     map[string]sharedMinute
	consumers map[string]counts
	waiting   map[string]*WaitingStatus // by model
}

func newMinutes() minutes {
	return minutes{slots: map[string]sharedMinute{}, consumers: map[string]counts{}, waiting: map[string]*WaitingStatus{}}
}

// minutes adds the other instances' last minute to this one's.
func (o *Handler) minutes(now time.Time) minutes {
	m := o.ownMinutes(now)
	for _, t := range o.others.Load().current(now) {
		m.add(t)
	}
	return m
}

// current are the rows that were written lately.
func (o *others) current(now time.Time) (rows []*sharedTraffic) {
	for _, t := range o.rows {
		if now.Sub(time.UnixMilli(t.At)).Abs() <= minuteMaxAge {
			rows = append(rows, t)
		}
	}
	return rows
}

// add adds the last minute of an instance.
func (m *minutes) add(t *sharedTraffic) {
	for name, c := range t.Slots {
		m.slots[name] = m.slots[name].plus(&c)
	}
	for name, c := range t.Consumers {
		sum := m.consumers[name]
		sum.add(&c)
		m.consumers[name] = sum
	}
	for model, w := range t.Waiting {
		sum := *w
		if known := m.waiting[model]; known != nil {
			sum.add(known)
		}
		m.waiting[model] = &sum
	}
}

func (m sharedMinute) plus(n *sharedMinute) sharedMinute {
	m.Counts.add(&n.Counts)
	m.InFlight += n.InFlight
	var h histogram
	h.addSparse(m.First)
	h.addSparse(n.First)
	m.First = h.sparse()
	if m.Utilization == nil || n.Utilization != nil && *n.Utilization > *m.Utilization {
		m.Utilization = n.Utilization
	}
	return m
}

// timeline is the events of all instances, the latest last.
func (o *Handler) timeline(now time.Time) []Event {
	from := now.Add(-eventRetention)
	events, _ := o.cfg.Recent.events.since(from)
	for i := range o.others.Load().events {
		if e := &o.others.Load().events[i]; !e.Last.Before(from) {
			events = append(events, *e)
		}
	}
	return mergeEvents(append(events, o.configChanges(now)...))
}

// configChanges are the starts of instances with another configuration or version
// than that of the instance which started before.
func (o *Handler) configChanges(now time.Time) []Event {
	starts := []*sharedTraffic{{Instance: o.cfg.Instance, Started: o.started.UnixMilli(), Config: o.served.Load().ConfigDigest, Version: o.cfg.Version}}
	starts = append(starts, o.others.Load().rows...)
	slices.SortFunc(starts, func(a, b *sharedTraffic) int { return cmp.Compare(a.Started, b.Started) })
	var events []Event
	for i := 1; i < len(starts); i++ {
		at, text := time.UnixMilli(starts[i].Started).UTC(), configChange(starts[i-1], starts[i])
		if text != "" && now.Sub(at) < eventRetention {
			events = append(events, Event{At: at, Last: at, Kind: ConfigChanged, Subject: starts[i].Instance, Text: text, Times: 1})
		}
	}
	return events
}

// configChange is what differs; "" = nothing.
func configChange(was, is *sharedTraffic) string {
	switch {
	case was.Version != is.Version:
		return fmt.Sprintf("version %s instead of %s", is.Version, was.Version)
	case was.Config != is.Config:
		return "another configuration (" + is.Config + ")"
	}
	return ""
}

// History is the last hours on all instances. Each list has a value for each
// step.
type History struct {
	At     time.Time       `json:"at"`
	From   time.Time       `json:"from"` // begin of the first step
	StepMS int64           `json:"stepMs"`
	Model  string          `json:"model,omitempty"` // "" = all
	Plots  map[string]Plot `json:"plots"`
	Costs  map[string]Plot `json:"costs"` // by currency
	Models []string        `json:"models"`
	Events []Event         `json:"events"`
}

// Plot is one value for each step.
type Plot []float64

// serveHistory responds with the last hours, of one model or of all.
func (o *Handler) serveHistory(w http.ResponseWriter, r *http.Request) {
	o.refresh(r.Context())
	writeJSON(w, http.StatusOK, o.history(r.URL.Query().Get("model"), o.cfg.Now()))
}

func (o *Handler) history(model string, now time.Time) *History {
	first := now.UnixNano()/int64(stepLength) - stepCount + 1
	h := &History{
		At: now.UTC(), From: time.Unix(0, first*int64(stepLength)).UTC(), StepMS: stepLength.Milliseconds(), Model: model,
		Costs: map[string]Plot{}, Models: []string{}, Events: o.timeline(now),
	}
	pools := o.served.Load().Pools
	for i := range pools {
		h.Models = append(h.Models, pools[i].Model)
	}
	sums := make([]step, stepCount)
	h.sum(sums, first, o.cfg.Recent.history.snapshot(now))
	for _, t := range o.others.Load().rows {
		h.sum(sums, first, t.Models)
	}
	h.Plots = plots(sums)
	return h
}

// plots are the values of each step, by name.
func plots(sums []step) map[string]Plot {
	all := map[string]Plot{}
	for name, value := range map[string]func(s *step) float64{
		"requests": func(s *step) float64 { return float64(s.Requests) },
		"failed":   func(s *step) float64 { return float64(s.Failed) },
		"tokens":   func(s *step) float64 { return float64(s.Tokens) },
		"spilled":  func(s *step) float64 { return 100 * float64(s.Spilled) / float64(max(s.Served, 1)) },
		"p50":      func(s *step) float64 { return s.counts.quantile(0.5) },
		"p95":      func(s *step) float64 { return s.counts.quantile(0.95) },
	} {
		for i := range sums {
			all[name] = append(all[name], value(&sums[i]))
		}
	}
	return all
}

// sum adds one instance's traffic.
func (h *History) sum(sums []step, first int64, models map[string]series) {
	for model, s := range models {
		if h.Model != "" && h.Model != model {
			continue
		}
		for i := range s.Steps {
			at := s.Steps[i].Number - first
			if at < 0 || at >= int64(len(sums)) {
				continue
			}
			sums[at].add(&s.Steps[i])
			if s.Steps[i].Cost > 0 {
				if h.Costs[s.Currency] == nil {
					h.Costs[s.Currency] = make(Plot, stepCount)
				}
				h.Costs[s.Currency][at] += s.Steps[i].Cost
			}
		}
	}
}
