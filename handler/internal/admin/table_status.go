package admin

import (
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
)

// TableStatus is the status as far as the tables tell it: what spillway status prints.
// slots are the names by health.Slot.
func TableStatus(pools []balancer.Pool, slots []string, f *fleet.State, shared *Shared) *Status {
	s := &Status{At: f.At, Conditions: shared.Conditions}
	snapshot := &health.Snapshot{Slots: make([]health.Health, len(slots))}
	v := statusBuilder{
		cfg: &Config{Slots: slots}, now: f.At, tableTime: f.At, snapshot: snapshot, slots: map[string]*fleet.SlotState{},
		minutes: shared.traffic.slots, waiting: shared.traffic.waiting, events: bySubject(shared.Events), refusals: bySlotOrModel(shared.Refusals),
	}
	for i := range f.Slots {
		v.slots[f.Slots[i].Name] = &f.Slots[i]
	}
	for i, name := range slots {
		if known := v.slots[name]; known != nil {
			snapshot.Slots[i] = recordHealth(known, f.At)
		}
	}
	for i := range pools {
		s.Pools = append(s.Pools, v.pool(&pools[i]))
	}
	s.Headline = headline(s)
	return s
}

// recordHealth is the health of a slot as its record has it.
func recordHealth(s *fleet.SlotState, at time.Time) health.Health {
	r := &s.Record
	h := health.Health{Drained: r.Override.Drained, Reason: r.LastChange.Reason, TrafficPercent: s.Share}
	if until, kind, maxTokens := r.Windows.Combined(at.UnixMilli()); until > 0 {
		h.Throttle = health.Throttle{Until: time.UnixMilli(until), Kind: kind, MaxTokens: maxTokens}
	}
	if r.Circuit.State != health.Closed {
		h.State, h.Until, h.Evidence = r.Circuit.State, time.UnixMilli(r.Circuit.Until), r.LastChange.Evidence
	}
	return h
}

// Reason is why the backend does not serve as usual; "" = it does, or gets no requests.
func (b *BackendStatus) Reason() string {
	if b.State == Available || b.State == Unused {
		return ""
	}
	return b.reason()
}
