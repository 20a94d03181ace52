package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is a rule: which requests it matches, and what happens to them. A zero
// condition matches. Rules are tried in the order they were set; delays add up,
// and the first other rule that matches is applied.
type Fault struct {
	// ID is set by the service; ClearFault takes it.
	ID string `json:"id,omitempty"`

	Deployment string `json:"deployment,omitempty"`
	Operation  string `json:"operation,omitempty"` // e.g. "chat/completions"
	Stream     *bool  `json:"stream,omitempty"`

	// Of the matching requests: only the Nth (from 1), each Every-th, with this
	// Probability (0 and 1 are always), at most Count of them (0 is no limit).
	Nth         int     `json:"nth,omitempty"`
	Every       int     `json:"every,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	Count       int     `json:"count,omitempty"`

	// The rule is active from After on, for For (0 is without end), counted from when
	// it was set; with Up and Down it flaps: active for Down, inactive for Up.
	After time.Duration `json:"after,omitempty"`
	For   time.Duration `json:"for,omitempty"`
	Up    time.Duration `json:"up,omitempty"`
	Down  time.Duration `json:"down,omitempty"`

	// Action is the short name of what happens (see Actions).
	Action string `json:"action"`

	// Status, Body, ContentType and Header are those of action "status"; Header
	// is added by every action that answers, "headers" included.
	Status      int               `json:"status,omitempty"`
	Body        string            `json:"body,omitempty"`
	ContentType string            `json:"contentType,omitempty"`
	Header      map[string]string `json:"header,omitempty"`

	// RetryAfter is sent in the form of Retry; 0 sends what is left of For, and
	// without that a minute. RetryRaw replaces the value of retry-after by
	// itself, one header line per element.
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
	Retry      RetryForm     `json:"retry,omitempty"`
	RetryRaw   []string      `json:"retryRaw,omitempty"`
	DateSkew   time.Duration `json:"dateSkew,omitempty"` // added to the response's Date

	// Chunks is how many content events are sent before a stream fault is applied.
	Chunks int `json:"chunks,omitempty"`

	// Latency is added and Factor multiplies, by action "slow". Hold ends a hang
	// (0 holds until the client leaves), and is the silence ahead of any other
	// fault of a stream; Pause is the time between the bytes or chunks of a drip.
	Latency time.Duration `json:"latency,omitempty"`
	Factor  float64       `json:"factor,omitempty"`
	Hold    time.Duration `json:"hold,omitempty"`
	Pause   time.Duration `json:"pause,omitempty"`

	// Order, Flat, Uncoded and BigCreated vary action "stream-429" and the other
	// errors in streams: "error-failed" (the default), "failed-error",
	// "created-error-failed"; or behind events that carry nothing of the answer:
	// "keepalive-error", "unknown-error", "role-error".
	Order      string `json:"order,omitempty"`
	Flat       bool   `json:"flat,omitempty"`
	Uncoded    bool   `json:"uncoded,omitempty"`
	BigCreated bool   `json:"bigCreated,omitempty"`
}

// validate reports what is wrong with a rule.
func (f Fault) validate() error {
	if _, ok := actions[f.Action]; !ok {
		return fmt.Errorf("%w: fault action %q is unknown; the known ones are %v", ErrConfig, f.Action, Actions())
	}
	if f.Action == "status" && (f.Status < 200 || f.Status > 599) {
		return fmt.Errorf("%w: fault status %d: set one between 200 and 599", ErrConfig, f.Status)
	}
	if f.Probability < 0 || f.Probability > 1 {
		return fmt.Errorf("%w: fault probability %v is not within 0 and 1", ErrConfig, f.Probability)
	}
	if !slices.Contains(retryForms, f.Retry) {
		return fmt.Errorf("%w: fault retry %q is none of %v", ErrConfig, f.Retry, retryForms)
	}
	return nil
}

// faultRules holds the rules of all resources and the scripts of Next.
type faultRules struct {
	mu     sync.Mutex
	rand   *rand.Rand
	next   int
	rules  map[string][]*rule
	script map[string][]Fault
}

type rule struct {
	Fault
	set     time.Time
	matched int
	applied int
}

func newFaultRules(seed uint64) *faultRules {
	return &faultRules{
		rand:  rand.New(rand.NewPCG(seed, 0xfa17)),
		rules: map[string][]*rule{}, script: map[string][]Fault{},
	}
}

func (b *faultRules) add(resource string, f Fault, now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	f.ID = "fault-" + strconv.Itoa(b.next)
	b.rules[resource] = append(b.rules[resource], &rule{Fault: f, set: now})
	return f.ID
}

func (b *faultRules) queue(resource string, faults []Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script[resource] = append(b.script[resource], faults...)
}

// clear removes all rules of a resource, of all resources when it is "".
func (b *faultRules) clear(resource string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if resource == "" {
		clear(b.rules)
		clear(b.script)
		return
	}
	delete(b.rules, resource)
	delete(b.script, resource)
}

// remove removes one rule and reports whether it existed.
func (b *faultRules) remove(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, rules := range b.rules {
		for i, r := range rules {
			if r.ID == id {
				b.rules[name] = slices.Delete(rules, i, i+1)
				return true
			}
		}
	}
	return false
}

func (b *faultRules) list(resource string) []Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []Fault{}
	for _, r := range b.rules[resource] {
		out = append(out, r.Fault)
	}
	return out
}

// match finds the faults of a request: all delays, and the first other one.
// Upload faults are matched separately, because they apply before the body, and
// with it the model, is known.
func (b *faultRules) match(resource string, q faultTarget, upload bool) (hit []Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if script := b.script[resource]; len(script) > 0 && script[0].matches(q) && script[0].isUpload() == upload {
		b.script[resource] = script[1:]
		hit = append(hit, script[0])
		if actions[script[0].Action] != actionDelays {
			return hit
		}
	}
	for _, r := range b.rules[resource] {
		if r.isUpload() != upload || !r.apply(q, b.rand) {
			continue
		}
		hit = append(hit, r.at(q.now))
		if actions[r.Action] != actionDelays {
			return hit
		}
	}
	return hit
}

// at is the fault with the wait that is left at now.
func (r *rule) at(now time.Time) Fault {
	f := r.Fault
	if f.RetryAfter == 0 && f.For > 0 {
		f.RetryAfter = f.For - (now.Sub(r.set) - f.After)
	}
	return f
}

func (f *Fault) isUpload() bool { return actions[f.Action] == actionDelaysUpload }

// faultTarget is the part of a request that rules match on.
type faultTarget struct {
	deployment string
	operation  string
	stream     bool
	options    bool // it has stream_options
	bound      bool // it has max_completion_tokens
	now        time.Time
}

// matches reports whether the rule's conditions fit the request.
func (f *Fault) matches(q faultTarget) bool {
	if f.Deployment != "" && f.Deployment != q.deployment {
		return false
	}
	if f.Operation != "" && f.Operation != q.operation {
		return false
	}
	if f.Stream != nil && *f.Stream != q.stream {
		return false
	}
	if strings.HasPrefix(f.Action, "no-stream-options") && !q.options || strings.HasPrefix(f.Action, "no-max-completion-tokens") && !q.bound {
		return false
	}
	return q.stream || actions[f.Action] != actionBreaksStream
}

// apply counts a request and reports whether the rule applies to it.
func (r *rule) apply(q faultTarget, rng *rand.Rand) bool {
	if !r.matches(q) || !r.active(q.now.Sub(r.set)) {
		return false
	}
	if r.Count > 0 && r.applied >= r.Count {
		return false
	}
	r.matched++
	if r.Nth > 0 && r.matched != r.Nth {
		return false
	}
	if r.Every > 0 && r.matched%r.Every != 0 {
		return false
	}
	if r.Probability > 0 && r.Probability < 1 && rng.Float64() >= r.Probability {
		return false
	}
	r.applied++
	return true
}

// active reports whether the rule is active at its age.
func (f *Fault) active(age time.Duration) bool {
	age -= f.After
	if age < 0 || (f.For > 0 && age >= f.For) {
		return false
	}
	if f.Up <= 0 || f.Down <= 0 {
		return true
	}
	return age%(f.Up+f.Down) < f.Down
}

// Fault sets a rule on a resource and returns its id. It panics on an unknown
// action or resource.
func (s *Service) Fault(resource string, f Fault) string {
	s.mustFind(resource)
	if err := f.validate(); err != nil {
		panic("simulator: " + err.Error())
	}
	return s.faults.add(resource, f, s.cfg.Now())
}

// Next scripts the next requests of a resource: each takes the first fault of the
// script if that matches, once. Action "ok" serves the request.
func (s *Service) Next(resource string, faults ...Fault) {
	s.mustFind(resource)
	for _, f := range faults {
		if err := f.validate(); err != nil {
			panic("simulator: " + err.Error())
		}
	}
	s.faults.queue(resource, faults)
}

// Clear removes all rules and scripts of a resource, of all when it is "".
func (s *Service) Clear(resource string) { s.faults.clear(resource) }

// ClearFault removes the rule with this id and reports whether it existed.
func (s *Service) ClearFault(id string) bool { return s.faults.remove(id) }

// Faults are the rules set on a resource, in the order they are tried.
func (s *Service) Faults(resource string) []Fault { return s.faults.list(resource) }

func (s *Service) mustFind(resource string) *resource {
	res := s.resources[resource]
	if res == nil {
		panic("simulator: no resource " + quote(resource) + "; configured are " + quoteAll(s.order))
	}
	return res
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, ", ")
}
