package preflight

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
)

// compareModels compares the models that the backends of a pool report. With
// different models or versions a caller's results vary with the backend
// (docs/azure-openai.md#model-names).
func compareModels(p *balancer.Pool, checks []*resourceCheck, n *findings) {
	found := servingBackends(p, checks)
	by := collectServed(found, func(m servingBackend) string { return m.servedModel })
	if len(by.reporting) < len(found) { // the header, which also has the version, is missing somewhere
		by = collectServed(found, func(m servingBackend) string { return m.bodyModel })
	}
	at := "models." + p.Model
	switch {
	case len(by.backends) > 1:
		n.report(Warning, at, diagnosis{"its backends serve different models: " + listServed(by.backends), "Deploy the same model and version at all of them, or make two models of them."})
	case len(found) > 1 && len(by.reporting) < len(found):
		n.ok(at, "not all of its %d backends report their model, so the models were not compared", len(found))
	case len(found) > 1:
		n.ok(at, "its %d backends serve the same model, %s", len(found), listServed(by.backends))
	}
}

// servingBackend is a backend of a pool whose deployment exists.
type servingBackend struct {
	*deployment
	backend string
}

func servingBackends(p *balancer.Pool, checks []*resourceCheck) []servingBackend {
	var found []servingBackend
	for _, b := range p.Backends {
		for _, d := range checks[b.Index].deployments {
			if d.name == b.Deployment && d.found {
				found = append(found, servingBackend{d, b.Name})
			}
		}
	}
	return found
}

// servedModels are the models that backends report, each with the names of its
// backends.
type servedModels struct {
	backends  map[string][]string // by model, the names of its backends
	reporting []string            // the backends that report a model
}

func collectServed(found []servingBackend, model func(servingBackend) string) servedModels {
	by := servedModels{backends: map[string][]string{}}
	for _, m := range found {
		if model := model(m); model != "" {
			by.backends[model] = append(by.backends[model], m.backend)
			by.reporting = append(by.reporting, m.backend)
		}
	}
	return by
}

// listServed lists models and their backends, sorted by model.
func listServed(by map[string][]string) string {
	var parts []string
	for _, model := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s (%s)", printable(model), strings.Join(by[model], ", ")))
	}
	return strings.Join(parts, ", ")
}

// checkSharedQuota warns of pay-as-you-go backends that may share one quota:
// Azure counts per subscription, region and model, so a second resource in a
// region adds none (docs/azure-openai.md#how-limits-count).
func checkSharedQuota(p *balancer.Pool, targets []*backend.Target, n *findings) {
	var regions, resources groups
	for _, b := range p.Backends {
		if b.Provisioned || b.OpenAI {
			continue
		}
		u := targets[b.Index].Endpoint
		resources.add(strings.ToLower(u.Host+u.Path), b.Name)
		if b.Region != "" {
			regions.add(strings.ToLower(b.Region), b.Name)
		}
	}
	at := "models." + p.Model
	for _, g := range resources.shared() {
		n.report(Warning, at, diagnosis{g.names() + " are one resource, " + g.key + ": their limits come out of one quota, and they fail together", "Keep one of them, or move the other to another region."})
	}
	together := resources.shared()
	for _, g := range regions.shared() {
		if len(together) == 1 && slices.Equal(together[0].members, g.members) {
			continue // reported as one resource
		}
		n.report(Warning, at, diagnosis{g.names() + " are all in " + g.key + ": pay-as-you-go quota is per subscription, region and model, so in one subscription they add none", "Move one to another region or subscription, or leave it so if they differ in subscription or deployment type."})
	}
}

// groups are names by key, in the order in which the keys first came.
type groups []*group

type group struct {
	key     string
	members []string
}

func (gs *groups) add(key, name string) {
	for _, g := range *gs {
		if g.key == key {
			g.members = append(g.members, name)
			return
		}
	}
	*gs = append(*gs, &group{key: key, members: []string{name}})
}

// shared are the groups with more than one name.
func (gs *groups) shared() groups {
	return slices.DeleteFunc(slices.Clone(*gs), func(g *group) bool { return len(g.members) < 2 })
}

func (g *group) names() string { return strings.Join(g.members, ", ") }

// printable is a name that a backend sent, without control characters, cut to
// 80 bytes.
func printable(name string) string {
	const most = 80
	kept := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, name)
	return kept[:min(len(kept), most)]
}
