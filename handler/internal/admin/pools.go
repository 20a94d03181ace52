package admin

import (
	"fmt"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
)

// PoolStatus is the backends of one model.
type PoolStatus struct {
	Model     string        `json:"model"`
	Aliases   []string      `json:"aliases,omitempty"`
	Strategy  string        `json:"strategy"`
	Fallbacks []string      `json:"fallbacks,omitempty"`
	State     PoolState     `json:"standing"`
	Summary   string        `json:"sentence"`         // about the state
	Since     *time.Time    `json:"since,omitempty"`  // the state has lasted; absent when it is healthy or not known
	LeftMS    int64         `json:"leftMs,omitempty"` // throttled: until a backend takes requests again
	Backends  int           `json:"backends"`
	Serving   int           `json:"serving"`           // of them
	Refuses   []Refusal     `json:"refuses,omitempty"` // what every backend refuses
	Groups    []GroupStatus `json:"groups"`            // by ascending priority

	Waiting      *WaitingStatus   `json:"waiting,omitempty"` // absent when none waits and none was answered lately
	Minute       MinuteStatus     `json:"lastMinute"`
	SpillPercent float64          `json:"spillPercent"` // of the responses in the last minute, by other than the first priority
	FirstToken   FirstTokenStatus `json:"firstToken"`
}

// GroupStatus is the backends of one priority.
type GroupStatus struct {
	Priority int             `json:"priority"`
	Backends []BackendStatus `json:"backends"`
}

// BackendStatus is one backend of one model.
type BackendStatus struct {
	Name        string `json:"name"`
	Slot        string `json:"slot"` // "backend/model", what drain, restore and reset take
	Deployment  string `json:"deployment,omitempty"`
	Region      string `json:"region,omitempty"`
	Geography   string `json:"geography,omitempty"`
	Priority    int    `json:"priority"`
	Weight      int    `json:"weight"`
	Provisioned bool   `json:"provisioned,omitempty"`

	State     BackendState     `json:"condition"`
	Label     string           `json:"words"`                // the state for people, without its countdown
	Detail    string           `json:"detail,omitempty"`     // explains the state
	LeftMS    int64            `json:"leftMs,omitempty"`     // until it may change by itself; 0 = unknown
	Phase     string           `json:"phase"`                // of the circuit that binds this instance
	Own       bool             `json:"own,omitempty"`        // that circuit binds this instance alone
	Fleet     string           `json:"fleetPhase,omitempty"` // of the fleet's circuit, where that differs from phase
	Refuses   []Refusal        `json:"refuses,omitempty"`    // operations that others serve
	Suspected *SuspicionStatus `json:"suspected,omitempty"`
	Throttle  *ThrottleStatus  `json:"throttle,omitempty"`
	Share     uint8            `json:"sharePercent"` // of its normal traffic
	Drained   *DrainStatus     `json:"drained,omitempty"`
	Since     *time.Time       `json:"since,omitempty"` // it has been tripped, throttled or drained
	Why       string           `json:"why,omitempty"`   // what last changed it
	ChangedAt *time.Time       `json:"changedAt,omitempty"`
	ChangedBy string           `json:"changedBy,omitempty"`

	InFlight    int64            `json:"inFlight"`
	Minute      MinuteStatus     `json:"lastMinute"`
	FirstToken  FirstTokenStatus `json:"firstToken"`
	Utilization *float64         `json:"utilizationPercent,omitempty"` // as the backend reported within the last minute
}

// ThrottleStatus is the throttle window of a backend.
type ThrottleStatus struct {
	Kind         string `json:"kind"`
	LeftMS       int64  `json:"leftMs"`
	AdmitsTokens int64  `json:"roomTokens,omitempty"` // smaller requests are still sent
}

// SuspicionStatus is instances that see nothing but failures, too few for any of
// them to open the circuit.
type SuspicionStatus struct {
	Instances int `json:"instances"`
	Failures  int `json:"failures"`
}

// DrainStatus is an operator's drain.
type DrainStatus struct {
	By string     `json:"by,omitempty"` // "" until the table was read
	At *time.Time `json:"at,omitempty"`
}

// MinuteStatus is traffic in the last minute.
type MinuteStatus struct {
	Requests  int64 `json:"requests"` // of a backend: attempts
	Served    int64 `json:"served"`
	Throttled int64 `json:"throttled"`
	Failed    int64 `json:"failed"`
	Silent    int64 `json:"silent,omitempty"` // of a backend: no content for three times as long as usual
	Hedges    int64 `json:"hedges,omitempty"` // of a backend: second attempts because another one was silent
	Tokens    int64 `json:"tokens"`
}

// FirstTokenStatus is the time to the first token in the last minute.
type FirstTokenStatus struct {
	Samples uint64  `json:"samples"`
	P50MS   float64 `json:"p50Ms"`
	P95MS   float64 `json:"p95Ms"`
}

func firstTokenStatus(h *histogram) FirstTokenStatus {
	return FirstTokenStatus{Samples: h.total(), P50MS: h.quantile(0.5), P95MS: h.quantile(0.95)}
}

func minuteStatus(c counts) MinuteStatus {
	return MinuteStatus{Requests: c.Attempts, Served: c.Served, Throttled: c.Throttled, Failed: c.Failed, Silent: c.Silent, Hedges: c.Hedges, Tokens: c.Tokens}
}

// statusBuilder builds the status for one instant.
type statusBuilder struct {
	cfg         *Config
	now         time.Time
	snapshot    *health.Snapshot
	unreachable bool                        // the table: the snapshot does not follow it
	slots       map[string]*fleet.SlotState // in the table, by slot name
	tableTime   time.Time                   // now, by the table's clock
	minutes     map[string]sharedMinute     // by slot name
	waiting     map[string]*WaitingStatus   // by model
	events      map[string][]Event          // by slot name, the latest last
	refusals    map[string][]Refusal        // by slot name or model
}

func (v *statusBuilder) pool(p *balancer.Pool) PoolStatus {
	s := PoolStatus{Model: p.Model, Aliases: p.Aliases, Strategy: strategyName(p.Strategy), Fallbacks: p.Fallbacks, Groups: []GroupStatus{}}
	var first histogram
	var spilled int64
	for _, b := range byPriority(p.Backends) {
		if n := len(s.Groups); n == 0 || s.Groups[n-1].Priority != b.Priority {
			s.Groups = append(s.Groups, GroupStatus{Priority: b.Priority})
		}
		g := &s.Groups[len(s.Groups)-1]
		one := v.backend(b)
		g.Backends = append(g.Backends, one)
		s.Minute.add(&one.Minute)
		first.addSparse(v.minutes[one.Slot].First)
		if b.Priority > firstPriority(p) {
			spilled += one.Minute.Served
		}
		s.Backends++
		if one.takesRequests() {
			s.Serving++
		}
	}
	if s.Minute.Served > 0 {
		s.SpillPercent = 100 * float64(spilled) / float64(s.Minute.Served)
	}
	s.FirstToken = firstTokenStatus(&first)
	s.Waiting = v.waiting[s.Model]
	summarizePool(&s)
	s.addRefusals(v.refusals[s.Model])
	v.judgeTraffic(&s)
	return s
}

func (m *MinuteStatus) add(o *MinuteStatus) {
	m.Requests += o.Requests
	m.Served += o.Served
	m.Throttled += o.Throttled
	m.Failed += o.Failed
	m.Silent += o.Silent
	m.Hedges += o.Hedges
	m.Tokens += o.Tokens
}

func (v *statusBuilder) backend(b *balancer.Backend) BackendStatus {
	h := v.snapshot.Of(b.Slot)
	s := BackendStatus{
		Name: b.Name, Slot: slotName(v.cfg.Slots, b.Slot), Deployment: b.Deployment, Region: b.Region, Geography: b.Geography,
		Priority: b.Priority, Weight: b.Weight, Provisioned: b.Provisioned, Phase: h.StateAt(v.now).String(), Own: h.Own, Share: 100, Why: h.Reason,
	}
	if h.TrafficPercent > 0 {
		s.Share = h.TrafficPercent
	}
	if left := h.Throttle.Until.Sub(v.now); left > 0 {
		s.Throttle = &ThrottleStatus{Kind: h.Throttle.Kind.String(), LeftMS: left.Milliseconds(), AdmitsTokens: h.Throttle.MaxTokens}
	}
	s.State = backendState(b, h, v.now)
	s.Label, s.Detail = s.State.label(h), s.State.detail(h, v.now)
	v.addCircuit(&s, h)
	if until := s.State.until(h); until.After(v.now) {
		s.LeftMS = until.Sub(v.now).Milliseconds()
	}
	v.addRecord(&s, h)
	v.addRefusals(&s)
	s.Since = v.since(&s)
	v.addTraffic(&s)
	return s
}

// since is since when the backend has been in a state that is not its usual one,
// as far as it is known.
func (v *statusBuilder) since(s *BackendStatus) *time.Time {
	var at time.Time
	switch s.State {
	case Available, Unused:
		return nil
	case Drained:
		return s.Drained.At
	case Refusing:
		return &s.Refuses[0].Since
	case Open, HalfOpen:
		at = troubleSince(v.events[s.Slot], Tripped)
	case Throttled, Partial:
		at = troubleSince(v.events[s.Slot], ThrottleBegan)
	}
	if at.IsZero() {
		return s.ChangedAt
	}
	at = at.UTC()
	return &at
}

// addCircuit adds what the fleet holds against the backend.
func (v *statusBuilder) addCircuit(s *BackendStatus, h *health.Health) {
	slot := v.slots[s.Slot]
	if slot == nil {
		return
	}
	c := &slot.Record.Circuit
	if phase := v.fleetPhase(h, c.State).String(); phase != s.Phase {
		s.Fleet = phase
	}
	if n := len(c.Suspicions); n > 0 {
		s.Suspected = &SuspicionStatus{Instances: n}
		for _, one := range c.Suspicions {
			s.Suspected.Failures += one.Failures
		}
	}
	if s.Detail == "" {
		s.Detail = fleetDetail(s)
	}
}

// fleetPhase is the state of the fleet's circuit. The snapshot is newer than the last
// read of the table, which is asked only where the snapshot does not tell.
func (v *statusBuilder) fleetPhase(h *health.Health, read health.CircuitState) health.CircuitState {
	switch {
	case v.unreachable:
		return read
	case h.Own, h.State == health.Closed && h.Until.IsZero():
		return health.Closed
	case h.State != health.Closed:
		return h.StateAt(v.now)
	}
	return max(read, health.Open) // this instance is being served all the same
}

// fleetDetail explains what the fleet holds against a backend that this instance
// uses; "" = nothing.
func fleetDetail(s *BackendStatus) string {
	switch {
	case !s.State.acceptsRequests():
	case s.Fleet == health.Open.String(), s.Fleet == health.HalfOpen.String():
		return "the fleet's circuit is " + s.Fleet + ", but this instance is being served"
	case s.Suspected != nil:
		return fmt.Sprintf("suspected: %d failures seen by %d instances", s.Suspected.Failures, s.Suspected.Instances)
	}
	return ""
}

// addRecord adds what only the table holds: who changed the backend, and when.
func (v *statusBuilder) addRecord(s *BackendStatus, h *health.Health) {
	if h.Drained {
		s.Drained = &DrainStatus{}
	}
	slot := v.slots[s.Slot]
	if slot == nil {
		return
	}
	if override := &slot.Record.Override; h.Drained && override.Drained {
		s.Drained.By, s.Drained.At = override.Operator, v.localTime(override.At)
	}
	s.ChangedAt, s.ChangedBy = v.localTime(slot.Record.LastChange.At), slot.Record.LastChange.By
}

// localTime converts an instant of the table's clock to this machine's.
func (v *statusBuilder) localTime(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	at := v.now.Add(time.UnixMilli(ms).Sub(v.tableTime)).UTC()
	return &at
}

func (v *statusBuilder) addTraffic(s *BackendStatus) {
	m := v.minutes[s.Slot]
	var h histogram
	h.addSparse(m.First)
	s.InFlight, s.Minute, s.FirstToken, s.Utilization = m.InFlight, minuteStatus(m.Counts), firstTokenStatus(&h), m.Utilization
}

func slotName(names []string, slot health.Slot) string {
	if slot < 0 || int(slot) >= len(names) {
		return ""
	}
	return names[slot]
}
