package document

import (
	"maps"
	"slices"
	"strings"

	"spillway/handler/internal/config/jsondoc"
)

// Wildcard is the name of the pool that serves every model without a pool of its
// own.
const Wildcard = "*"

// Layout is which models there are, what else they are called, and which
// backend serves which, all in the order of the document. The name of a model is
// one whatever its case, and spelt as it occurs first.
type Layout struct {
	Document *Document
	region   string
	Models   []string          // Wildcard last, if at all
	Aliases  map[string]string // alias → model
	entries  map[string]*Model // by name in lower case
	known    map[string]string // name or alias in lower case → model
	limited  map[string]bool   // models in lower case that only a limit of a consumer names: Wildcard serves them
}

// NewLayout works out the layout, for an instance in that region; "" = unknown.
func NewLayout(d *Document, region string) *Layout {
	l := &Layout{Document: d, region: region, entries: map[string]*Model{}, Aliases: map[string]string{}, known: map[string]string{}, limited: map[string]bool{}}
	for i := range d.Models {
		m := &d.Models[i]
		l.addModel(m.Name)
		l.entries[strings.ToLower(m.Name)] = m
	}
	wild := l.entries[Wildcard] != nil
	for i := range d.Backends {
		for _, pair := range d.Backends[i].Deployments {
			l.addModel(pair.Name)
		}
		_, any := Serves(&d.Backends[i], Wildcard)
		wild = wild || any
	}
	for i := range d.Models {
		for _, alias := range d.Models[i].Aliases {
			l.Aliases[alias] = d.Models[i].Name
			if key := strings.ToLower(alias); l.known[key] == "" {
				l.known[key] = d.Models[i].Name
			}
		}
	}
	if wild {
		l.addLimited()
		l.Models = append(l.Models, Wildcard)
		l.known[Wildcard] = Wildcard
	}
	return l
}

func (l *Layout) addModel(name string) {
	if key := strings.ToLower(name); name != Wildcard && l.known[key] == "" {
		l.Models = append(l.Models, name)
		l.known[key] = name
	}
}

// addLimited gives a pool to each model that a consumer has limits for and that
// only Wildcard serves: limits are those of a pool's model.
func (l *Layout) addLimited() {
	for i := range l.Document.Consumers {
		for _, name := range slices.Sorted(maps.Keys(l.Document.Consumers[i].PerModel)) {
			if key := strings.ToLower(name); l.known[key] == "" {
				l.addModel(name)
				l.limited[key] = true
			}
		}
	}
}

// PassesName reports whether only Wildcard serves the model, which is then asked for
// under the name that the caller used.
func (l *Layout) PassesName(model string) bool { return l.limited[strings.ToLower(model)] }

// Serves reports whether the backend serves the model, and under which
// deployment name; "" is the name that the caller used. What is named exactly
// goes before "*", and a backend without deployments serves any model.
func Serves(b *Backend, model string) (string, bool) {
	pairs := b.Deployments
	if pairs == nil {
		pairs = jsondoc.Pairs{{Name: Wildcard, Value: Wildcard}}
	}
	for _, name := range []string{model, Wildcard} {
		for _, pair := range pairs {
			switch {
			case !strings.EqualFold(pair.Name, name):
			case pair.Value != Wildcard:
				return pair.Value, true
			case model == Wildcard:
				return "", true
			default:
				return model, true
			}
		}
	}
	return "", false
}

// wild reports whether models that are named nowhere are served too.
func (l *Layout) wild() bool { return slices.Contains(l.Models, Wildcard) }

// Model is the model that a name stands for: itself, or what it is an alias
// of. ok is false when the name is known nowhere.
func (l *Layout) Model(name string) (string, bool) {
	model, ok := l.known[strings.ToLower(name)]
	return model, ok
}

// names is everything that may be asked for by name.
func (l *Layout) names() []string {
	var names []string
	for _, model := range l.Models {
		if model != Wildcard {
			names = append(names, model)
		}
	}
	for _, m := range l.Document.Models {
		names = append(names, m.Aliases...)
	}
	return names
}

// backends is who serves the model.
func (l *Layout) backends(model string) []*Backend {
	var found []*Backend
	for i := range l.Document.Backends {
		if _, ok := Serves(&l.Document.Backends[i], model); ok {
			found = append(found, &l.Document.Backends[i])
		}
	}
	return found
}

// Priority is the backend's priority for instances in this region.
func (l *Layout) Priority(b *Backend) int {
	for region, priority := range b.PriorityIn {
		if l.region != "" && sameRegion(region, l.region) {
			return priority
		}
	}
	return b.Priority
}

// sameRegion compares "West Europe" with "westeurope": the platform and its
// tools write both.
func sameRegion(a, b string) bool { return plainRegion(a) == plainRegion(b) }

func plainRegion(name string) string {
	return strings.NewReplacer(" ", "", "-", "").Replace(strings.ToLower(name))
}

// Canonical is the model that a name stands for. A name that only "*" serves
// stands for itself.
func (l *Layout) Canonical(name string) string {
	if model, ok := l.Model(name); ok {
		return model
	}
	return name
}

// entry is the entry of a model, or that of Wildcard which serves it; nil = it has
// none.
func (l *Layout) entry(model string) *Model {
	key := strings.ToLower(model)
	if l.limited[key] || l.known[key] == "" {
		key = Wildcard
	}
	return l.entries[key]
}

// Entry is the entry of a model in the document, or the defaults.
func (l *Layout) Entry(model string) *Model {
	if m := l.entry(model); m != nil {
		return m
	}
	m := new(Model)
	jsondoc.SetDefaults(m)
	return m
}

// Identity names the deployment behind a backend × model, whatever the backend
// is called: its endpoint, with scheme and host in lower case and without a
// default port or a trailing slash; its deployment, "" for the caller's name;
// and the model. The endpoint must be valid.
func Identity(b *Backend, deployment, model string) string {
	u, _, _ := Endpoint(b.Endpoint, b.Kind)
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"https": ":443", "http": ":80"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return u.Scheme + "://" + host + u.Path + " " + deployment + " " + model
}

// checkIdentities warns of two backends that lead to one deployment.
func (r *Report) checkIdentities(l *Layout) {
	first := map[string]string{}
	for i := range l.Document.Backends {
		b := &l.Document.Backends[i]
		if _, problem, _ := Endpoint(b.Endpoint, b.Kind); problem != "" {
			continue
		}
		same := ""
		for _, model := range l.Models {
			deployment, ok := Serves(b, model)
			if !ok {
				continue
			}
			id := Identity(b, deployment, model)
			if other, again := first[id]; again {
				same = other
			} else {
				first[id] = b.Name
			}
		}
		if same != "" {
			r.Warn(jsondoc.Index("backends", i), "leads to the same deployment as backend "+quoted(same)+", so that an outage takes both", "Remove one of the two. Use weight for a larger share.")
		}
	}
}
