package config

import (
	"slices"

	"spillway/handler/internal/health"
)

// Renumbered is the configuration with other numbers for its slots, of so many in all:
// slot i becomes numbers[i]. A slot without a name is of no backend.
func (cfg *Config) Renumbered(numbers []health.Slot, size int) *Config {
	next := *cfg
	next.Slots, next.Identities = make([]string, size), make([]string, size)
	next.Breakers, next.Throttles = make([]health.BreakerPolicy, size), make([]health.ThrottlePolicy, size)
	for i, n := range numbers {
		next.Slots[n], next.Identities[n] = cfg.Slots[i], cfg.Identities[i]
		next.Breakers[n], next.Throttles[n] = cfg.Breakers[i], cfg.Throttles[i]
	}
	next.Pools = slices.Clone(cfg.Pools)
	for i := range next.Pools {
		p := &next.Pools[i]
		p.Backends = slices.Clone(p.Backends)
		for j := range p.Backends {
			p.Backends[j].Slot = numbers[p.Backends[j].Slot]
		}
	}
	return &next
}
