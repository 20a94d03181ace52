package migrate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// lite is LiteLLM's configuration on its way.
type lite struct {
	*Result
	places map[string]int // of a backend, by what distinguishes backends
	weighs []float64      // by backend, before they are made whole numbers

	keys     map[string]string // the setting of a key that is in the file
	settings map[string]bool   // names of settings that are taken
}

// fromLiteLLM reads a proxy's config.yaml.
func fromLiteLLM(r *Result, text []byte) error {
	root, err := parse(text)
	if err != nil {
		return err
	}
	l := &lite{Result: r, places: map[string]int{}, keys: map[string]string{}, settings: map[string]bool{}}
	for _, entry := range root.items("model_list") {
		l.entry(entry)
	}
	l.weights()
	l.wildcards()
	router, settings, general := root.take("router_settings"), root.take("litellm_settings"), root.take("general_settings")
	l.routing(router)
	l.breaker(router, settings)
	l.fallbacks(router)
	l.fallbacks(settings)
	l.aliases(router)
	l.rest(router, litellmHints)
	l.rest(settings, litellmHints)
	l.general(general)
	if env := root.take("environment_variables"); env != nil {
		for _, m := range env.members {
			l.notCarried("%s: set it as an app setting if anything needs it", m.value.path)
		}
	}
	l.rest(root, litellmHints)
	return nil
}

// litellmHints is what becomes of what is not carried over.
var litellmHints = map[string]string{
	"redis_host": "not needed, state is shared through Azure Table Storage", "redis_port": "not needed", "redis_password": "not needed", "redis_url": "not needed", "cache_params": "answers are not cached", "cache": "answers are not cached",
	"num_retries": "not needed, every available backend is tried once", "retry_after": "not needed", "enable_pre_call_checks": "not needed",
	"timeout": "set SPILLWAY_RESPONSE_TIMEOUT", "request_timeout": "set SPILLWAY_RESPONSE_TIMEOUT", "stream_timeout": "set SPILLWAY_FIRST_TOKEN_TIMEOUT",
	"context_window_fallbacks": "a prompt too long for a provisioned backend goes to the next priority group; other models are not tried", "content_policy_fallbacks": "a filtered prompt is never sent elsewhere", "default_fallbacks": "name fallbacks for each model",
	"success_callback": "see the metrics, traces and the log line of each request", "failure_callback": "see the metrics, traces and the log line of each request", "callbacks": "see the metrics, traces and the log line of each request",
	"alerting": "see the alerts in infra/", "drop_params": "requests are passed on unchanged", "database_url": "not needed; keys that LiteLLM made are in its database: make new ones with \"spillway keys add\"",
}

// entry reads one item of model_list.
func (l *lite) entry(entry *value) {
	name := entry.stringAt("model_name")
	params := entry.take("litellm_params")
	provider, deployment := split(params.stringAt("model"))
	if name == "" || params == nil {
		l.notCarried("%s: it has no model_name or no litellm_params", entry.path)
		return
	}
	if provider != "azure" && provider != "openai" {
		l.notCarried("%s: %q is a model of %s, and Spillway speaks to Azure OpenAI and OpenAI-compatible services only", entry.path, name, provider)
		return
	}
	if strings.Contains(name, "*") && name != "*" {
		l.notCarried("%s: the pattern %q; only \"*\" alone stands for any model", entry.path, name)
		return
	}
	if name != "*" {
		name = l.model(name)
	}
	b := l.backend(params, provider)
	at := l.place(b, params, entry, name)
	pairs := &l.Document.Backends[at].Deployments
	if strings.HasSuffix(deployment, "*") {
		deployment = name // "*" for any model, else the model's own name
	}
	*pairs = append(*pairs, jsondoc.Pair{Name: name, Value: deployment})
	l.price(name, params, entry.at("model_info"))
	l.rest(params, litellmParams)
	info := entry.take("model_info")
	info.ignore("id", "mode", "base_model", "version")
	l.rest(info, nil)
	l.rest(entry, nil)
}

// litellmParams is what becomes of parameters of one deployment.
var litellmParams = map[string]string{
	"api_version": "callers say which api-version they speak", "temperature": "requests are passed on unchanged", "max_tokens": "requests are passed on unchanged",
	"timeout": "set SPILLWAY_RESPONSE_TIMEOUT", "stream_timeout": "set firstTokenTimeout of the model", "max_parallel_requests": "limit consumers instead",
	"azure_ad_token": "managed-identity is used instead", "tenant_id": "managed-identity is used instead", "client_id": "managed-identity is used instead", "client_secret": "managed-identity is used instead",
}

// split takes "azure/gpt-4o-eu" apart. A name without a provider is OpenAI's.
func split(model string) (provider, name string) {
	provider, name, ok := strings.Cut(model, "/")
	if !ok {
		return "openai", model
	}
	return provider, name
}

// ignore marks members as looked at: they say nothing that matters here.
func (v *value) ignore(names ...string) {
	for _, name := range names {
		v.take(name)
	}
}

// backend is where the parameters say that requests go.
func (l *lite) backend(params *value, provider string) document.Backend {
	address := params.stringAt("api_base")
	b := backend("", address)
	if provider == "openai" {
		b.Kind = "openai"
		if address == "" {
			b.Endpoint = "https://api.openai.com/v1"
		}
	} else {
		b.Endpoint = base(address)
	}
	if variable, ok := strings.CutPrefix(address, "os.environ/"); ok || b.Endpoint == "" {
		b.Endpoint = placeholder(valueOr(variable, "endpoint"))
		l.changed("%s: the endpoint is in the variable %s: write it into the document", params.path, valueOr(variable, "AZURE_API_BASE"))
	}
	b.Name = hostName(b.Endpoint)
	b.Auth = l.auth(params, &b)
	if order, ok := params.number("order"); ok {
		b.Priority = int(order)
	}
	b.Region = params.stringAt("region_name")
	return b
}

func valueOr(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// auth is how the parameters say that requests are authenticated. A key in the
// file moves to an app setting.
func (l *lite) auth(params *value, b *document.Backend) document.Auth {
	key := params.stringAt("api_key")
	variable, isVariable := strings.CutPrefix(key, "os.environ/")
	switch {
	case isVariable && identifier.MatchString(variable):
		l.set("%s: keep it, it holds the key of %s", variable, b.Endpoint)
		return document.Auth{Mode: "api-key", Setting: variable}
	case key != "" && key != "none" && key != "None":
		if l.keys[key] == "" {
			l.keys[key] = settingName(unique(settingName("AOAI_KEY", b.Name), l.settings))
			l.set("%s: the key of %s, which is in %s.api_key", l.keys[key], b.Endpoint, params.path)
		}
		return document.Auth{Mode: "api-key", Setting: l.keys[key]}
	case b.Kind == "openai":
		return document.Auth{Mode: "none"}
	}
	return document.Auth{Mode: "managed-identity"}
}

// place finds the backend that differs in nothing but its models, or adds it.
// A model that it has already needs a backend of its own.
func (l *lite) place(b document.Backend, params, entry *value, model string) int {
	weight := l.weight(params, entry)
	for n := 0; ; n++ {
		key := fmt.Sprint(b.Endpoint, " ", b.Auth, " ", b.Priority, " ", weight, " ", n, " ", model == document.Wildcard)
		at, ok := l.places[key]
		if !ok {
			at = len(l.Document.Backends)
			l.places[key] = at
			l.weighs = append(l.weighs, weight)
			l.Document.Backends = append(l.Document.Backends, b)
		}
		if !slices.ContainsFunc(l.Document.Backends[at].Deployments, func(p jsondoc.Pair) bool { return p.Name == model }) {
			return at
		}
	}
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

// weight is what LiteLLM shares by: weight, else rpm, else tpm, here or next to
// the parameters. 0 is none of them.
func (l *lite) weight(params, entry *value) float64 {
	var found float64
	for _, name := range []string{"weight", "rpm", "tpm"} {
		for _, v := range []*value{params, entry} {
			n, ok := v.number(name)
			if !ok || n <= 0 {
				continue
			}
			if found == 0 {
				found = n
			}
			if name != "weight" {
				l.changed("%s.%s is a share of the requests now, not a limit: the backend's own 429 is the limit", v.path, name)
			}
		}
	}
	return found
}

// weights makes whole numbers of the shares, the smallest of them at least 1.
func (l *lite) weights() {
	var most float64
	for _, w := range l.weighs {
		most = max(most, w)
	}
	for i, w := range l.weighs {
		switch {
		case w == 0:
		case most > 1000 || w != math.Trunc(w):
			l.Document.Backends[i].Weight = max(1, int(math.Round(w/most*1000)))
		default:
			l.Document.Backends[i].Weight = int(w)
		}
	}
}
