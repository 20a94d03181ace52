package migrate

import (
	"fmt"
	"slices"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// bifrost is the state of one import of Bifrost's configuration.
type bifrost struct {
	*Result
	version string
	shares  map[int]float64 // by backend, before they are made whole numbers
	keys    []bifrostKey    // of the backends, in their order
	named   map[string]bool // ids of limits and budgets that a virtual key names
}

// bifrostKey is what virtual keys call a backend by.
type bifrostKey struct{ provider, id, name string }

// bifrostOpenAI are the providers of Bifrost that speak OpenAI's dialect at an
// address of their own, with the member of a key that holds the address.
var bifrostOpenAI = map[string]string{"openai": "", "vllm": "vllm_key_config", "ollama": "ollama_key_config", "sgl": "sgl_key_config"}

// fromBifrost reads Bifrost's config.json.
func fromBifrost(r *Result, text []byte) error {
	root, err := r.parse(text)
	if err != nil {
		return err
	}
	b := &bifrost{Result: r, version: root.stringAt("version"), shares: map[int]float64{}, named: map[string]bool{}}
	root.ignore("$schema")
	providers := root.take("providers")
	b.provider("azure", providers.take("azure"))
	azure := len(r.Document.Backends)
	for _, m := range providers.others() {
		b.provider(m.name, m.value)
	}
	if azure > 0 && azure < len(r.Document.Backends) {
		r.changed("backends that are not Azure's come after all of Azure's, for the same models too: in Bifrost the caller chose the provider; remove them if prompts must not go there")
	}
	b.weigh(b.shares)
	if len(r.Document.Backends) > 0 {
		r.changed("callers name the model alone: %q, where Bifrost took %q", "gpt-4o", "azure/gpt-4o")
	}
	b.consumers(root.take("governance"))
	r.rest(root, bifrostHints)
	return nil
}

// bifrostHints is what becomes of what is not carried over.
var bifrostHints = map[string]string{
	"client": "see docs/configuration.md for the settings of Spillway", "config_store": "not needed, the configuration is one document", "logs_store": "see the log line of each request and SPILLWAY_TRANSCRIPTS",
	"vector_store": "answers are not cached", "mcp": "Spillway runs no tools", "plugins": "Spillway has no plugins", "framework": "set prices under models", "server": "not needed", "encryption_key": "keys are in app settings",
	"concurrency_and_buffer_size": "limit consumers by concurrency", "proxy_config": "set HTTPS_PROXY", "send_back_raw_request": "requests are passed on unchanged", "send_back_raw_response": "answers are passed on unchanged", "store_raw_request_response": "see SPILLWAY_TRANSCRIPTS",
	"api_version": "callers say which api-version they speak", "use_for_batch_api": "mark one backend as stateful: it takes files and batches", "weight": "consumers have no weights by provider",
	"base_url": "Azure's address is the endpoint of each key",
	"scopes":   "the scope is cognitiveservices.azure.com", "default_request_timeout_in_seconds": "set SPILLWAY_RESPONSE_TIMEOUT", "max_retries": "not needed, every available backend is tried once", "rate_limit": "set tokensPerMinute and requestsPerMinute of consumers",
}

// provider reads the keys of one provider: each is a backend.
func (b *bifrost) provider(name string, v *value) {
	if v == nil {
		return
	}
	custom := v.take("custom_provider_config")
	kind := valueOr(custom.stringAt("base_provider_type"), name)
	config, speaks := bifrostOpenAI[kind]
	if kind != "azure" && !speaks {
		b.notCarried("%s: %s is neither Azure OpenAI nor a service that speaks OpenAI's dialect", v.path, name)
		return
	}
	network := v.take("network_config")
	address := ""
	if kind != "azure" {
		address = network.stringAt("base_url")
	}
	if name == "openai" {
		address = valueOr(address, "https://api.openai.com")
	}
	for _, key := range v.items("keys") {
		b.key(name, kind, address, config, key)
	}
	b.rest(custom, nil)
	b.rest(network, bifrostHints)
	b.rest(v, bifrostHints)
}

// key reads one key of a provider. config is the member that holds its address, for
// providers that have one in each key.
func (b *bifrost) key(provider, kind, address, config string, key *value) {
	if key.stringAt("enabled") == "false" {
		b.notCarried("%s: it is not enabled", key.path)
		return
	}
	deployments, ok := b.deployments(key)
	if !ok {
		return
	}
	d := backend(plainName(valueOr(key.stringAt("name"), provider)), "")
	d.Deployments = deployments
	if kind == "azure" {
		b.azure(key, &d)
	} else {
		b.openAI(key, key.take(config), address, &d)
	}
	if d.Endpoint == "" {
		d.Endpoint = placeholder(d.Name)
		b.ask(d.Endpoint, "%s: its address is not in the file: give --endpoint %s=URL", key.path, d.Name)
	}
	b.add(key, d, bifrostKey{provider, key.stringAt("id"), key.stringAt("name")})
}

// add adds the backend of a key if Spillway can send to it.
func (b *bifrost) add(key *value, d document.Backend, names bifrostKey) {
	share, weighted := key.number("weight")
	b.rest(key, bifrostHints)
	if !b.usable(key.path, &d) {
		return
	}
	if weighted {
		b.shares[len(b.Document.Backends)] = share
	}
	b.Document.Backends, b.keys = append(b.Document.Backends, d), append(b.keys, names)
}

func (b *bifrost) azure(key *value, d *document.Backend) {
	azure := key.take("azure_key_config")
	address := b.reference(azure, "endpoint")
	d.Endpoint = base(address)
	b.toItsDeployment(key.path, address, d)
	d.Auth = b.azureAuth(key, azure, d)
	b.rest(azure, bifrostHints)
}

func (b *bifrost) openAI(key, config *value, address string, d *document.Backend) {
	d.Kind, d.Priority, d.Auth.Mode = "openai", 2, "none"
	if config != nil {
		address = b.reference(config, "url")
		b.rest(config, nil)
	}
	if address != "" {
		d.Endpoint = strings.TrimRight(address, "/") + "/v1"
	}
	switch text, variable := envText(key.take("value")); {
	case text != "" || variable != "":
		d.Auth = b.keyAuth(key, valueOr(d.Endpoint, d.Name))
	case hostOf(d.Endpoint) == "api.openai.com":
		d.Auth = document.Auth{Mode: "api-key", Setting: b.keySetting("", "OPENAI_API_KEY")}
		b.set("%s: the key of %s, which the file does not have (%s)", d.Auth.Setting, d.Endpoint, key.path)
	default:
		b.changed("%s: it has no value: no key is sent to %s; write auth if it needs one", key.path, valueOr(d.Endpoint, d.Name))
	}
}

// deployments are the models of a key: those it is allowed, under their names at the
// provider. nil is any model. ok is false when it is allowed none.
func (b *bifrost) deployments(key *value) (pairs jsondoc.Pairs, ok bool) {
	mapped := b.mapped(key)
	allowed := key.stringsAt("models")
	if len(allowed) == 0 && b.version != "1" && key.at("models") != nil {
		b.notCarried("%s: its empty list of models allows none", key.path)
		return nil, false
	}
	every := len(allowed) == 0 || slices.Contains(allowed, "*")
	for _, name := range allowed {
		if at := slices.IndexFunc(mapped, func(p jsondoc.Pair) bool { return p.Name == name }); !every && at < 0 {
			mapped = append(mapped, jsondoc.Pair{Name: name, Value: name})
		}
	}
	for _, p := range mapped {
		if !every && !slices.Contains(allowed, p.Name) {
			b.notCarried("%s: its deployment for %q, which is none of its models", key.path, p.Name)
			continue
		}
		pairs = append(pairs, jsondoc.Pair{Name: b.model(p.Name), Value: p.Value})
	}
	pairs = b.once(key, pairs)
	if every && pairs != nil {
		b.changed("%s: it serves the models that it maps, and any other by its own name", key.path)
		pairs = append(pairs, jsondoc.Pair{Name: document.Wildcard, Value: document.Wildcard})
	}
	return pairs, true
}

// mapped are the models of a key that have another name at the provider.
func (b *bifrost) mapped(key *value) (pairs jsondoc.Pairs) {
	for _, m := range slices.Concat(key.at("azure_key_config").take("deployments").others(), key.take("aliases").others()) {
		pairs = append(pairs, jsondoc.Pair{Name: m.name, Value: valueOr(m.value.text, m.value.stringAt("model_id"))})
		b.rest(m.value, nil)
	}
	return pairs
}

func (b *bifrost) once(key *value, pairs jsondoc.Pairs) (unique jsondoc.Pairs) {
	for _, p := range pairs {
		if slices.ContainsFunc(unique, func(other jsondoc.Pair) bool { return other.Name == p.Name }) {
			b.notCarried("%s: a second deployment for %q", key.path, p.Name)
			continue
		}
		unique = append(unique, p)
	}
	return unique
}

// reference is a text, or what the variable holds that it names as env.NAME: "" when
// nobody has set it.
func (b *bifrost) reference(v *value, name string) string {
	text, variable := envText(v.take(name))
	if variable == "" {
		return text
	}
	if text = b.getenv(variable); text == "" {
		b.changed("%s.%s: it is in the variable %s, which is not set here", v.path, name, variable)
	}
	return text
}

// envText reads "env.NAME", {"env_var": "env.NAME"}, or a plain text.
func envText(v *value) (text, variable string) {
	text = v.scalar()
	if v != nil && v.isMap {
		text = valueOr(v.stringAt("env_var"), v.stringAt("value"))
	}
	if name, ok := strings.CutPrefix(text, "env."); ok && identifier().MatchString(name) {
		return "", name
	}
	return text, ""
}

// keyAuth is the app setting that holds the key.
func (b *bifrost) keyAuth(key *value, endpoint string) document.Auth {
	text, variable := envText(key.take("value"))
	if variable != "" {
		b.keyIn(variable, "keep it, it holds the key of %s", endpoint)
		return document.Auth{Mode: "api-key", Setting: variable}
	}
	setting := b.keySetting(text, "KEY", valueOr(key.at("name").scalar(), fmt.Sprint(len(b.Document.Backends)+1)))
	b.keyIn(setting, "the key of %s, which is in %s.value", endpoint, key.path)
	return document.Auth{Mode: "api-key", Setting: setting}
}

func (b *bifrost) azureAuth(key, azure *value, d *document.Backend) document.Auth {
	if text, variable := envText(key.at("value")); text != "" || variable != "" {
		return b.keyAuth(key, valueOr(d.Endpoint, d.Name))
	}
	key.take("value")
	how := "Azure's default credential"
	if azure.at("client_secret") != nil {
		how = "the application in client_id"
	}
	b.byIdentity(d.Endpoint, "%s: Bifrost called %s by %s; the app's own identity calls it now and needs the role Cognitive Services OpenAI User", key.path, valueOr(d.Endpoint, d.Name), how)
	return document.Auth{Mode: "managed-identity"}
}
