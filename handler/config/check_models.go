package config

import (
	"slices"
	"strings"
	"time"

	"spillway/handler/config/strict"
)

// checkModels looks for models that cannot work: served by nobody, called by
// two names, falling back in a circle.
func (c *checker) checkModels(l *layout) {
	taken := map[string]string{}
	for i := range l.document.Models {
		m := &l.document.Models[i]
		at := strict.Join("models", m.Name)
		c.checkServed(at, m, l)
		c.checkAliases(at, m, taken, l)
		c.checkFallbacks(at, m, l)
		c.checkHedge(at, m, l)
	}
	c.checkCurrencies(l)
	c.checkDrained(l)
}

func (c *checker) checkServed(at string, m *Model, l *layout) {
	if len(l.backends(m.Name)) > 0 {
		return
	}
	if m.Name == Any {
		c.fault(at, "is every model that is named nowhere, but no backend serves such models", `Remove it, or give a backend "*" among its deployments, or no deployments at all.`)
		return
	}
	var served []string
	for _, model := range l.models {
		if model != Any && len(l.backends(model)) > 0 {
			served = append(served, model)
		}
	}
	c.fault(at, "is served by no backend", "Add it to a backend's deployments. "+strict.DidYouMean(m.Name, served))
}

func (c *checker) checkAliases(at string, m *Model, taken map[string]string, l *layout) {
	for i, alias := range m.Aliases {
		at := strict.Index(strict.Join(at, "aliases"), i)
		other, again := taken[alias]
		switch {
		case m.Name == Any:
			c.fault(at, `is an alias of "*", which has every name already`, "Remove it.")
		case slices.Contains(l.models, alias):
			c.fault(at, quoted(alias)+" is the name of a model", "Choose another alias, or remove it.")
		case again:
			c.fault(at, quoted(alias)+" is an alias of "+quoted(other)+" already", "Keep one of the two.")
		}
		taken[alias] = m.Name
	}
}

func (c *checker) checkFallbacks(at string, m *Model, l *layout) {
	for i, name := range m.Fallbacks {
		at := strict.Index(strict.Join(at, "fallbacks"), i)
		model, ok := l.model(name)
		switch {
		case !ok:
			c.fault(at, quoted(name)+" is no model that a backend serves by name", strict.DidYouMean(name, l.names()))
		case model == m.Name:
			c.fault(at, "is the model itself", "Remove it.")
		case l.leadsTo(model, m.Name, map[string]bool{}):
			c.fault(at, quoted(name)+" falls back to "+quoted(m.Name)+" again: a circle", "Remove one of the fallbacks in the circle.")
		}
	}
}

// leadsTo reports whether falling back from one model can end at another.
func (l *layout) leadsTo(from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	m := l.entries[from]
	if m == nil || seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(m.Fallbacks, func(name string) bool {
		next, ok := l.model(name)
		return ok && l.leadsTo(next, to, seen)
	})
}

func (c *checker) checkHedge(at string, m *Model, l *layout) {
	if m.Hedge == nil {
		return
	}
	at = strict.Join(at, "hedge")
	if delay, err := time.ParseDuration(m.Hedge.After); err == nil && delay <= 0 {
		c.fault(strict.Join(at, "after"), quoted(m.Hedge.After)+" is no time at all", `Write more than 0s, or a percentile such as "p95".`)
	}
	if len(l.backends(m.Name)) < 2 {
		c.warn(at, "has no effect: the model has one backend only", "Add a backend, or remove hedge.")
	}
}

// checkCurrencies looks for prices that cannot be added up.
func (c *checker) checkCurrencies(l *layout) {
	first := ""
	for _, m := range l.document.Models {
		if m.Price == nil {
			continue
		}
		at := strict.Join(strict.Join("models", m.Name), "price")
		if first == "" {
			first = m.Price.Currency
		}
		if m.Price.Currency != first {
			c.fault(strict.Join(at, "currency"), quoted(m.Price.Currency)+" differs from "+quoted(first)+" of another model, and budgets add them up", "Use one currency for all prices.")
		}
		if m.Price.CachedInput > m.Price.Input {
			c.warn(strict.Join(at, "cachedInput"), "is more than input", "Check the price list: cached tokens are cheaper.")
		}
	}
}

// checkDrained tells of models whose backends are all drained.
func (c *checker) checkDrained(l *layout) {
	for _, model := range l.models {
		backends := l.backends(model)
		if len(backends) == 0 || slices.ContainsFunc(backends, func(b *Backend) bool { return b.Weight > 0 }) {
			continue
		}
		names := make([]string, len(backends))
		for i, b := range backends {
			names[i] = b.Name
		}
		c.warn("backends", "leave "+quoted(model)+" without anyone: weight 0 on "+strings.Join(names, ", "), "Give one of them a weight of 1 or more.")
	}
}
