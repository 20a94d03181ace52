package app

import (
	"slices"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/consumer"
)

// Models finds pools by the names that callers use.
type Models struct{ Config *config.Config }

// Resolve finds the pool of a name or alias, followed by its fallbacks.
func (m Models) Resolve(name string) ([]*balancer.Pool, bool) {
	pools := m.Config.CandidatePools(name)
	return pools, pools != nil
}

// Names lists the models that a consumer may use, all when c is nil. Models that
// only the catch-all pool serves are known by the consumers restricted to them.
func (m Models) Names(c *consumer.Consumer) []string {
	var names []string
	for i := range m.Config.Pools {
		if p := &m.Config.Pools[i]; c.MayUse(p.Model) && p.Model != document.Wildcard {
			names = append(names, p.Model)
		}
	}
	if _, any := m.Config.Pool(document.Wildcard); any && c != nil {
		for _, name := range c.Models {
			if name != document.Wildcard && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// All is every pool.
func (m Models) All() []*balancer.Pool {
	all := make([]*balancer.Pool, len(m.Config.Pools))
	for i := range m.Config.Pools {
		all[i] = &m.Config.Pools[i]
	}
	return all
}
