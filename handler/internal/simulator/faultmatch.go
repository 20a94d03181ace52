package simulator

import (
	"math/rand/v2"
	"time"
)

// faultTarget is what of a request a rule looks at.
type faultTarget struct {
	deployment string
	operation  string
	stream     bool
	now        time.Time
}

// matches tells whether the rule is about such a request at all.
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
	return q.stream || actions[f.Action] != actionBreaksStream
}

// apply counts a request and tells whether the rule strikes it.
func (r *rule) apply(q faultTarget, chance *rand.Rand) bool {
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
	if r.Probability > 0 && r.Probability < 1 && chance.Float64() >= r.Probability {
		return false
	}
	r.applied++
	return true
}

// active judges the rule's window and flapping by its age.
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

// Fault sets a rule on a resource and returns its id. An unknown action or
// resource is a bug of the caller and panics with a sentence that says so.
func (s *Service) Fault(resource string, f Fault) string {
	s.mustFind(resource)
	if err := f.validate(); err != nil {
		panic("aoaitest: " + err.Error())
	}
	return s.faults.add(resource, f, s.cfg.Now())
}

// Next scripts the coming requests of a resource: each takes the first fault
// of the script if that fits, once. Action "ok" serves.
func (s *Service) Next(resource string, faults ...Fault) {
	s.mustFind(resource)
	for _, f := range faults {
		if err := f.validate(); err != nil {
			panic("aoaitest: " + err.Error())
		}
	}
	s.faults.queue(resource, faults)
}

// Clear removes all rules and scripts of a resource, of all when it is "".
func (s *Service) Clear(resource string) { s.faults.clear(resource) }

// ClearFault removes the rule with this id and tells whether there was one.
func (s *Service) ClearFault(id string) bool { return s.faults.remove(id) }

// Faults are the rules set on a resource, in the order they are tried.
func (s *Service) Faults(resource string) []Fault { return s.faults.list(resource) }

func (s *Service) mustFind(resource string) *resource {
	res := s.resources[resource]
	if res == nil {
		panic("aoaitest: no resource " + quote(resource) + "; configured are " + quoteAll(s.order))
	}
	return res
}
