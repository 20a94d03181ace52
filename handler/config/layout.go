package config

import (
	"slices"
	"strings"

	"spillway/handler/config/strict"
)

// Any is the name of the pool that serves every model without a pool of its
// own.
const Any = "*"

// layout is which models there are, what else they are called, and which
// backend serves which, all in the order of the document.
type layout struct {
	document *Document
	region   string
	models   []string // Any last, if at all
	entries  map[string]*Model
	aliases  map[string]string // alias → model
}

func lay(d *Document, region string) *layout {
	l := &layout{document: d, region: region, entries: map[string]*Model{}, aliases: map[string]string{}}
	names := []string{}
	for i := range d.Models {
		m := &d.Models[i]
		names = append(names, m.Name)
		l.entries[m.Name] = m
		for _, alias := range m.Aliases {
			l.aliases[alias] = m.Name
		}
	}
	wild := false
	for i := range d.Backends {
		for _, pair := range d.Backends[i].Deployments {
			names = append(names, pair.Name)
		}
		_, any := serves(&d.Backends[i], Any)
		wild = wild || any
	}
	for _, name := range names {
		if name != Any && !slices.Contains(l.models, name) {
			l.models = append(l.models, name)
		}
	}
	if wild || l.entries[Any] != nil {
		l.models = append(l.models, Any)
	}
	return l
}

// serves reports whether the backend serves the model, and under which
// deployment name; "" is the name that the caller used. What is named exactly
// goes before "*", and a backend without deployments serves any model.
func serves(b *Backend, model string) (string, bool) {
	pairs := b.Deployments
	if pairs == nil {
		pairs = strict.Pairs{{Name: Any, Value: Any}}
	}
	for _, name := range []string{model, Any} {
		for _, pair := range pairs {
			switch {
			case pair.Name != name:
			case pair.Value != Any:
				return pair.Value, true
			case model == Any:
				return "", true
			default:
				return model, true
			}
		}
	}
	return "", false
}

// wild reports whether models that are named nowhere are served too.
func (l *layout) wild() bool { return slices.Contains(l.models, Any) }

// model is the model that a name stands for: itself, or what it is an alias
// of. ok is false when the name is known nowhere.
func (l *layout) model(name string) (string, bool) {
	if slices.Contains(l.models, name) {
		return name, true
	}
	model, ok := l.aliases[name]
	return model, ok
}

// names is everything that may be asked for by name.
func (l *layout) names() []string {
	var names []string
	for _, model := range l.models {
		if model != Any {
			names = append(names, model)
		}
	}
	for _, m := range l.document.Models {
		names = append(names, m.Aliases...)
	}
	return names
}

// backends is who serves the model.
func (l *layout) backends(model string) []*Backend {
	var found []*Backend
	for i := range l.document.Backends {
		if _, ok := serves(&l.document.Backends[i], model); ok {
			found = append(found, &l.document.Backends[i])
		}
	}
	return found
}

// priority is the backend's priority for instances in this region.
func (l *layout) priority(b *Backend) int {
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
