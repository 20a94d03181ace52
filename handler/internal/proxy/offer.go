package proxy

import (
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// NotDeployed is the Why of an attempt at a backend that has no deployment of
// the model.
const NotDeployed = "deployment not found"

// excuseMissingDeployment is the outcome of an attempt at a backend to which any name is
// passed on: that it does not have every model is nothing wrong with it, and
// says nothing of the models that it has.
func excuseMissingDeployment(b *balancer.Backend, o health.Outcome) health.Outcome {
	if b.Deployment == "" && o.Verdict == health.Misconfigured {
		switch o.Why {
		case NotDeployed, "in-stream misconfigured", "in-body misconfigured":
			o.Verdict, o.Why = health.Abandoned, NotDeployed
		}
	}
	return o
}

// notDeployed reports whether every backend that was asked lacks the model.
func (r *run) notDeployed() bool {
	for i := range r.result.Attempts {
		if o := &r.result.Attempts[i].Outcome; o.Verdict != health.Abandoned || o.Why != NotDeployed {
			return false
		}
	}
	return len(r.result.Attempts) > 0 && !r.exhaustion.throttled
}
