package document

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/jsondoc"
)

// checkFences looks for fences of consumers that cannot be met, in every region
// that the document names, and for places that are inside none of them. What it
// advises never takes a fence down.
func (r *Report) checkFences(d *Document, region string) {
	layouts := layoutsByRegion(d, region)
	for i := range d.Consumers {
		at := jsondoc.Index("consumers", i)
		r.checkGeographies(at, &d.Consumers[i], layouts[0])
		if !r.Faults.Under(at) {
			r.checkReachable(at, &d.Consumers[i], layouts)
		}
	}
	r.checkUnfenced(d)
	r.checkOnePlace(layouts[0])
	r.checkReached(layouts)
}

// layoutsByRegion is the layout in the region of this instance, in each that a
// priorityIn names, and in any other.
func layoutsByRegion(d *Document, region string) []*Layout {
	regions := map[string]bool{"": true}
	for i := range d.Backends {
		for name := range d.Backends[i].PriorityIn {
			regions[plainRegion(name)] = true
		}
	}
	delete(regions, plainRegion(region))
	layouts := []*Layout{NewLayout(d, region)}
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		layouts = append(layouts, NewLayout(d, name))
	}
	return layouts
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

// checkGeographies looks for geographies that no backend has.
func (r *Report) checkGeographies(at string, who *Consumer, l *Layout) {
	known := l.geographies()
	for i, name := range who.Geographies {
		if slices.Contains(known, name) {
			continue
		}
		fix := `Write "geography": ` + quoted(name) + " at the backends that are in it."
		if near := jsondoc.Nearest(name, known); near != "" {
			fix = "Did you mean " + quoted(near) + "? Else write " + strings.ToLower(fix[:1]) + fix[1:]
		}
		r.Fault(jsondoc.Index(jsondoc.Join(at, "geographies"), i), quoted(name)+" is the geography of no backend", fix)
	}
}

// fenceProblem is why a consumer reaches no backend of a model; the zero value is
// that it does.
type fenceProblem struct {
	what, fix string
	drained   bool // it reaches drained ones only
}

// fence is what keeps the consumer from every backend of a model.
func (l *Layout) fence(who *Consumer, model string) fenceProblem {
	backends := l.backends(model)
	inside := slices.DeleteFunc(slices.Clone(backends), func(b *Backend) bool {
		return len(who.Geographies) > 0 && !slices.Contains(who.Geographies, b.Geography)
	})
	low := slices.DeleteFunc(slices.Clone(inside), func(b *Backend) bool { return l.Priority(b) < who.MinPriority })
	geographies := strings.Join(who.Geographies, ", ")
	switch {
	case len(backends) == 0:
		return fenceProblem{}
	case len(inside) == 0:
		return fenceProblem{what: "has no backend that is in its geographies, " + geographies, fix: "Add a backend of the model there."}
	case len(low) == 0:
		least := strconv.Itoa(who.MinPriority)
		what := "has no backend that is in a priority group from its minPriority, " + least + ", on"
		if geographies != "" {
			what += " and in its geographies, " + geographies
		}
		return fenceProblem{what: what, fix: "Give a backend of the model a priority of " + least + " or more, or add one."}
	case !slices.ContainsFunc(low, func(b *Backend) bool { return b.Weight > 0 }):
		return fenceProblem{what: "reaches drained backends only: the others are outside its geographies or priority groups", fix: "Give one of them a weight of 1 or more.", drained: true}
	}
	return fenceProblem{}
}

// canonicalPool is the model whose pool serves a name.
func (l *Layout) canonicalPool(name string) string {
	if model, ok := l.Model(name); ok {
		return model
	}
	return Wildcard
}

// checkReachable looks for fences that leave a consumer none of its models, in any
// region.
func (r *Report) checkReachable(at string, who *Consumer, layouts []*Layout) {
	for i, name := range who.Models {
		problems := make([]fenceProblem, len(layouts))
		for k, l := range layouts {
			problems[k] = l.fence(who, l.canonicalPool(name))
		}
		r.reportFence(jsondoc.Index(jsondoc.Join(at, "models"), i), quoted(name), problems, layouts)
	}
	if len(who.Models) > 0 || len(layouts[0].Models) == 0 {
		return
	}
	problems := make([]fenceProblem, len(layouts))
	for k, l := range layouts {
		problems[k] = l.anyModel(who)
	}
	r.reportFence(at, "this consumer", problems, layouts)
}

// anyModel is why the consumer reaches none of the models: of several, one that it
// reaches at drained backends.
func (l *Layout) anyModel(who *Consumer) (first fenceProblem) {
	for i, model := range l.Models {
		p := l.fence(who, model)
		if p == (fenceProblem{}) {
			return p
		}
		if i == 0 || p.drained {
			first = p
		}
	}
	return first
}

// reportFence reports what keeps a consumer from a model: a fault where instances
// run for certain, else a warning.
func (r *Report) reportFence(at, subject string, problems []fenceProblem, layouts []*Layout) {
	everywhere := !slices.ContainsFunc(problems, func(p fenceProblem) bool { return p != problems[0] })
	for i, p := range problems {
		where := ""
		switch region := layouts[i].region; {
		case p == fenceProblem{} || everywhere && i > 0:
			continue
		case everywhere:
		case region == "":
			where = "in regions that no priorityIn names, "
		default:
			where = "in region " + region + ", "
		}
		report := r.Fault
		if p.drained || i > 0 && layouts[i].region == "" {
			report = r.Warn
		}
		report(at, where+subject+" "+p.what, p.fix)
	}
}

// checkUnfenced warns of backends that are in no geography where consumers are
// fenced.
func (r *Report) checkUnfenced(d *Document) {
	if !slices.ContainsFunc(d.Consumers, func(who Consumer) bool { return len(who.Geographies) > 0 }) {
		return
	}
	for i := range d.Backends {
		if d.Backends[i].Geography == "" {
			r.Warn(jsondoc.Index("backends", i), "has no geography, so no consumer with geographies reaches it", `Add "geography" if it is in one of theirs.`)
		}
	}
}

// checkOnePlace looks for one deployment that is in two geographies.
func (r *Report) checkOnePlace(l *Layout) {
	first := map[string]*Backend{}
	for i := range l.Document.Backends {
		b := &l.Document.Backends[i]
		if _, problem, _ := Endpoint(b.Endpoint, b.Kind); problem != "" {
			continue
		}
		for _, model := range l.Models {
			deployment, ok := Serves(b, model)
			if !ok {
				continue
			}
			id := Identity(b, deployment, "")
			other := first[id]
			if other == nil {
				first[id] = b
				continue
			}
			if other.Geography != b.Geography {
				r.twoGeographies(i, b, other)
				break
			}
		}
	}
}

func (r *Report) twoGeographies(i int, b, other *Backend) {
	r.Fault(jsondoc.Join(jsondoc.Index("backends", i), "geography"), "is "+geographyOf(b)+" for the deployment that backend "+quoted(other.Name)+" has in "+geographyOf(other),
		"Write the geography in which the deployment processes prompts, once.")
}

func geographyOf(b *Backend) string {
	if b.Geography == "" {
		return "none"
	}
	return quoted(b.Geography)
}

// checkReached warns of models and fallbacks that no consumer ever reaches.
func (r *Report) checkReached(layouts []*Layout) {
	l := layouts[0]
	if len(l.Document.Consumers) == 0 || r.Faults.Under("consumers") {
		return
	}
	for _, model := range l.Models {
		if model != Wildcard && !anyReaches(layouts, model) {
			at := "backends"
			if l.entries[strings.ToLower(model)] != nil {
				at = jsondoc.Join("models", model)
			}
			r.Warn(at, "offers "+quoted(model)+", which no consumer reaches: their models, geographies and minPriority leave it out", "Add it to the models of a consumer, or remove it.")
		}
	}
	for i := range l.Document.Models {
		m := &l.Document.Models[i]
		for k, name := range m.Fallbacks {
			fallback, ok := l.Model(name)
			if ok && anyReaches(layouts, m.Name) && anyReaches(layouts, fallback) && !anyReaches(layouts, m.Name, fallback) {
				r.Warn(jsondoc.Index(jsondoc.Join(jsondoc.Join("models", m.Name), "fallbacks"), k), quoted(name)+" is never reached: no consumer that reaches "+quoted(m.Name)+" reaches it", "Remove it, or add it to the models of such a consumer.")
			}
		}
	}
}

// anyReaches reports whether a consumer reaches all of the models in some region.
func anyReaches(layouts []*Layout, models ...string) bool {
	for i := range layouts[0].Document.Consumers {
		who := &layouts[0].Document.Consumers[i]
		for _, l := range layouts {
			if !slices.ContainsFunc(models, func(model string) bool { return !l.reaches(who, model) }) {
				return true
			}
		}
	}
	return false
}

func (l *Layout) reaches(who *Consumer, model string) bool {
	if p := l.fence(who, model); p != (fenceProblem{}) && !p.drained {
		return false
	}
	return len(who.Models) == 0 || slices.ContainsFunc(who.Models, func(name string) bool { return l.canonicalPool(name) == model })
}

// warnOfNulls warns of members that are null: they count as absent, and a fence that
// is absent is none.
func (r *Report) warnOfNulls() {
	if r.Tree != nil {
		r.warnOfNull("", r.Tree.Root)
	}
}

func (r *Report) warnOfNull(at string, n *jsondoc.Node) {
	if n.Kind == jsondoc.Null {
		r.Warn(at, "is null, which counts as absent", "Write its value. Where it is meant to be absent, leave it out.")
	}
	for _, m := range n.Members {
		r.warnOfNull(jsondoc.Join(at, m.Name), m.Value)
	}
	for i, item := range n.Items {
		r.warnOfNull(jsondoc.Index(at, i), item)
	}
}
