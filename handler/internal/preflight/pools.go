package preflight

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
)

// compareModels compares what the backends of a pool say they serve: the same
// model in the same version, or callers get now one and now the other
// (facts/azure-openai.md §1.3).
func compareModels(p *balancer.Pool, visits []*resourceCheck, n *findings) {
	found := members(p, visits)
	by := collectServed(found, func(m member) string { return m.servedModel })
	if len(by.names) < len(found) { // not all have the header, which names the version too
		by = collectServed(found, func(m member) string { return m.bodyModel })
	}
	at := "models." + p.Model
	switch {
	case len(by.backends) > 1:
		n.add(Warning, at, diagnosis{"its backends serve different models: " + listServed(by.backends), "Deploy the same model and version at all of them, or make two models of them."})
	case len(found) > 1 && len(by.names) < len(found):
		n.ok(at, "not all of its %d backends tell what they serve, so that was not compared", len(found))
	case len(found) > 1:
		n.ok(at, "its %d backends serve the same model, %s", len(found), listServed(by.backends))
	}
}

// member is a backend of a pool with its deployment, which exists.
type member struct {
	*deployment
	backend string
}

func members(p *balancer.Pool, visits []*resourceCheck) []member {
	var found []member
	for _, b := range p.Backends {
		for _, d := range visits[b.Index].deployments {
			if d.name == b.Deployment && d.found {
				found = append(found, member{d, b.Name})
			}
		}
	}
	return found
}

// servedModels are who says to serve what.
type servedModels struct {
	backends map[string][]string // names of backends
	names    []string            // of those that say anything
}

func collectServed(found []member, says func(member) string) servedModels {
	by := servedModels{backends: map[string][]string{}}
	for _, m := range found {
		if model := says(m); model != "" {
			by.backends[model] = append(by.backends[model], m.backend)
			by.names = append(by.names, m.backend)
		}
	}
	return by
}

// listServed lists who serves what, in order of the names.
func listServed(by map[string][]string) string {
	var parts []string
	for _, model := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s (%s)", printable(model), strings.Join(by[model], ", ")))
	}
	return strings.Join(parts, ", ")
}

// checkSharedQuota points at pay-as-you-go backends that may draw on one checkSharedQuota: Azure
// counts per subscription, region and model, so a second resource beside the
// first adds none (facts/azure-openai.md §1.3).
func checkSharedQuota(p *balancer.Pool, targets []*backend.Target, n *findings) {
	var regions, resources groups
	for _, b := range p.Backends {
		if b.Provisioned || b.OpenAI {
			continue
		}
		u := targets[b.Index].Endpoint
		resources.put(strings.ToLower(u.Host+u.Path), b.Name)
		if b.Region != "" {
			regions.put(strings.ToLower(b.Region), b.Name)
		}
	}
	at := "models." + p.Model
	for _, g := range resources.shared() {
		n.add(Warning, at, diagnosis{g.names() + " are one resource, " + g.key + ": their limits come out of one quota, and they fail together", "Keep one of them, or move the other to another region."})
	}
	together := resources.shared()
	for _, g := range regions.shared() {
		if len(together) == 1 && slices.Equal(together[0].members, g.members) {
			continue // said already
		}
		n.add(Warning, at, diagnosis{g.names() + " are all in " + g.key + ": pay-as-you-go quota is per subscription, region and model, so in one subscription they add none", "Move one to another region or subscription, or leave it so if they differ in subscription or deployment type."})
	}
}

// groups are names with the same key, in the order in which they came.
type groups []*group

type group struct {
	key     string
	members []string
}

func (gs *groups) put(key, name string) {
	for _, g := range *gs {
		if g.key == key {
			g.members = append(g.members, name)
			return
		}
	}
	*gs = append(*gs, &group{key: key, members: []string{name}})
}

// shared are the groups of more than one.
func (gs *groups) shared() groups {
	return slices.DeleteFunc(slices.Clone(*gs), func(g *group) bool { return len(g.members) < 2 })
}

func (g *group) names() string { return strings.Join(g.members, ", ") }

// printable keeps a name that a backend sent on one line.
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
