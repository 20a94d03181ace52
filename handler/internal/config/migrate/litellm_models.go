package migrate

import (
	"slices"
	"strconv"
	"time"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// entryFor is the document's entry for a model, made when there is none.
func (r *Result) entryFor(name string) *document.Model {
	for i := range r.Document.Models {
		if r.Document.Models[i].Name == name {
			return &r.Document.Models[i]
		}
	}
	var m document.Model
	jsondoc.SetDefaults(&m)
	m.Name = name
	r.Document.Models = append(r.Document.Models, m)
	return &r.Document.Models[len(r.Document.Models)-1]
}

// serves reports whether a backend serves the model by name.
func (r *Result) serves(name string) bool {
	for _, b := range r.Document.Backends {
		for _, pair := range b.Deployments {
			if pair.Name == name {
				return true
			}
		}
	}
	return false
}

// price reads costs per token, which are kept per million.
func (l *lite) price(name string, places ...*value) {
	for _, v := range places {
		input, hasInput := v.number("input_cost_per_token")
		output, hasOutput := v.number("output_cost_per_token")
		cached, _ := v.number("cache_read_input_token_cost")
		if !hasInput && !hasOutput {
			continue
		}
		m := l.entryFor(name)
		price := document.Price{Currency: "USD", Input: million(input), CachedInput: million(cached), Output: million(output)}
		if m.Price != nil && *m.Price != price {
			l.changed("%s: %q has one price for all its backends now, the first that was given", v.path, name)
			continue
		}
		m.Price = &price
	}
}

// million is a price per million, without the dust of the multiplication.
func million(perToken float64) float64 {
	return float64(int64(perToken*1e12+0.5)) / 1e6
}

// routing carries the strategy over to every model.
func (l *lite) routing(router *value) {
	name := router.stringAt("routing_strategy")
	strategy, ok := map[string]string{
		"": "weighted", "simple-shuffle": "weighted", "least-busy": "least-busy", "latency-based-routing": "lowest-latency",
	}[name]
	if !ok {
		l.changed("router_settings.routing_strategy %q is weighted now", name)
		return
	}
	if args := router.take("routing_strategy_args"); args != nil {
		l.rest(args, map[string]string{"lowest_latency_buffer": "see latencySensitivity of the model"})
	}
	if strategy == "weighted" {
		return
	}
	for _, b := range l.Document.Backends {
		for _, pair := range b.Deployments {
			l.entryFor(pair.Name).Strategy = strategy
		}
	}
}

// breaker carries over when a deployment is left alone. LiteLLM counts within
// a minute.
func (l *lite) breaker(places ...*value) {
	b := &l.Document.CircuitBreaker
	for _, v := range places {
		if n, ok := v.number("allowed_fails"); ok && n >= 0 && n < 1e6 {
			b.Failures, b.Interval = int(n)+1, jsondoc.Duration(time.Minute)
			l.changed("%s.allowed_fails opens a circuit only where the failures are %d %% of the answers or came in a row, and 429 is none of them", v.path, b.Percentage)
		}
		if n, ok := v.number("cooldown_time"); ok && n > 0 && n <= 3600 {
			b.TripDuration = jsondoc.Duration(n * float64(time.Second))
			b.MaxTripDuration = max(b.MaxTripDuration, b.TripDuration)
			l.changed("%s.cooldown_time is for failures; after a 429 a backend is skipped for as long as its answer asks", v.path)
		}
	}
}

// fallbacks reads [{model: [others]}].
func (l *lite) fallbacks(from *value) {
	for _, item := range from.items("fallbacks") {
		for _, m := range item.members {
			name := l.model(m.name)
			if !l.serves(name) {
				l.notCarried("%s: no backend serves %q", m.value.path, m.name)
				continue
			}
			for _, other := range item.stringsAt(m.name) {
				l.fallback(name, l.model(other), m.value.path)
			}
		}
	}
}

func (l *lite) fallback(from, to, path string) {
	switch {
	case !l.serves(to):
		l.notCarried("%s: no backend serves %q", path, to)
	case from == to || l.fallsBackTo(to, from, 0):
		l.notCarried("%s: %q falls back to %q again: a circle", path, to, from)
	default:
		m := l.entryFor(from)
		m.Fallbacks = append(m.Fallbacks, to)
	}
}

func (l *lite) fallsBackTo(from, to string, depth int) bool {
	if from == to {
		return true
	}
	for i := range l.Document.Models {
		if m := &l.Document.Models[i]; m.Name == from && depth < 64 {
			for _, next := range m.Fallbacks {
				if l.fallsBackTo(next, to, depth+1) {
					return true
				}
			}
		}
	}
	return false
}

// aliases reads {alias: model} and {alias: {model, hidden}}.
func (l *lite) aliases(router *value) {
	groups := router.take("model_group_alias")
	if groups == nil {
		return
	}
	for _, group := range groups.members {
		target := group.value.text
		if group.value.isMap {
			target = group.value.stringAt("model")
			if group.value.stringAt("hidden") == "true" {
				l.changed("%s: the alias is not hidden in the list of models", group.value.path)
			}
			l.rest(group.value, nil)
		}
		target = l.model(target)
		switch alias := l.model(group.name); {
		case !l.serves(target):
			l.notCarried("%s: no backend serves %q", group.value.path, target)
		case l.serves(alias):
			l.notCarried("%s: %q is a model already", group.value.path, alias)
		default:
			m := l.entryFor(target)
			m.Aliases = append(m.Aliases, alias)
		}
	}
}

// general reads general_settings.
func (l *lite) general(general *value) {
	key := general.stringAt("master_key")
	others := l.otherCallers(general)
	if key == "" && !others {
		l.changed("anyone could call the proxy: add consumers, or set SPILLWAY_AUTH to none")
	}
	if key != "" {
		name, ok := variableIn(key)
		if !ok || !identifier().MatchString(name) {
			name = l.keySetting("", "LITELLM_MASTER_KEY")
			l.callersKey(name, key)
		}
		c := consumer("master")
		c.KeySetting = name
		l.Document.Consumers = append(l.Document.Consumers, c)
		l.set("%s: the key in general_settings.master_key, which is the consumer \"master\" now; operators have SPILLWAY_OPERATOR_KEY", name)
	}
	l.rest(general, litellmHints)
}

// otherCallers reports how callers came without a key of the file: by a token, or
// by a check of their own.
func (l *lite) otherCallers(general *value) bool {
	others := false
	for _, name := range []string{"enable_jwt_auth", "enable_oauth2_auth"} {
		if general.stringAt(name) == "true" {
			others = true
			l.set("SPILLWAY_AUTH: key,entra, for general_settings.%s; also SPILLWAY_ENTRA_TENANT and SPILLWAY_ENTRA_AUDIENCE", name)
			l.changed("general_settings.%s: callers came with a token: give each application a consumer with its entra.appId, group or role; other issuers than Entra ID are not accepted", name)
		}
	}
	for _, name := range []string{"custom_auth", "litellm_jwtauth", "database_url"} {
		others = others || general.at(name) != nil
	}
	return others
}

// wildcards puts backends for "*" behind all others: LiteLLM sends only models
// without an entry there, Spillway every model that nothing else can serve.
func (l *lite) wildcards() {
	last := 0
	for i := range l.Document.Backends {
		if b := &l.Document.Backends[i]; !wildcard(b) {
			last = max(last, b.Priority)
		}
	}
	for i := range l.Document.Backends {
		b := &l.Document.Backends[i]
		if !wildcard(b) {
			continue
		}
		if b.Priority <= last {
			b.Priority = min(last+1, 1000)
		}
		l.changed("%s serves models without an entry, as before, and also every other model when all of its backends are exhausted: remove its backend for \"*\" if that must not be", b.Endpoint)
	}
}

func wildcard(b *document.Backend) bool {
	return slices.ContainsFunc(b.Deployments, func(p jsondoc.Pair) bool { return p.Name == document.Wildcard })
}

// shares gives each entry its weight, as LiteLLM's simple-shuffle does: the first
// entry of a model and an order says whether they share by weight, by rpm or by
// tpm. Other strategies do not share by any of them.
func (l *lite) shares(strategy string) {
	type group struct {
		model    string
		priority int
	}
	groups := map[group][]*liteEntry{}
	for _, e := range l.entries {
		g := group{e.model, e.backend.Priority}
		groups[g] = append(groups[g], e)
	}
	for _, e := range l.entries {
		g := group{e.model, e.backend.Priority}
		if entries := groups[g]; entries != nil {
			l.share(entries, strategy == "" || strategy == "simple-shuffle")
			delete(groups, g)
		}
	}
}

func (l *lite) share(group []*liteEntry, shuffles bool) {
	by := ""
	for _, name := range []string{"tpm", "rpm", "weight"} {
		if _, ok := number(name, group[0].params, group[0].value); ok {
			by = name
		}
	}
	if by == "" || !shuffles || len(group) == 1 {
		return
	}
	given := make([]float64, len(group))
	for i, e := range group {
		n, ok := number(by, e.params, e.value)
		if !ok || n <= 0 {
			l.changed("%s has no %s, which the others of %q share by: it has the weight 1", e.path, by, e.model)
			n = 0
		}
		given[i] = n
	}
	for i, n := range scaled(given) {
		group[i].weight = max(n, 1)
		if by != "weight" {
			l.changed("%s: %q shares its requests by %s in LiteLLM: this backend has the weight %d now", group[i].path, group[i].model, by, group[i].weight)
		} else if float64(group[i].weight) != given[i] {
			l.changed("%s: its weight is %d now, the same share in whole numbers", group[i].path, group[i].weight)
		}
	}
	for _, e := range group {
		if by == "weight" {
			e.params.take(by)
			e.take(by)
		}
	}
}

// number is the first of the values that has this member as a number. It does not
// count as read.
func number(name string, places ...*value) (float64, bool) {
	for _, v := range places {
		if n, err := strconv.ParseFloat(v.at(name).scalar(), 64); err == nil {
			return n, true
		}
	}
	return 0, false
}
