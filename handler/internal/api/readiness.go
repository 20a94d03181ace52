package api

import (
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// PoolReadiness is ready when some model has an available backend.
type PoolReadiness struct {
	Pools    []balancer.Pool
	Snapshot func() *health.Snapshot // what is known; asking has no effect
	Look     func() *health.Snapshot // the same, and keeps it fresh as a request does
	Now      func() time.Time
}

// Ready looks at one model, or at all of them when it is "". Polls of an
// instance that is ready are no traffic: a fleet that only they reach leaves
// the table alone. Who is not ready gets no other requests either, and would
// never hear that an operator, or another instance, has opened a backend again;
// its polls are therefore looks.
func (r *PoolReadiness) Ready(model string) (bool, map[string]string) {
	ready, models := r.judge(model, r.Snapshot())
	if !ready {
		r.Look()
	}
	return ready, models
}

func (r *PoolReadiness) judge(model string, snapshot *health.Snapshot) (bool, map[string]string) {
	now := r.Now()
	ready, models := false, map[string]string{}
	for i := range r.Pools {
		p := &r.Pools[i]
		if model != "" && model != p.Model {
			continue
		}
		models[p.Model] = standing(p, snapshot, now)
		ready = ready || models[p.Model] == available
	}
	if model != "" && len(models) == 0 {
		models[model] = "unknown model"
	}
	return ready, models
}

const available = "available"

// standing is "available", or why no backend of the pool is.
func standing(p *balancer.Pool, s *health.Snapshot, now time.Time) string {
	why := "no backend with a weight"
	for i := range p.Backends {
		b := &p.Backends[i]
		if b.Weight == 0 {
			continue
		}
		h := s.Of(b.Slot)
		refusal := h.SkipReason(now, 0)
		if refusal == health.NotSkipped || cooled(h, now) {
			return available
		}
		why = string(refusal)
	}
	return why
}

// cooled reports whether a circuit only waits for a request to probe it with.
// None would come to an instance, or a whole region, that says of itself that
// it is not ready.
func cooled(h *health.Health, now time.Time) bool {
	return !h.Drained && h.State != health.Closed && !now.Before(h.Until) && !h.Throttle.Blocks(now, 0)
}
