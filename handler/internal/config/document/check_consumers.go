package document

import (
	"maps"
	"slices"
	"strings"

	"spillway/handler/internal/config/jsondoc"
)

// checkConsumers looks for consumers that cannot be distinguished, or whose rules
// leave them nothing.
func (r *Report) checkConsumers(l *Layout) {
	names := map[string]int{}
	ids := map[Entra]string{}
	for i := range l.Document.Consumers {
		who := &l.Document.Consumers[i]
		at := jsondoc.Index("consumers", i)
		if first, again := names[strings.ToLower(who.Name)]; again && who.Name != "" {
			r.Fault(jsondoc.Join(at, "name"), quoted(who.Name)+" is the name of "+jsondoc.Index("consumers", first)+" too", "Give each consumer a name of its own.")
		} else {
			names[strings.ToLower(who.Name)] = i
		}
		r.checkEntra(jsondoc.Join(at, "entra"), who, ids)
		r.checkConsumerModels(at, who, l)
		r.checkReach(at, who, l)
		r.checkBudget(at, who, l)
	}
}

func (r *Report) checkEntra(at string, who *Consumer, ids map[Entra]string) {
	if who.Entra == nil {
		return
	}
	id := Entra{AppID: strings.ToLower(who.Entra.AppID), Group: who.Entra.Group, Role: who.Entra.Role}
	other, again := ids[id]
	switch {
	case r.Faults.Under(at):
		return
	case id == Entra{}:
		r.Fault(at, "names neither appId, group nor role, so no token would be this consumer's", `Write for example {"appId": "11111111-2222-3333-4444-555555555555"}.`)
	case again:
		r.Fault(at, "is the same as that of consumer "+quoted(other), "Give each consumer an appId, group or role of its own.")
	}
	ids[id] = who.Name
}

// checkConsumerModels looks for models and geographies that do not exist.
func (r *Report) checkConsumerModels(at string, who *Consumer, l *Layout) {
	for i, name := range who.Models {
		r.checkConsumerModel(jsondoc.Index(jsondoc.Join(at, "models"), i), name, l)
	}
	for _, name := range slices.Sorted(maps.Keys(who.PerModel)) {
		item := jsondoc.Join(jsondoc.Join(at, "perModel"), name)
		r.checkConsumerModel(item, name, l)
		if len(who.Models) > 0 && !slices.ContainsFunc(who.Models, func(m string) bool { return l.Canonical(m) == l.Canonical(name) }) {
			r.Fault(item, "limits a model that this consumer may not use", "Add it to the consumer's models, or remove it here.")
		}
	}
	known := l.geographies()
	for i, name := range who.Geographies {
		if !slices.Contains(known, name) {
			r.Fault(jsondoc.Index(jsondoc.Join(at, "geographies"), i), quoted(name)+" is the geography of no backend", jsondoc.DidYouMean(name, known))
		}
	}
}

func (r *Report) checkConsumerModel(at, name string, l *Layout) {
	if _, ok := l.Model(name); !ok && !l.wild() {
		r.Fault(at, quoted(name)+" is no model that a backend serves", jsondoc.DidYouMean(name, l.names()))
	}
}

func (l *Layout) geographies() []string {
	var known []string
	for _, b := range l.Document.Backends {
		if b.Geography != "" {
			known = append(known, b.Geography)
		}
	}
	return jsondoc.Unique(known)
}

// checkReach looks for rules that together leave the consumer no backend.
func (r *Report) checkReach(at string, who *Consumer, l *Layout) {
	models, each := who.Models, true
	if len(models) == 0 {
		models, each = l.Models, false // some model is enough
	}
	for i, name := range models {
		model := l.Canonical(name)
		if !slices.Contains(l.Models, model) {
			model = Wildcard
		}
		why := l.unreachable(who, model)
		switch {
		case why == "" && !each:
			return
		case why != "" && each:
			r.Fault(jsondoc.Index(jsondoc.Join(at, "models"), i), quoted(name)+" has no backend "+why, "Widen the consumer's rules, add such a backend, or remove the model.")
		}
	}
	if !each && len(models) > 0 && !r.Faults.Under(at) {
		r.Fault(at, "is left without any backend: none is "+strings.TrimPrefix(l.unreachable(who, models[0]), "that is "), "Widen its geographies or lower its minPriority.")
	}
}

// unreachable says which rule of the consumer keeps it from every backend of a
// model; "" when it reaches one, or when the model has none.
func (l *Layout) unreachable(who *Consumer, model string) string {
	backends := l.backends(model)
	inside := slices.DeleteFunc(slices.Clone(backends), func(b *Backend) bool {
		return len(who.Geographies) > 0 && !slices.Contains(who.Geographies, b.Geography)
	})
	low := slices.DeleteFunc(slices.Clone(inside), func(b *Backend) bool { return l.Priority(b) < who.MinPriority })
	switch {
	case len(backends) == 0 || len(low) > 0:
		return ""
	case len(inside) == 0:
		return "that is in its geographies, " + strings.Join(who.Geographies, ", ")
	}
	return "that is in a priority group from its minPriority on"
}

// checkBudget looks for money that could never be used up.
func (r *Report) checkBudget(at string, who *Consumer, l *Layout) {
	models := who.Models
	if len(models) == 0 {
		models = l.Models
	}
	if who.PerCaller != nil && who.PerCaller.BudgetPerMonth > 0 && who.BudgetPerMonth == 0 {
		each := *who
		each.BudgetPerMonth, each.PerModel, each.PerCaller = who.PerCaller.BudgetPerMonth, nil, nil
		r.checkBudget(jsondoc.Join(at, "perCaller"), &each, l)
	}
	if who.BudgetPerMonth > 0 {
		for _, name := range l.withFallbacks(models)[len(models):] {
			if !l.priced(name) {
				r.Warn(jsondoc.Join(at, "budgetPerMonth"), "is not used up by "+quoted(name)+", which has no price and serves as a fallback", "Add "+jsondoc.Join("models", l.Canonical(name))+".price.")
			}
		}
		for _, name := range models {
			if !l.priced(name) {
				r.Fault(jsondoc.Join(at, "budgetPerMonth"), "would never be used up by "+quoted(name)+", which has no price", "Add "+jsondoc.Join("models", l.Canonical(name))+`.price, or leave the model out of the consumer's models.`)
				return
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(who.PerModel)) {
		if who.PerModel[name].BudgetPerMonth > 0 && !l.priced(name) {
			r.Fault(jsondoc.Join(jsondoc.Join(jsondoc.Join(at, "perModel"), name), "budgetPerMonth"), "would never be used up, because the model has no price", "Add "+jsondoc.Join("models", l.Canonical(name))+".price.")
		}
	}
}

// withFallbacks is the models and all that may serve instead of them.
func (l *Layout) withFallbacks(models []string) []string {
	all := slices.Clone(models)
	for i := 0; i < len(all); i++ {
		if m := l.entries[l.Canonical(all[i])]; m != nil {
			for _, name := range m.Fallbacks {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	return all
}

// priced reports whether the model's tokens cost anything.
func (l *Layout) priced(name string) bool {
	m := l.entries[l.Canonical(name)]
	if m == nil && !slices.Contains(l.Models, l.Canonical(name)) {
		m = l.entries[Wildcard]
	}
	return m != nil && m.Price != nil && m.Price.Input+m.Price.Output+m.Price.Image+m.Price.AudioSecond > 0
}
