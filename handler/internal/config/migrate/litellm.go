package migrate

import (
	"fmt"
	"slices"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// lite is the state of one import of LiteLLM's configuration.
type lite struct {
	*Result
	entries     []*liteEntry
	places      map[string]int    // of a backend, by what distinguishes backends
	credentials map[string]*value // credential_list, by name
	identity    bool              // enable_azure_ad_token_refresh is on
	env         *value            // environment_variables
}

// liteEntry is one item of model_list that can be carried over.
type liteEntry struct {
	*value
	params, info *value
	model        string // as callers name it
	deployment   string
	backend      document.Backend
	weight       int // 0 = none was given
}

// fromLiteLLM reads a proxy's config.yaml.
func fromLiteLLM(r *Result, text []byte) error {
	root, err := r.parse(text)
	if err != nil {
		return err
	}
	router, settings, general := root.take("router_settings"), root.take("litellm_settings"), root.take("general_settings")
	l := &lite{Result: r, places: map[string]int{}, credentials: map[string]*value{}, env: root.take("environment_variables")}
	for _, c := range root.items("credential_list") {
		l.credentials[c.stringAt("credential_name")] = c.take("credential_values")
		l.rest(c, map[string]string{"credential_info": "it describes the credential"})
	}
	l.identity = settings.stringAt("enable_azure_ad_token_refresh") == "true"
	for _, entry := range root.items("model_list") {
		l.entry(entry)
	}
	l.shares(router.at("routing_strategy").scalar())
	for _, e := range l.entries {
		l.place(e)
	}
	l.wildcards()
	l.routing(router)
	l.breaker(router, settings)
	l.fallbacks(router)
	l.fallbacks(settings)
	l.aliases(router)
	l.rest(router, litellmHints)
	l.rest(settings, litellmHints)
	l.general(general)
	if l.env != nil {
		for _, m := range l.env.members {
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
	"include": "import those files too, and put the documents together", "store_model_in_db": "models in LiteLLM's database are not in this file",
}

// entry reads one item of model_list.
func (l *lite) entry(entry *value) {
	params := entry.take("litellm_params")
	name, provider, deployment, reason := l.target(entry, params)
	if reason != "" {
		l.notCarried("%s: %s", entry.path, reason)
		return
	}
	changed := len(l.Changed)
	b, address := l.backend(params, provider)
	usable := l.usable(entry.path, &b)
	if usable {
		b.Auth, usable = l.auth(params, provider, &b)
	}
	if !usable {
		l.Changed = l.Changed[:changed] // there is no such backend
		return
	}
	if own := deploymentIn(address); own != "" && provider == "azure" && own != deployment {
		l.changed("%s.api_base names the deployment %q: requests for %q go there, as before", params.path, own, name)
		deployment = own
	}
	if strings.HasSuffix(deployment, "*") {
		deployment = name // "*" for any model, else the model's own name
	}
	e := &liteEntry{value: entry, params: params, info: entry.take("model_info"), model: name, deployment: deployment, backend: b}
	l.entries = append(l.entries, e)
	l.price(name, params, e.info)
	l.rest(e.info, litellmInfo)
}

// target is what an entry sends where: the model as callers name it, and the
// deployment at its provider. The reason, if any, is why there can be no backend
// for it.
func (l *lite) target(entry, params *value) (name, provider, deployment, reason string) {
	if name = entry.stringAt("model_name"); name == "" || params == nil {
		return "", "", "", "it has no model_name or no litellm_params"
	}
	if !l.withCredential(params) {
		return "", "", "", "its litellm_credential_name is not in credential_list: what LiteLLM keeps in its database is not in the file"
	}
	model, known := l.resolve(params.stringAt("model"))
	if !known {
		return "", "", "", "its model is in a variable: set it and import again"
	}
	if provider, deployment, reason = l.provider(params, model); reason != "" {
		return "", "", "", reason
	}
	if name == "*" {
		return name, provider, deployment, ""
	}
	if strings.Contains(name, "*") {
		return "", "", "", fmt.Sprintf("the pattern %q; only \"*\" alone stands for any model", name)
	}
	return l.model(name), provider, deployment, ""
}

// litellmParams is what becomes of parameters of one deployment.
var litellmParams = map[string]string{
	"api_version": "callers say which api-version they speak", "temperature": "requests are passed on unchanged", "max_tokens": "requests are passed on unchanged",
	"timeout": "set SPILLWAY_RESPONSE_TIMEOUT", "stream_timeout": "set firstTokenTimeout of the model", "max_parallel_requests": "limit consumers instead",
	"azure_ad_token": "managed-identity is used instead", "tenant_id": "managed-identity is used instead", "client_id": "managed-identity is used instead", "client_secret": "managed-identity is used instead",
	"weight": "it is the only one of its model",
	"rpm":    "as a limit: a backend's own 429 is its limit; limit consumers by requestsPerMinute", "tpm": "as a limit: a backend's own 429 is its limit; limit consumers by tokensPerMinute",
	"max_retries": "not needed, every available backend is tried once", "num_retries": "not needed, every available backend is tried once", "drop_params": "requests are passed on unchanged", "additional_drop_params": "requests are passed on unchanged",
}

// litellmInfo is what becomes of the facts about one deployment.
var litellmInfo = map[string]string{
	"id": "a backend is known by its name", "mode": "the path of a request says what it is for", "base_model": "prices stand under models; \"spillway validate --live\" looks at the deployed versions", "version": "\"spillway validate --live\" looks at the deployed versions",
	"max_tokens": "the service's own limit holds", "max_input_tokens": "the service's own limit holds", "max_output_tokens": "the service's own limit holds", "access_groups": "set models of consumers",
}

// compatible are the providers that speak OpenAI's own dialect at an address of
// their own, with the variable that holds the key of entries without one.
var compatible = map[string]string{
	"openai": "OPENAI_API_KEY", "custom_openai": "OPENAI_API_KEY", "text-completion-openai": "OPENAI_API_KEY", "openai_like": "OPENAI_LIKE_API_KEY",
	"hosted_vllm": "HOSTED_VLLM_API_KEY", "lm_studio": "LM_STUDIO_API_KEY", "llamafile": "LLAMAFILE_API_KEY", "litellm_proxy": "LITELLM_PROXY_API_KEY",
}

// openAIsOwn are names that LiteLLM knows as OpenAI's when no provider is named.
var openAIsOwn = lazily(`^(gpt-([345]|image|audio|realtime|4o)|chatgpt-|o[134](-|$)|text-embedding-(ada|3)|(text|omni)-moderation|dall-e|whisper-|tts-1|davinci-002|babbage-002|codex-|computer-use-|ft:(gpt|davinci|babbage))`)

// provider takes "azure/gpt-4o-eu" apart. The reason, if any, is why there can be
// no backend for it.
func (l *lite) provider(params *value, model string) (provider, name, reason string) {
	provider, name, named := strings.Cut(model, "/")
	if own := params.stringAt("custom_llm_provider"); own != "" {
		provider, name, named = own, strings.TrimPrefix(model, own+"/"), true
	}
	switch _, speaks := compatible[provider]; {
	case model == "":
		return "", "", "it has no model"
	case model == "*":
		return "", "", "\"*\" is any model of any provider: write openai/* if OpenAI's are meant"
	case named && name == "":
		return "", "", fmt.Sprintf("%q names no model", model)
	case !named && openAIsOwn().MatchString(model):
		return "openai", model, ""
	case !named:
		return "", "", fmt.Sprintf("%q names no provider, and is none of OpenAI's models: write openai/ or azure/ before it if it is served so", model)
	case provider == "azure_ai":
		return "", "", fmt.Sprintf("%q is called by Foundry's model inference API; if the resource serves it at /openai too, add a backend with the resource's endpoint", model)
	case provider != "azure" && !speaks:
		return "", "", fmt.Sprintf("%q is a model of %s, and Spillway sends to Azure OpenAI and to services that speak OpenAI's dialect only", model, provider)
	}
	if name = l.prefix(params.path, provider, name); provider == "azure" && strings.Contains(name, "/") && !strings.HasSuffix(name, "*") {
		return "", "", fmt.Sprintf("%q: a deployment of Azure OpenAI has no \"/\" in its name", name)
	}
	return provider, name, ""
}

// prefix removes what LiteLLM writes before the name of a deployment to choose how
// it translates requests.
func (l *lite) prefix(path, provider, name string) string {
	kind, rest, ok := strings.Cut(name, "/")
	switch {
	case !ok || provider != "azure" && provider != "openai":
		return name
	case kind == "responses":
		l.changed("%s: LiteLLM turned chat completions for %q into responses; requests are passed on unchanged, so callers send responses themselves", path, rest)
		return rest
	case kind == "chat_completions":
		l.changed("%s: LiteLLM turned responses for %q into chat completions; requests are passed on unchanged", path, rest)
		return rest
	case provider == "azure" && (kind == "o_series" || kind == "gpt5_series"):
		l.changed("%s: LiteLLM adapted the parameters for %q (%s); requests are passed on unchanged, so callers send what the model takes", path, rest, kind)
		return rest
	}
	return name
}

// variableIn is the variable that a text names: os.environ/NAME, or ${NAME} in a file
// that is filled in before LiteLLM reads it.
func variableIn(text string) (name string, ok bool) {
	if name, ok = strings.CutPrefix(text, "os.environ/"); ok {
		return name, true
	}
	name, ok = strings.CutPrefix(text, "${")
	name, closed := strings.CutSuffix(name, "}")
	return name, ok && closed && identifier().MatchString(name)
}

// resolve is a text, or what the variable holds that it names.
// known is false when it names one that nobody has set.
func (l *lite) resolve(text string) (resolved string, known bool) {
	variable, ok := variableIn(text)
	if !ok {
		return text, true
	}
	resolved = valueOr(l.env.at(variable).scalar(), l.getenv(variable))
	return resolved, resolved != ""
}

// backend is where the parameters say that requests go, without its auth; address
// is that place as it is written.
func (l *lite) backend(params *value, provider string) (b document.Backend, address string) {
	written := params.stringAt("api_base")
	if written == "" {
		written = params.stringAt("base_url")
	}
	if written == "" && provider == "azure" {
		written = "os.environ/AZURE_API_BASE"
	}
	known := false
	address, known = l.resolve(written)
	b = backend("", strings.TrimRight(address, "/"))
	if provider == "azure" {
		b.Endpoint = base(address)
	} else {
		b.Kind = "openai"
	}
	switch {
	case b.Endpoint == "" && known && (provider == "openai" || provider == "text-completion-openai"):
		b.Endpoint = "https://api.openai.com/v1"
		l.changed("%s has no api_base: it goes to %s, as LiteLLM has it unless OPENAI_API_BASE is set", params.path, b.Endpoint)
	case b.Endpoint == "":
		variable, _ := variableIn(written)
		variable = valueOr(variable, strings.ToUpper(provider)+"_API_BASE")
		b.Endpoint = placeholder(variable)
		l.ask(b.Endpoint, "%s: the endpoint is in the variable %s: set it and import again, or give --endpoint", params.path, variable)
	case provider == "azure" && b.Endpoint != strings.TrimRight(address, "/"):
		l.changed("%s.api_base: the endpoint is %s: what follows is up to each request", params.path, b.Endpoint)
	}
	b.Name = hostName(b.Endpoint)
	if order, ok := params.number("order"); ok {
		b.Priority = min(max(int(order), 0), 1000)
	}
	b.Region = params.stringAt("region_name")
	return b, address
}

// withCredential adds what a named credential holds and the parameters do not. It
// is false where the file does not have the credential.
func (l *lite) withCredential(params *value) bool {
	name := params.stringAt("litellm_credential_name")
	if name == "" {
		return true
	}
	credential := l.credentials[name]
	if credential == nil {
		return false
	}
	for _, m := range credential.members {
		if params.index(m.name) < 0 {
			params.members = append(params.members, m)
		}
	}
	return true
}

func valueOr(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// place finds the backend that differs in nothing but its models, or adds it.
// A model that it has already needs a backend of its own.
func (l *lite) place(e *liteEntry) {
	b := e.backend
	for n := 0; ; n++ {
		key := fmt.Sprint(b.Endpoint, " ", b.Auth, " ", b.Priority, " ", b.Region, " ", e.weight, " ", n, " ", e.model == document.Wildcard)
		at, ok := l.places[key]
		if !ok {
			at = len(l.Document.Backends)
			l.places[key] = at
			if e.weight > 0 {
				b.Weight = e.weight
			}
			l.Document.Backends = append(l.Document.Backends, b)
		}
		pairs := &l.Document.Backends[at].Deployments
		if !slices.ContainsFunc(*pairs, func(p jsondoc.Pair) bool { return p.Name == e.model }) {
			*pairs = append(*pairs, jsondoc.Pair{Name: e.model, Value: e.deployment})
			break
		}
	}
	l.rest(e.params, litellmParams)
	l.rest(e.value, litellmParams)
}
