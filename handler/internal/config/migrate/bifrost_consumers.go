package migrate

import (
	"slices"

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
	models, ok := b.allowed(key)
	if !ok {
		b.notCarried("%s: none of the models it may use is served", key.path)
		return
	}
	c.Models = models
	switch text, variable := envText(key.take("value")); {
	case variable != "":
		c.KeySetting = variable
		b.set("%s: keep it, it holds the key of consumer %q", variable, c.Name)
	case text != "":
		c.KeySetting = settingName(c.Name, "KEY")
		b.set("%s: the key in %s.value", c.KeySetting, key.path)
	default:
		c.KeySetting = settingName(c.Name, "KEY")
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
		b.notCarried("%s: a consumer is not bound to a provider or to keys; set minPriority or geographies", p.path)
		for _, model := range p.stringsAt("allowed_models") {
			all, named = all || model == "*", true
			if model = b.model(model); b.serves(model) && !slices.Contains(models, model) {
				models = append(models, model)
			}
		}
	}
	if all || !named {
		return nil, true
	}
	return models, len(models) > 0
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
