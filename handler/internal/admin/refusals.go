package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/tablestore"
)

// Refusal is an operation that a backend refuses although others serve it, or that
// every backend of a model refuses for the gateway's credential or its deployment.
// It binds the instances that it names, each of which found it out by itself. So does
// an own circuit, by which all requests of an instance go elsewhere.
type Refusal struct {
	Slot       string    `json:"slot,omitempty"`       // "backend/model"; "" = every backend of Model
	Model      string    `json:"model,omitempty"`      // with Slot "" only
	Operation  string    `json:"operation,omitempty"`  // "" = all: the instance's own circuit is open
	APIVersion string    `json:"apiVersion,omitempty"` // the caller's text; "" = the requests name none
	Consumer   string    `json:"consumer,omitempty"`   // whose requests are refused; "" = all
	Reason     string    `json:"reason"`
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"` // the backend is not used for it before
	Instances  []string  `json:"instances,omitempty"`
}

// String says what the backend does: "refuses chat (401)".
func (r *Refusal) String() string {
	text := "refuses " + r.Operation
	if r.Operation == "" {
		text = "open on " + nameSome(r.Instances) + " alone"
	}
	if r.APIVersion != "" {
		text += fmt.Sprintf(" with api-version %q", r.APIVersion)
	}
	if r.Consumer != "" {
		text += " of " + r.Consumer
	}
	return text + " (" + r.Reason + ")"
}

// compare orders by subject and text, and is 0 for what several instances found.
func (r *Refusal) compare(o *Refusal) int {
	return cmp.Or(cmp.Compare(r.subject(), o.subject()), cmp.Compare(r.Operation, o.Operation), cmp.Compare(r.APIVersion, o.APIVersion),
		cmp.Compare(r.Consumer, o.Consumer), cmp.Compare(r.Reason, o.Reason))
}

// subject is the slot or, of every backend of a model, the model.
func (r *Refusal) subject() string { return cmp.Or(r.Slot, r.Model) }

// RefusalText names the first few of them.
func RefusalText(all []Refusal) string {
	var names []string
	for i := range all {
		names = append(names, all[i].String())
	}
	return nameSome(names)
}

// maxRefusals bounds what an instance shares: API versions are text of callers.
const maxRefusals = 100

// ownRefusals is what this instance found to be refused, in order.
func (o *Handler) ownRefusals(now time.Time) []Refusal {
	all := o.ownCircuits(now)
	if o.cfg.Refusals == nil {
		return all
	}
	for _, c := range o.cfg.Refusals(now) {
		r := Refusal{
			Model: c.Model, Operation: c.Operation, APIVersion: c.APIVersion, Consumer: c.Consumer, Reason: c.Reason,
			Since: c.Since.UTC(), Until: c.Until.UTC(), Instances: []string{o.cfg.Instance},
		}
		if c.Model == "" {
			r.Slot = slotName(o.served.Load().Slots, c.Slot)
		}
		all = append(all, r)
	}
	all = mergeRefusals(all)
	return all[:min(len(all), maxRefusals)]
}

// ownCircuits are the circuits that bind this instance alone.
func (o *Handler) ownCircuits(now time.Time) (all []Refusal) {
	snapshot := o.cfg.Replica.PeekSnapshot()
	for i := range snapshot.Slots {
		h := &snapshot.Slots[i]
		if !h.Own || h.State == health.Closed {
			continue
		}
		since := h.FailedAt
		if since.IsZero() {
			since = now
		}
		all = append(all, Refusal{Slot: slotName(o.served.Load().Slots, health.Slot(i)), Reason: h.Reason, Since: since.UTC(), Until: h.Until.UTC(), Instances: []string{o.cfg.Instance}})
	}
	return all
}

// mergeRefusals joins what several instances found, ordered by subject.
func mergeRefusals(all []Refusal) []Refusal {
	slices.SortFunc(all, func(a, b Refusal) int {
		return cmp.Or(a.compare(&b), a.Since.Compare(b.Since))
	})
	var merged []Refusal
	for _, r := range all {
		if n := len(merged); n > 0 && merged[n-1].compare(&r) == 0 {
			last := &merged[n-1]
			last.Instances = slices.Concat(last.Instances, r.Instances)
			if r.Until.After(last.Until) {
				last.Until = r.Until
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// refusals is what the instances find to be refused, by subject.
func (o *Handler) refusals(now time.Time) map[string][]Refusal {
	return bySlotOrModel(mergeRefusals(append(o.ownRefusals(now), o.others.Load().shared(now).Refusals...)))
}

func bySlotOrModel(all []Refusal) map[string][]Refusal {
	by := map[string][]Refusal{}
	for i := range all {
		by[all[i].subject()] = append(by[all[i].subject()], all[i])
	}
	return by
}

// Shared is what the instances share of what they see by themselves, besides the
// health of the backends.
type Shared struct {
	Refusals   []Refusal
	Conditions []ConditionStatus // those that are not ok
	Events     []Event           // of the last twelve hours, the latest last

	traffic minutes
}

// ReadShared reads it from the table of the traffic.
func ReadShared(ctx context.Context, store tablestore.Store, now time.Time) (Shared, error) {
	rows, _, err := store.List(ctx, trafficPartition, "", "")
	if err != nil {
		return Shared{}, fmt.Errorf("list traffic: %w", err)
	}
	return newOthers(decodeAll(rows, "")).shared(now), nil
}

// shared is what instances share that have written lately.
func (o *others) shared(now time.Time) Shared {
	s := Shared{Events: o.events, traffic: newMinutes()}
	for _, t := range o.current(now) {
		s.traffic.add(t)
		s.Conditions = append(s.Conditions, t.Conditions...)
		for _, r := range t.Refusals {
			r.Instances = []string{t.Instance}
			s.Refusals = append(s.Refusals, r)
		}
	}
	s.Refusals = mergeRefusals(s.Refusals)
	return s
}

// addRefusals makes a backend that takes requests one that refuses some of them.
func (v *statusBuilder) addRefusals(s *BackendStatus) {
	s.Refuses = v.refusals[s.Slot]
	if len(s.Refuses) == 0 || !s.State.acceptsRequests() {
		return
	}
	s.State, s.Label, s.Why = Refusing, RefusalText(s.Refuses), ""
	s.Detail = "found by " + nameSome(s.Refuses[0].Instances)
	if left := s.Refuses[0].Until.Sub(v.now); left > 0 {
		s.LeftMS = left.Milliseconds()
	}
}

// addRefusals makes a pool whose backends all refuse an operation one that is down
// or, where most requests of the last minute were served, one with a backend out.
func (s *PoolStatus) addRefusals(all []Refusal) {
	if s.Refuses = all; len(all) == 0 {
		return
	}
	text := "every backend " + RefusalText(all)
	if s.State != Healthy {
		text += "; " + s.Summary
	}
	s.Summary, s.Since = text, &all[0].Since
	switch {
	case s.Minute.Served <= s.Minute.Failed:
		s.State = Down
	case s.State == Healthy:
		s.State = Reduced
	}
}

// OperationRefused records that a backend refuses an operation that others serve.
func (r *Recent) OperationRefused(c *proxy.OpenedOperation) {
	what := Refusal{Operation: c.Operation, APIVersion: c.APIVersion, Consumer: c.Consumer, Reason: c.Reason}
	r.addEvent(c.Slot, Event{At: r.now(), By: r.instance, Times: 1, Kind: OperationRefused, Text: what.String()})
}
