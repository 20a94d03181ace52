package document

import (
	"maps"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/config/jsondoc"
)

// checkModels looks for models that cannot work: served by nobody, called by
// two names, falling back in a circle.
func (r *Report) checkModels(l *Layout) {
	taken, entries := map[string]string{}, map[string]string{}
	for i := range l.Document.Models {
		m := &l.Document.Models[i]
		at := jsondoc.Join("models", m.Name)
		r.checkSameModel(at, m.Name, entries, l)
		r.checkServed(at, m, l)
		r.checkAliases(at, m, taken, l)
		r.checkFallbacks(at, m, l)
		r.checkHedge(at, m, l)
	}
	r.checkSpelling(l)
	r.checkCurrencies(l)
	r.checkDrained(l)
}

func (r *Report) checkServed(at string, m *Model, l *Layout) {
	if len(l.backends(m.Name)) > 0 {
		return
	}
	if m.Name == Wildcard {
		r.Fault(at, "is every model that is named nowhere, but no backend serves such models", `Remove it, or give a backend "*" among its deployments, or no deployments at all.`)
		return
	}
	var served []string
	for _, model := range l.Models {
		if model != Wildcard && len(l.backends(model)) > 0 {
			served = append(served, model)
		}
	}
	r.Fault(at, "is served by no backend", "Add it to a backend's deployments. "+jsondoc.DidYouMean(m.Name, served))
}

func (r *Report) checkAliases(at string, m *Model, taken map[string]string, l *Layout) {
	for i, alias := range m.Aliases {
		at, key := jsondoc.Index(jsondoc.Join(at, "aliases"), i), strings.ToLower(alias)
		other, again := taken[key]
		switch {
		case m.Name == Wildcard:
			r.Fault(at, `is an alias of "*", which has every name already`, "Remove it.")
		case slices.ContainsFunc(l.Models, func(model string) bool { return strings.EqualFold(model, alias) }):
			r.Fault(at, quoted(alias)+" is the name of a model", "Choose another alias, or remove it.")
		case again:
			r.Fault(at, quoted(alias)+" is an alias of "+quoted(other)+" already", "Keep one of the two.")
		}
		taken[key] = m.Name
	}
}

func (r *Report) checkFallbacks(at string, m *Model, l *Layout) {
	if m.OnContentFilter == "fallback" && len(m.Fallbacks) == 0 {
		r.Fault(jsondoc.Join(at, "onContentFilter"), "says fallback, and the model has no fallbacks", "Add fallbacks, or remove it.")
	}
	for i, name := range m.Fallbacks {
		at := jsondoc.Index(jsondoc.Join(at, "fallbacks"), i)
		model, ok := l.Model(name)
		switch {
		case !ok:
			r.Fault(at, quoted(name)+" is no model that a backend serves by name", jsondoc.DidYouMean(name, l.names()))
		case strings.EqualFold(model, m.Name):
			r.Fault(at, "is the model itself", "Remove it.")
		case l.fallsBackTo(model, m.Name, map[string]bool{}):
			r.Fault(at, quoted(name)+" falls back to "+quoted(m.Name)+" again: a circle", "Remove one of the fallbacks in the circle.")
		}
	}
}

// fallsBackTo reports whether falling back from one model can end at another.
func (l *Layout) fallsBackTo(from, to string, seen map[string]bool) bool {
	if strings.EqualFold(from, to) {
		return true
	}
	m := l.entry(from)
	if m == nil || seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(m.Fallbacks, func(name string) bool {
		next, ok := l.Model(name)
		return ok && l.fallsBackTo(next, to, seen)
	})
}

func (r *Report) checkHedge(at string, m *Model, l *Layout) {
	if m.Hedge == nil {
		return
	}
	at = jsondoc.Join(at, "hedge")
	if delay, err := time.ParseDuration(m.Hedge.After); err == nil && delay <= 0 {
		r.Fault(jsondoc.Join(at, "after"), quoted(m.Hedge.After)+" is no time at all", `Write more than 0s, or a percentile such as "p95".`)
	}
	if len(l.backends(m.Name)) < 2 {
		r.Warn(at, "has no effect: the model has one backend only", "Add a backend, or remove hedge.")
	}
}

// checkCurrencies looks for prices that cannot be added up.
func (r *Report) checkCurrencies(l *Layout) {
	first := ""
	for _, m := range l.Document.Models {
		if m.Price != nil {
			r.checkPrice(jsondoc.Join(jsondoc.Join("models", m.Name), "price"), m.Price, &first)
		}
	}
	for i := range l.Document.Backends {
		b, prices := &l.Document.Backends[i], map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(b.Prices)) {
			at, p := jsondoc.Join(jsondoc.Join(jsondoc.Index("backends", i), "prices"), name), b.Prices[name]
			if _, ok := Serves(b, l.Canonical(name)); !ok {
				r.Fault(at, "is the price of a model that the backend does not serve", "Add the model to its deployments, or remove the price.")
			}
			r.checkSameModel(at, name, prices, l)
			r.checkPrice(at, &p, &first)
		}
	}
}

// checkPrice checks one price, whose currency must be the first one.
func (r *Report) checkPrice(at string, p *Price, first *string) {
	if *first == "" {
		*first = p.Currency
	}
	if p.Currency != *first {
		r.Fault(jsondoc.Join(at, "currency"), quoted(p.Currency)+" differs from "+quoted(*first)+" of another model, and budgets add them up", "Use one currency for all prices.")
	}
	if p.CachedInput > p.Input {
		r.Warn(jsondoc.Join(at, "cachedInput"), "is more than input", "Check the price list: cached tokens are cheaper.")
	}
}

// checkDrained warns of models whose backends are all drained.
func (r *Report) checkDrained(l *Layout) {
	for _, model := range l.Models {
		backends := l.backends(model)
		if len(backends) == 0 || slices.ContainsFunc(backends, func(b *Backend) bool { return b.Weight > 0 }) {
			continue
		}
		names := make([]string, len(backends))
		for i, b := range backends {
			names[i] = b.Name
		}
		r.Warn("backends", "leave "+quoted(model)+" without anyone: weight 0 on "+strings.Join(names, ", "), "Give one of them a weight of 1 or more.")
	}
}

// checkSpelling warns of models whose names differ from others in their case only.
func (r *Report) checkSpelling(l *Layout) {
	for i := range l.Document.Backends {
		for k, pair := range l.Document.Backends[i].Deployments {
			model, ok := l.Model(pair.Name)
			if !ok || model == pair.Name || !strings.EqualFold(model, pair.Name) {
				continue
			}
			deployments := jsondoc.Join(jsondoc.Index("backends", i), "deployments")
			at := jsondoc.Join(deployments, pair.Name)
			if r.isSet(jsondoc.Index(deployments, k)) {
				at = jsondoc.Index(deployments, k)
			}
			r.Warn(at, quoted(pair.Name)+" is the model "+quoted(model)+": names of models are one whatever their case", "Write "+quoted(model)+".")
		}
	}
}
