package migrate

import (
	"slices"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// fromPowerProxy reads PowerProxy's config.yaml, or the same as JSON.
func fromPowerProxy(r *Result, text []byte) error {
	root, err := r.parse(text)
	if err != nil {
		return err
	}
	aoai := root.take("aoai")
	endpoints := aoai.items("endpoints")
	if aoai.at("endpoint") != nil {
		endpoints = append(endpoints, aoai)
	}
	auth := powerIdentity(root)
	priority := 1
	for _, e := range endpoints {
		priority = r.powerEndpoint(e, auth, priority)
	}
	r.rest(aoai, map[string]string{"mock_response": "see \"spillway simulate\""})
	for _, client := range root.items("clients") {
		r.powerClient(client)
	}
	r.powerPlugins(root)
	if id := root.stringAt("user_assigned_managed_identity_client_id"); id != "" {
		r.set("AZURE_CLIENT_ID: the client id of the app's identity")
	}
	r.rest(root, map[string]string{
		"fixed_client":          "a consumer is known by its key or its token",
		"azure_subscription_id": "see infra/", "region": "see infra/", "resource_group": "see infra/", "unique_prefix": "see infra/",
	})
	return nil
}

// powerEndpoint adds one endpoint: one backend, or as many as it has stand-ins
// for one deployment. Endpoints are tried in the order of the file, and so are
// stand-ins. It returns the priority that comes next.
func (r *Result) powerEndpoint(e *value, identity document.Auth, priority int) int {
	written := valueOr(e.stringAt("url"), e.stringAt("endpoint"))
	address := base(written)
	name := plainName(valueOr(e.stringAt("name"), hostName(address)))
	b := backend(name, valueOr(address, placeholder(name)))
	if address == "" {
		r.ask(b.Endpoint, "%s has no url: give --endpoint %s=URL, or write its endpoint into the document", e.path, b.Name)
	}
	b.Auth = r.powerAuth(e, &b, identity)
	r.fraction(e, "every request takes the backend by priority; use priority and weight instead")
	standins := e.items("virtual_deployments")
	steps := 1
	for _, v := range standins {
		steps = max(steps, len(v.at("standins").all()))
	}
	for step := range steps {
		each := b
		each.Priority = priority + step
		if steps > 1 {
			each.Name = plainName(name + "-" + []string{"first", "second", "third"}[min(step, 2)])
		}
		each.Deployments = r.addStandIns(standins, step)
		r.toItsDeployment(e.path, written, &each)
		r.Document.Backends = append(r.Document.Backends, each)
	}
	if e.at("clients") == nil {
		r.rest(e, map[string]string{"connections": "set SPILLWAY_RESPONSE_TIMEOUT and SPILLWAY_FIRST_TOKEN_TIMEOUT; connections are looked after"})
	}
	return priority + steps
}

func (v *value) all() []*value {
	if v == nil {
		return nil
	}
	return v.list
}

// addStandIns is the deployments of the nth backend of an endpoint. Only the
// first passes other names on, as the endpoint did.
func (r *Result) addStandIns(virtual []*value, n int) jsondoc.Pairs {
	if len(virtual) == 0 {
		return nil
	}
	pairs := jsondoc.Pairs{}
	for _, v := range virtual {
		model := r.model(v.stringAt("name"))
		items := v.items("standins")
		if n < len(items) {
			pairs = append(pairs, jsondoc.Pair{Name: model, Value: items[n].stringAt("name")})
			r.fraction(items[n], "requests take the stand-ins in order; use weight instead")
			r.rest(items[n], nil)
		}
		r.rest(v, nil)
	}
	if n == 0 {
		pairs = append(pairs, jsondoc.Pair{Name: "*", Value: "*"})
	}
	return pairs
}

// fraction lists endpoints that took a part of the requests only.
func (r *Result) fraction(v *value, instead string) {
	if f, ok := v.number("non_streaming_fraction"); ok && f != 1 {
		r.notCarried("%s.non_streaming_fraction: %s", v.path, instead)
	}
}

// powerIdentity is how endpoints without a key are called: for clients with keys
// by PowerProxy's own identity, else by the token that the client brought.
func powerIdentity(root *value) document.Auth {
	for _, client := range root.at("clients").all() {
		if client.at("key") != nil {
			return document.Auth{Mode: "managed-identity"}
		}
	}
	return document.Auth{Mode: "pass-through"}
}

func (r *Result) powerAuth(e *value, b *document.Backend, identity document.Auth) document.Auth {
	if key := e.stringAt("key"); key != "" {
		setting := r.keySetting(key, "AOAI_KEY", b.Name)
		r.keyIn(setting, "the key in %s.key", e.path)
		return document.Auth{Mode: "api-key", Setting: setting}
	}
	if identity.Mode == "pass-through" {
		r.changed("%s has no key: the callers' own Entra tokens are passed through, as before; managed-identity needs no token from them", e.path)
	} else {
		r.byIdentity(b.Endpoint, "%s has no key: the app's identity calls it for everybody, also for callers who bring a token; write pass-through into auth.mode if all of them do", e.path)
	}
	return identity
}

// powerClient adds one consumer.
func (r *Result) powerClient(client *value) {
	name := client.stringAt("name")
	c := consumer(plainName(name))
	if plainName(name) != name {
		r.changed("the client %q is the consumer %q now", name, c.Name)
	}
	key, byToken := client.stringAt("key"), client.stringAt("uses_entra_id_auth") == "true"
	if key != "" || byToken {
		c.KeySetting = r.keySetting("", name, "KEY")
	}
	if key != "" {
		r.callersKey(c.KeySetting, key)
		r.keyIn(c.KeySetting, "the key in %s.key", client.path)
	}
	if byToken {
		r.notCarried("%s.uses_entra_id_auth: give each application a consumer with its entra.appId, and add entra to SPILLWAY_AUTH; until then %q can only come with a key", client.path, c.Name)
		r.set("%s: a key that you make, for %s, as long as it has no entra.appId", c.KeySetting, client.path)
	}
	for _, model := range client.stringsAt("deployments_allowed") {
		c.Models = append(c.Models, r.model(model))
	}
	r.powerLimits(client, &c)
	r.rest(client, nil)
	r.Document.Consumers = append(r.Document.Consumers, c)
}

// powerLimits reads thousands of tokens a minute, for all models or for each.
func (r *Result) powerLimits(client *value, c *document.Consumer) {
	const name = "max_tokens_per_minute_in_k"
	limits := client.take(name)
	if limits == nil {
		return
	}
	if n, ok := client.number(name); ok {
		c.TokensPerMinute = thousands(n)
		return
	}
	c.PerModel = map[string]document.Limits{}
	for _, m := range limits.members {
		n, ok := limits.number(m.name)
		if !ok || n <= 0 {
			r.notCarried("%s: it is no number", m.value.path)
			continue
		}
		model := r.model(m.name)
		if len(c.Models) > 0 && !slices.Contains(c.Models, model) {
			r.notCarried("%s: the client may not use %q", m.value.path, model)
			continue
		}
		c.PerModel[model] = document.Limits{TokensPerMinute: thousands(n)}
	}
}

func thousands(n float64) int64 { return max(1, int64(n*1000+0.5)) }

// powerPlugins reports what became of the plugins.
func (r *Result) powerPlugins(root *value) {
	enabled := map[string]bool{}
	for _, plugin := range root.items("plugins") {
		name := plugin.stringAt("name")
		enabled[name] = true
		switch {
		case name == "AllowDeployments" || name == "LimitUsage":
			r.rest(plugin, map[string]string{"redis": "not needed, quotas are shared through Azure Table Storage"})
		case strings.HasPrefix(name, "LogUsage"):
			r.notCarried("%s: %s: usage is kept by itself, see \"spillway usage\"", plugin.path, name)
		default:
			r.notCarried("%s: the plugin %s", plugin.path, name)
		}
	}
	for i := range r.Document.Consumers {
		c := &r.Document.Consumers[i]
		if !enabled["AllowDeployments"] && c.Models != nil {
			r.changed("consumer %q may only use its models now; the plugin AllowDeployments was off", c.Name)
		}
		if !enabled["LimitUsage"] && (c.TokensPerMinute > 0 || c.PerModel != nil) {
			r.changed("consumer %q is limited now; the plugin LimitUsage was off", c.Name)
		}
	}
}
