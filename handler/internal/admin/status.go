package admin

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/telemetry/condition"
)

// Status is everything that the page shows of now. Traffic is that of all instances
// in the last minute. Durations are in milliseconds.
type Status struct {
	At            time.Time         `json:"at"`
	Instance      string            `json:"instance"` // that answered
	Version       string            `json:"version"`
	Region        string            `json:"region,omitempty"`
	Keyless       bool              `json:"keyless,omitempty"` // no key is needed: a standalone run on loopback
	Headline      Headline          `json:"headline"`
	State         StateStatus       `json:"state"`
	Pools         []PoolStatus      `json:"pools"`
	Consumers     []ConsumerStatus  `json:"consumers"` // nearest to a limit first
	ConsumerCount int               `json:"consumerCount"`
	Fleet         *FleetStatus      `json:"fleet,omitempty"` // absent before the first read of the table
	Changes       []ChangeStatus    `json:"changes"`         // the latest first
	Conditions    []ConditionStatus `json:"conditions"`      // those that are not ok, failing first
	DecisionsKept int               `json:"decisionsKept"`
	Usage         bool              `json:"usage"` // /ops/api/usage exists
}

// StateStatus is the answering instance's connection to the table.
type StateStatus struct {
	Memory         bool    `json:"memory,omitempty"` // there is no shared state
	Unreachable    bool    `json:"alone"`            // the table is unreachable
	Error          string  `json:"trouble,omitempty"`
	SinceContactMS int64   `json:"sinceContactMs"`
	OutageMS       int64   `json:"outageMs"` // total time without the table
	RefreshMS      int64   `json:"refreshMs"`
	DisagreementMS float64 `json:"disagreementMs"` // delay of other instances' changes, on average
	Disagreements  uint64  `json:"disagreements"`  // the number of those changes
	Wasted         uint64  `json:"wastedRequests"` // sent to a backend that was unavailable by the table
	ExchangeMS     float64 `json:"exchangeMs"`     // one exchange with the table, on average
	Writes         uint64  `json:"writes"`
	Conflicts      uint64  `json:"conflicts"`
	ReadFailures   uint64  `json:"readFailures"`
	ClockWidthMS   int64   `json:"clockWidthMs"`
	ReadOnly       bool    `json:"readOnly,omitempty"` // it can be read but not written
	Trips          uint64  `json:"trips"`
	OwnTrips       uint64  `json:"ownTrips"`                 // by what this instance saw itself
	Stalls         uint64  `json:"stalls"`                   // times this process did not run for more than a second
	LeftOut        uint64  `json:"recordsLeftOut,omitempty"` // records that the full row had no space for
	Probes         uint64  `json:"probes"`
	Unreadable     uint64  `json:"unreadableRecords"`
}

// ConditionStatus is a part of an instance that is not ok.
type ConditionStatus struct {
	condition.JSON
	Instance string `json:"instance"`
}

// ChangeStatus is a change of a backend's state.
type ChangeStatus struct {
	At    time.Time `json:"at"`
	Slot  string    `json:"slot"`
	Text  string    `json:"text"`
	By    string    `json:"by,omitempty"` // the instance that wrote it
	Times int       `json:"times"`        // in a row
}

// serveStatus responds with the status. With brief, it lists the backends of the
// requested models only, and the consumers that are nearest to a limit; with
// consumers too, all of them.
func (o *Handler) serveStatus(w http.ResponseWriter, r *http.Request) {
	o.refresh(r.Context())
	s, query := o.currentStatus(), r.URL.Query()
	if query.Has("brief") {
		for i := range s.Pools {
			if !slices.Contains(query["model"], s.Pools[i].Model) {
				s.Pools[i].Groups = []GroupStatus{}
			}
		}
		if !query.Has("consumers") {
			s.Consumers = s.Consumers[:min(len(s.Consumers), briefConsumers)]
		}
	}
	writeJSON(w, http.StatusOK, s)
}

// briefConsumers bounds the consumers of a brief status.
const briefConsumers = 8

// maxChangesShown bounds the changes of a status.
const maxChangesShown = 12

// currentStatus builds the status.
func (o *Handler) currentStatus() *Status {
	now, snapshot := o.cfg.Now(), o.cfg.Replica.Snapshot()
	shared, sums, events := o.fleetSnapshot(), o.minutes(now), o.timeline(now)
	s := &Status{
		At: now.UTC(), Instance: o.cfg.Instance, Version: o.cfg.Version, Region: o.cfg.Region, Keyless: o.access.keyless,
		State: o.stateStatus(), Fleet: shared.status, Pools: []PoolStatus{}, Consumers: []ConsumerStatus{}, Changes: []ChangeStatus{}, Conditions: o.conditions(now),
		Usage: o.cfg.UsageRows != nil,
	}
	v := statusBuilder{cfg: o.served.Load(), now: now, snapshot: snapshot, unreachable: s.State.Unreachable, slots: shared.slots, tableTime: shared.at, minutes: sums.slots, waiting: sums.waiting, events: bySubject(events), refusals: o.refusals(now)}
	for i := range v.cfg.Pools {
		s.Pools = append(s.Pools, v.pool(&v.cfg.Pools[i]))
	}
	s.Consumers = append(s.Consumers, o.consumers(sums.consumers)...)
	s.ConsumerCount = len(s.Consumers)
	for _, e := range slices.Backward(events) {
		if len(s.Changes) < maxChangesShown {
			s.Changes = append(s.Changes, ChangeStatus{At: e.Last.UTC(), Slot: e.Subject, Text: e.Text, By: e.By, Times: e.Times})
		}
	}
	s.DecisionsKept, _ = o.cfg.Recent.retained()
	s.Headline = headline(s)
	return s
}

// conditions are the parts of the instances that are not ok, failing first.
func (o *Handler) conditions(now time.Time) []ConditionStatus {
	all := append([]ConditionStatus{}, o.ownConditions()...)
	all = append(all, o.others.Load().shared(now).Conditions...)
	slices.SortStableFunc(all, func(a, b ConditionStatus) int {
		return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(a.Part, b.Part)) // failing, degraded
	})
	return all
}

// bySubject are the events of each subject, in their order.
func bySubject(events []Event) map[string][]Event {
	by := map[string][]Event{}
	for i := range events {
		by[events[i].Subject] = append(by[events[i].Subject], events[i])
	}
	return by
}

func (o *Handler) stateStatus() StateStatus {
	c := o.cfg.Replica.Counters()
	s := StateStatus{
		Memory: o.cfg.Memory, Unreachable: c.Disconnected, SinceContactMS: c.SinceContact.Milliseconds(), OutageMS: c.Outage.Milliseconds(),
		RefreshMS: o.cfg.Refresh.Milliseconds(), Disagreements: c.Disagreements, Wasted: c.StaleRequests, Writes: c.Writes, Conflicts: c.Conflicts,
		ReadFailures: c.ReadFailures, ClockWidthMS: c.ClockUncertainty.Milliseconds(), Trips: c.Trips, OwnTrips: c.OwnTrips, Stalls: c.Stalls, LeftOut: c.RecordsLeftOut, ReadOnly: c.WriteError != nil && !c.Disconnected, Probes: c.Probes + c.LocalProbes, Unreadable: c.UnreadableRecords,
	}
	s.DisagreementMS, s.ExchangeMS = mean(c.Disagreement, c.Disagreements), mean(c.ExchangeTime, c.Exchanges)
	if err := cmp.Or(c.WriteError, c.LastError); err != nil {
		s.Error = truncate(err.Error())
	}
	return s
}

// mean is in milliseconds; 0 when n is 0.
func mean(sum time.Duration, n uint64) float64 {
	if n == 0 {
		return 0
	}
	return milliseconds(sum / time.Duration(n))
}

func strategyName(s balancer.Strategy) string {
	switch s {
	case balancer.Weighted:
		return "weighted"
	case balancer.RoundRobin:
		return "round-robin"
	case balancer.LeastBusy:
		return "least-busy"
	case balancer.LowestLatency:
		return "lowest-latency"
	}
	return "unknown"
}
