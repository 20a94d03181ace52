package admin

import (
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
)

// The last hours are kept in steps.
const (
	stepLength = 5 * time.Minute
	stepCount  = 72
)

// step is the traffic of one model in one step.
type step struct {
	Number   int64   `json:"n"` // since the epoch
	Requests int64   `json:"r,omitempty"`
	Served   int64   `json:"s,omitempty"`
	Spilled  int64   `json:"o,omitempty"` // of the served: not by the first priority
	Failed   int64   `json:"f,omitempty"` // answered with 429 or 5xx, or with what every backend refuses
	Tokens   int64   `json:"t,omitempty"`
	Cost     float64 `json:"c,omitempty"`
	First    sparse  `json:"h,omitempty"` // times to the first token

	counts histogram // of a step that is being counted, in place of First
}

func (s *step) add(o *step) {
	s.Requests += o.Requests
	s.Served += o.Served
	s.Spilled += o.Spilled
	s.Failed += o.Failed
	s.Tokens += o.Tokens
	s.Cost += o.Cost
	s.counts.addSparse(o.First)
	for i, n := range o.counts {
		s.counts[i] += n
	}
}

// series is the last hours of one model.
type series struct {
	Currency string `json:"y,omitempty"`
	Steps    []step `json:"s"` // those with traffic, oldest first
}

// history is this instance's traffic of the last hours, by model. The zero
// history is empty. It is safe for concurrent use.
type history struct {
	mu     sync.Mutex
	models map[string]*modelHistory
}

type modelHistory struct {
	currency string
	steps    [stepCount]step
}

// count adds a finished request to its step.
func (h *history) count(x *api.RequestRecord, c counts) {
	if x.Model == "" {
		return
	}
	s := stepOf(x, c)
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.models[x.Model]
	if m == nil {
		m = new(modelHistory)
		if h.models == nil {
			h.models = map[string]*modelHistory{}
		}
		h.models[x.Model] = m
	}
	for i := range x.Charges {
		m.currency = x.Charges[i].Pool.Price.Currency
	}
	into := &m.steps[s.Number%stepCount]
	if into.Number != s.Number {
		*into = step{Number: s.Number}
	}
	into.add(&s)
}

// stepOf is a step with this request alone.
func stepOf(x *api.RequestRecord, c counts) step {
	end := x.Start.Add(x.Duration)
	s := step{Number: end.UnixNano() / int64(stepLength), Requests: 1, Served: c.Served, Tokens: c.Tokens, Failed: boolToInt(failed(x))}
	for i := range x.Charges {
		if c := &x.Charges[i]; !c.Correction {
			s.Cost += c.Cost
		}
	}
	if r := x.Result; r != nil && r.Served() && r.Pool != nil {
		s.Spilled = boolToInt(r.ServedBy.Priority > firstPriority(r.Pool))
		if at := r.Delivery.FirstToken; !at.IsZero() {
			s.counts[bucketOf(max(at.Sub(x.Start), 0))]++
		}
	}
	return s
}

// failed reports whether the caller did not get what it asked for, through no fault
// of its own.
func failed(x *api.RequestRecord) bool {
	return x.Status == http.StatusTooManyRequests || x.Status >= http.StatusInternalServerError || x.Result != nil && x.Result.OurFault()
}

// firstPriority is the lowest number of a backend that gets traffic.
func firstPriority(p *balancer.Pool) int {
	first := 0
	for i := range p.Backends {
		if b := &p.Backends[i]; b.Weight > 0 && (first == 0 || b.Priority < first) {
			first = b.Priority
		}
	}
	return first
}

// snapshot is the steps with traffic, by model.
func (h *history) snapshot(now time.Time) map[string]series {
	oldest := now.UnixNano()/int64(stepLength) - stepCount
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]series{}
	for model, m := range h.models {
		s := series{Currency: m.currency}
		for n := oldest + 1; n <= oldest+stepCount; n++ {
			if one := m.steps[n%stepCount]; one.Number == n {
				one.First, one.counts = one.counts.sparse(), histogram{}
				s.Steps = append(s.Steps, one)
			}
		}
		if len(s.Steps) > 0 {
			all[model] = s
		}
	}
	return all
}
