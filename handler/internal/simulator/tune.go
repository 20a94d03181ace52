package simulator

import (
	"fmt"
	"time"
)

// SetDeployment changes a deployment while it serves, for instance its limits:
// the effective limit lowered for hours, or a PTU scaled. Requests under way
// keep what they began with. Counters and the bucket's level stay.
func (s *Service) SetDeployment(resource, name string, change func(*Deployment)) error {
	res := s.resources[resource]
	if res == nil || res.deployments[name] == nil {
		return fmt.Errorf("%w: resource %q has no deployment %q", ErrConfig, resource, name)
	}
	d := res.deployments[name]
	d.mu.Lock()
	defer d.mu.Unlock()
	spec := *d.spec.Load()
	change(&spec)
	if err := spec.validate(); err != nil {
		return fmt.Errorf("%w: change deployment %q: %w", ErrConfig, name, err)
	}
	spec.Name = d.original.Name
	d.bucket.drain(s.cfg.Now())
	d.bucket.resize(spec)
	d.spec.Store(&spec)
	return nil
}

// Throttle makes a resource answer 429 for a while (0: until Clear), hinting
// what is left of it: a provisioned deployment in its words, others in theirs.
func (s *Service) Throttle(resource string, d time.Duration) string {
	return s.Fault(resource, Fault{Action: "429", For: d})
}

// BrownOut makes a resource ten times slower and lets three of ten requests
// fail with 503, for a while (0: until Clear).
func (s *Service) BrownOut(resource string, d time.Duration) {
	s.Fault(resource, Fault{Action: "slow", Factor: 10, For: d})
	s.Fault(resource, Fault{Action: "503", Probability: 0.3, For: d})
}

// PTU reports how a provisioned deployment was used since it was made or reset.
// An unknown one is a bug of the caller and panics.
func (s *Service) PTU(resource, deployment string) PTUReport {
	d := s.mustFind(resource).deployments[deployment]
	if d == nil {
		panic("aoaitest: resource " + quote(resource) + " has no deployment " + quote(deployment))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bucket.reportAt(s.cfg.Now())
}
