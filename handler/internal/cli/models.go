package cli

import (
	"slices"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/consumer"
)

// models is the pools by the names that callers use.
type models struct{ cfg *config.Config }

// Resolve finds the pool of a name or alias, followed by its fallbacks.
func (m models) Resolve(name string) ([]*balancer.Pool, bool) {
	line := m.cfg.Line(name)
	return line, line != nil
}

// Names lists what a consumer may ask for. Names that only the pool of any
// model serves are known where a consumer is bound to them.
func (m models) Names(c *consumer.Consumer) []string {
	var names []string
	for i := range m.cfg.Pools {
		if p := &m.cfg.Pools[i]; c.MayUse(p.Model) && p.Model != document.Any {
			names = append(names, p.Model)
		}
	}
	if _, any := m.cfg.Pool(document.Any); any && c != nil {
		for _, name := range c.Models {
			if name != document.Any && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// All is every pool there is.
func (m models) All() []*balancer.Pool {
	all := make([]*balancer.Pool, len(m.cfg.Pools))
	for i := range m.cfg.Pools {
		all[i] = &m.cfg.Pools[i]
	}
	return all
}
