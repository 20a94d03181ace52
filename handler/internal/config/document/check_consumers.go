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
		r.checkBudget(at, who, l)
	}
	r.checkAmbiguous(l.Document.Consumers)
}

func (r *Report) checkEntra(at string, who *Consumer, ids map[Entra]string) {
	if who.Entra == nil {
		return
	}
	id := who.Entra.normalized()
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

// normalized is the rule as tokens are compared with it.
func (e *Entra) normalized() Entra {
	return Entra{AppID: strings.ToLower(e.AppID), Group: strings.ToLower(e.Group), Role: e.Role}
}

// members is how many claims the rule names.
func (e *Entra) members() (n int) {
	for _, name := range []string{e.AppID, e.Group, e.Role} {
		if name != "" {
			n++
		}
	}
	return n
}

// checkAmbiguous warns of rules of two consumers that one token could match equally:
// such a token is refused.
func (r *Report) checkAmbiguous(consumers []Consumer) {
	for i := range consumers {
		for k := range i {
			a, b := consumers[k].Entra, consumers[i].Entra
			if a == nil || b == nil || a.members() != b.members() || a.normalized() == b.normalized() ||
				a.AppID != "" && b.AppID != "" && !strings.EqualFold(a.AppID, b.AppID) {
				continue
			}
			r.Warn(jsondoc.Join(jsondoc.Index("consumers", i), "entra"),
				"can match the same token as that of consumer "+quoted(consumers[k].Name)+": a token that two consumers' rules match equally is refused",
				"Give one of them a second member, such as its appId, where both can be in one token.")
			return // one example is enough
		}
	}
}

// checkConsumerModels looks for models that do not exist, or are named twice.
func (r *Report) checkConsumerModels(at string, who *Consumer, l *Layout) {
	named := map[string]bool{}
	for i, name := range who.Models {
		item := jsondoc.Index(jsondoc.Join(at, "models"), i)
		r.checkConsumerModel(item, name, l)
		if model := strings.ToLower(l.Canonical(name)); named[model] {
			r.Warn(item, quoted(name)+" is named twice: names of models are one whatever their case", "Keep one of the two.")
		} else {
			named[model] = true
		}
	}
	limits := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(who.PerModel)) {
		item := jsondoc.Join(jsondoc.Join(at, "perModel"), name)
		r.checkConsumerModel(item, name, l)
		r.checkSameModel(item, name, limits, l)
		if len(who.Models) > 0 && !slices.ContainsFunc(who.Models, func(m string) bool { return strings.EqualFold(l.Canonical(m), l.Canonical(name)) }) {
			r.Fault(item, "limits a model that this consumer may not use", "Add it to the consumer's models, or remove it here.")
		}
	}
}

// checkSameModel looks for a second value for one model.
func (r *Report) checkSameModel(at, name string, seen map[string]string, l *Layout) {
	model := strings.ToLower(l.Canonical(name))
	if other, again := seen[model]; again {
		r.Fault(at, quoted(name)+" is the same model as "+quoted(other), "Keep one of the two.")
	}
	seen[model] = name
}

func (r *Report) checkConsumerModel(at, name string, l *Layout) {
	if _, ok := l.Model(name); !ok && !l.wild() {
		r.Fault(at, quoted(name)+" is no model that a backend serves", jsondoc.DidYouMean(name, l.names()))
	}
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
		if m := l.entry(l.Canonical(all[i])); m != nil {
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
	m := l.entry(l.Canonical(name))
	return m != nil && m.Price != nil && m.Price.Input+m.Price.Output+m.Price.Image+m.Price.AudioSecond > 0
}

// checkAdoption looks for backends that adopt for nobody who could come, or that hold
// nothing to adopt.
func (r *Report) checkAdoption(d *Document) {
	names := make([]string, len(d.Consumers))
	for i := range d.Consumers {
		names[i] = d.Consumers[i].Name
	}
	adopters := map[string]*Backend{} // by endpoint
	for i := range d.Backends {
		b := &d.Backends[i]
		if b.Adopt == "" {
			continue
		}
		at := jsondoc.Join(jsondoc.Index("backends", i), "adopt")
		endpoint := strings.ToLower(strings.TrimRight(b.Endpoint, "/"))
		who, other := slices.Index(names, b.Adopt), adopters[endpoint]
		switch {
		case who < 0:
			r.Fault(at, quoted(b.Adopt)+" is the name of no consumer", jsondoc.DidYouMean(b.Adopt, names))
		case b.Kind == "openai" && !b.Stateful:
			r.Fault(at, "has nothing to adopt: a backend of kind openai keeps stored objects only where it is marked stateful", `Add "stateful": true, or remove "adopt".`)
		case len(d.Consumers[who].Geographies) > 0 && !slices.Contains(d.Consumers[who].Geographies, b.Geography):
			r.Fault(at, "names consumer "+quoted(b.Adopt)+", whose geographies this backend is not in", `Remove "adopt", or name a consumer that reaches the backend.`)
		case other != nil && other.Adopt != b.Adopt:
			r.Fault(at, "names another consumer than backend "+quoted(other.Name)+" of the same resource", "Name one consumer: an object has one owner.")
		}
		adopters[endpoint] = b
	}
}
