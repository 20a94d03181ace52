package server

import (
	"time"

	"spillway/handler/health"
	"spillway/handler/pool"
)

// PoolReadiness is ready when some model has an available backend.
type PoolReadiness struct {
	Pools []pool.Pool
	Look  func() *health.Snapshot // fresh knowledge is wanted: a probe counts as traffic
	Now   func() time.Time
}

// Ready looks at one model, or at all of them when it is "".
func (r *PoolReadiness) Ready(model string) (bool, map[string]string) {
	now, snapshot := r.Now(), r.Look()
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
func standing(p *pool.Pool, s *health.Snapshot, now time.Time) string {
	why := "no backend with a weight"
	for i := range p.Backends {
		b := &p.Backends[i]
		if b.Weight == 0 {
			continue
		}
		refusal := s.Of(b.Slot).Refuses(now, 0)
		if refusal == health.Admitted {
			return available
		}
		why = string(refusal)
	}
	return why
}
