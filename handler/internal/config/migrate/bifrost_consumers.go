package migrate

import (
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
)

// consumers makes a consumer of each virtual key.
func (b *bifrost) consumers(governance *value) {
	keys := governance.items("virtual_keys")
	for _, key := range keys {
		b.consumer(governance, key)
	}
	if len(keys) == 0 {
		b.changed("there is no virtual key: add consumers, or set SPILLWAY_AUTH to none")
	}
	for _, list := range []string{"rate_limits", "budgets"} {
		for _, item := range governance.items(list) {
			if !b.named[item.at("id").scalar()] {
				b.notCarried("%s: no virtual key names it", item.path)
			}
		}
	}
	b.rest(governance, map[string]string{"auth_config": "operators have SPILLWAY_OPERATOR_KEY", "customers": "set budgetPerMonth of consumers", "teams": "set budgetPerMonth of consumers", "routing_rules": "see priority, weight and fallbacks"})
}

func (b *bifrost) consumer(governance, key *value) {
	if key.stringAt("is_active") == "false" {
		b.notCarried("%s: it is not active", key.path)
		return
	}
	c := consumer(plainName(valueOr(key.stringAt("name"), key.stringAt("id"))))
	key.ignore("id", "name", "description")
	fence := b.fence(key)
	models, ok := b.allowed(key)
	if !ok || fence != nil && len(fence) == 0 {
		b.notCarried("%s: none of the models or keys that it may use is carried over", key.path)
		return
	}
	c.Models = models
	b.bind(&c, fence)
	switch text, variable := envText(key.take("value")); {
	case variable != "":
		c.KeySetting = variable
		b.set("%s: keep it, it holds the key of consumer %q", variable, c.Name)
	case text != "":
		c.KeySetting = b.keySetting("", c.Name, "KEY")
		b.set("%s: the key in %s.value", c.KeySetting, key.path)
		b.callersKey(c.KeySetting, text)
	default:
		c.KeySetting = b.keySetting("", c.Name, "KEY")
		b.set("%s: a key that you make: %s has none in the file", c.KeySetting, key.path)
	}
	b.limits(governance, key, &c)
	b.rest(key, bifrostHints)
	b.Document.Consumers = append(b.Document.Consumers, c)
}

// allowed are the models of a virtual key, nil when it names none. ok is false when
// it names some and none of them is served.
func (b *bifrost) allowed(key *value) (models []string, ok bool) {
	all, named := false, false
	for _, p := range key.items("provider_configs") {
		for _, model := range p.stringsAt("allowed_models") {
			named = true
			if model == "*" {
				all = true
			} else if model = b.model(model); b.serves(model) && !slices.Contains(models, model) {
				models = append(models, model)
			}
		}
		b.rest(p, bifrostHints)
	}
	if all || !named {
		return nil, true
	}
	return models, len(models) > 0
}

// fence are the backends that a virtual key may use, nil when it may use all.
func (b *bifrost) fence(key *value) []int {
	configs := key.items("provider_configs")
	fence := []int{}
	for i, k := range b.keys {
		if slices.ContainsFunc(configs, func(p *value) bool { return k.within(p) }) {
			fence = append(fence, i)
		}
	}
	if len(configs) == 0 || len(fence) == len(b.keys) {
		return nil
	}
	return fence
}

// within reports whether a provider's part of a virtual key allows the key.
func (k bifrostKey) within(p *value) bool {
	ids := slices.Concat(p.stringsAt("key_ids"), p.stringsAt("allowed_keys"))
	mine := len(ids) == 0 || slices.Contains(ids, "*") || slices.Contains(ids, k.id) || slices.Contains(ids, k.name)
	return p.stringAt("provider") == k.provider && mine
}

// bind keeps a consumer to its backends, each of which has a geography of its own.
func (b *bifrost) bind(c *document.Consumer, fence []int) {
	var names []string
	for _, i := range fence {
		d := &b.Document.Backends[i]
		if d.Geography == "" {
			d.Geography = "key-" + strconv.Itoa(i+1)
		}
		c.Geographies, names = append(c.Geographies, d.Geography), append(names, d.Name)
	}
	if fence != nil {
		b.changed("consumer %q only reaches %s, as before: each has a geography for it, which you may rename", c.Name, strings.Join(names, ", "))
	}
}

// limits reads the rate limit of a virtual key, which is in it or in a list of
// governance. Periods other than a minute are listed, and so are budgets, which
// need prices.
func (b *bifrost) limits(governance, key *value, c *document.Consumer) {
	for _, l := range []*value{key.take("rate_limit"), b.byID(governance.at("rate_limits"), key.stringAt("rate_limit_id"))} {
		c.TokensPerMinute = max(c.TokensPerMinute, b.perMinute(l, "token", c.Name))
		c.RequestsPerMinute = max(c.RequestsPerMinute, b.perMinute(l, "request", c.Name))
		l.ignore("id")
		b.rest(l, nil)
	}
	for _, l := range []*value{key.take("budget"), b.byID(governance.at("budgets"), key.stringAt("budget_id"))} {
		if most := l.stringAt("max_limit"); most != "" {
			b.notCarried("%s: the budget of %s each %s: set budgetPerMonth of consumer %q, and prices under models", l.path, most, l.stringAt("reset_duration"), c.Name)
		}
		l.ignore("id")
		b.rest(l, nil)
	}
}

// perMinute is a limit of tokens or requests.
func (b *bifrost) perMinute(limit *value, what, name string) int64 {
	most, ok := limit.number(what + "_max_limit")
	every := limit.stringAt(what + "_reset_duration")
	switch {
	case !ok || most <= 0:
		return 0
	case every != "1m":
		b.notCarried("%s: %.0f %ss each %s, of consumer %q: limits are per minute", limit.path, most, what, every, name)
		return 0
	}
	return int64(most)
}

// byID is the item of a list with that id.
func (b *bifrost) byID(list *value, id string) *value {
	for _, item := range list.all() {
		if id != "" && item.at("id").scalar() == id {
			b.named[id] = true
			return item
		}
	}
	return nil
}
