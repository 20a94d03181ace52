package migrate

import (
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// portkey is the state of one import of a config of Portkey.
type portkey struct {
	*Result
	shares map[int]float64 // by backend, before they are made whole numbers
}

// fromPortkey reads a config of Portkey, as its page of configs, its API or the header
// x-portkey-config has it.
func fromPortkey(r *Result, text []byte) error {
	root, err := r.parse(text)
	if err != nil {
		return err
	}
	if data := root.at("data"); data != nil {
		root = data
	}
	if inner := root.at("config"); inner != nil {
		root = inner
	}
	if root.at("config") == nil && !root.isMap && strings.HasPrefix(strings.TrimSpace(root.text), "{") {
		if root, err = r.parse([]byte(root.text)); err != nil {
			return err
		}
	}
	p := &portkey{Result: r, shares: map[int]float64{}}
	p.target(root, 1, true)
	p.weigh(p.shares)
	if len(r.Document.Backends) > 0 {
		r.changed("callers chose the config by header, with their key of Portkey: add consumers, or set SPILLWAY_AUTH to none")
	}
	return nil
}

// portkeyHints is what becomes of what is not carried over.
var portkeyHints = map[string]string{
	"retry": "not needed, every available backend is tried once", "cache": "answers are not cached", "request_timeout": "set SPILLWAY_RESPONSE_TIMEOUT", "requestTimeout": "set SPILLWAY_RESPONSE_TIMEOUT",
	"on_status_codes": "a 429, a failure of the circuit breaker's statusCodes and a lost connection go on to the next backend", "onStatusCodes": "a 429, a failure of the circuit breaker's statusCodes and a lost connection go on to the next backend",
	"api_version": "callers say which api-version they speak", "apiVersion": "callers say which api-version they speak", "override_params": "requests are passed on unchanged", "overrideParams": "requests are passed on unchanged",
	"cb_config": "see circuitBreaker", "input_guardrails": "use the content filter of the deployments", "output_guardrails": "use the content filter of the deployments", "forward_headers": "see docs/security.md for the headers that pass",
	"sticky_session": "a conversation stays with its backend by the id of its responses", "metadata": "consumers are known by their keys",
}

// target reads one target, or the group of targets that it is, from that priority
// on. It returns the priority that comes next.
func (p *portkey) target(v *value, priority int, ordered bool) int {
	strategy := v.take("strategy")
	mode := strategy.stringAt("mode")
	targets := v.first("targets").all()
	p.rest(strategy, portkeyHints)
	switch {
	case len(targets) == 0:
		return p.single(v, priority)
	case mode == "conditional":
		p.notCarried("%s: conditional targets: give consumers models, geographies or minPriority, or import each target on its own", v.path)
		v.others()
		return priority
	}
	next := priority
	for i, t := range targets {
		switch {
		case mode == "single" && i > 0:
			p.notCarried("%s: the strategy is single, and it is not the first target", t.path)
		case mode == "loadbalance":
			next = max(next, p.target(t, priority, false))
		default:
			next = p.target(t, next, true)
		}
	}
	if !ordered && mode == "fallback" && len(targets) > 1 {
		p.changed("%s: a list of fallbacks within a group that shares the load: its second target comes after the first ones of all", v.path)
	}
	p.rest(v, portkeyHints)
	return next
}

// single adds one backend.
func (p *portkey) single(v *value, priority int) int {
	provider := strings.TrimPrefix(v.stringAt("provider"), "@")
	virtual := v.first("virtual_key", "virtualKey").scalar()
	if strings.HasPrefix(v.at("provider").scalar(), "@") {
		virtual, provider = provider, ""
	}
	b := backend(plainName(valueOr(v.stringAt("name"), valueOr(virtual, provider))), "")
	b.Priority = min(priority, 1000)
	params := v.first("override_params", "overrideParams")
	model := params.stringAt("model")
	resource := v.first("resource_name", "resourceName", "azure_resource_name", "azureResourceName").scalar()
	deployment := v.first("deployment_id", "deploymentId", "azure_deployment_id", "azureDeploymentId").scalar()
	switch {
	case provider == "" && foreign(virtual, model):
		p.notCarried("%s: by its names (%s %s) it is neither Azure OpenAI nor OpenAI; add a backend of kind openai if it speaks OpenAI's dialect", v.path, virtual, model)
		v.others()
		return priority
	case provider == "azure-openai" || provider == "" && (resource != "" || strings.Contains(strings.ToLower(virtual), "azure")):
		p.azure(v, &b, virtual, resource, valueOr(deployment, model))
	case provider == "openai" || provider == "" && virtual != "":
		p.openAI(v, &b, virtual, model)
	case provider == "":
		p.rest(v, portkeyHints)
		return priority
	default:
		p.notCarried("%s: %s is neither Azure OpenAI nor OpenAI; add a backend of kind openai if it speaks OpenAI's dialect", v.path, provider)
		return priority
	}
	share, weighted := v.number("weight")
	p.rest(params, portkeyHints)
	p.rest(v, portkeyHints)
	if !p.usable(v.path, &b) {
		return priority
	}
	if weighted {
		p.shares[len(p.Document.Backends)] = share
	}
	p.Document.Backends = append(p.Document.Backends, b)
	return priority + 1
}

// elsewhere are names of models and of services that are none of OpenAI's.
var elsewhere = lazily(`anthropic|claude|bedrock|vertex|gemini|google|palm|mistral|mixtral|cohere|command-r|groq|llama|together|deepseek|perplexity|sonar|grok|watsonx`)

// foreign reports whether a virtual key or the model behind it is somebody else's by
// its name. Azure serves models of others, too.
func foreign(virtual, model string) bool {
	name := strings.ToLower(virtual)
	return !strings.Contains(name, "azure") && (elsewhere().MatchString(name) || elsewhere().MatchString(strings.ToLower(model)))
}

func (p *portkey) azure(v *value, b *document.Backend, virtual, resource, deployment string) {
	host := v.first("custom_host", "customHost").scalar()
	b.Endpoint = base(host)
	if b.Endpoint == "" && resource != "" {
		b.Endpoint = "https://" + resource + ".openai.azure.com"
	}
	if b.Name == "azure-openai" && b.Endpoint != "" {
		b.Name = hostName(b.Endpoint)
	}
	b.Auth = p.auth(v, b, virtual)
	p.complete(v, b, valueOr(deployment, deploymentIn(host)))
}

func (p *portkey) openAI(v *value, b *document.Backend, virtual, model string) {
	b.Kind = "openai"
	b.Endpoint = strings.TrimRight(v.first("custom_host", "customHost").scalar(), "/")
	if b.Endpoint == "" && virtual == "" {
		b.Endpoint = "https://api.openai.com/v1"
	}
	b.Auth = p.auth(v, b, virtual)
	if virtual != "" {
		p.changed("%s: what is behind the virtual key %q is in Portkey: if it is Azure OpenAI, remove \"kind\"", v.path, virtual)
	}
	p.complete(v, b, model)
}

// complete names the deployment that all requests go to, where there is one, and the
// endpoint where it is not in the file.
func (p *portkey) complete(v *value, b *document.Backend, deployment string) {
	if deployment != "" {
		b.Deployments = jsondoc.Pairs{{Name: document.Wildcard, Value: deployment}}
		p.changed("%s: whatever model a caller names goes to %q there, as before: name models under deployments so that each has its own health and price", v.path, deployment)
	}
	if b.Endpoint == "" {
		b.Endpoint = placeholder(b.Name)
		p.ask(b.Endpoint, "%s: its address is not in the config: give --endpoint %s=URL", v.path, b.Name)
	}
}

// auth is the identity, or the app setting that the key moves to.
func (p *portkey) auth(v *value, b *document.Backend, virtual string) document.Auth {
	mode := v.first("azure_auth_mode", "azureAuthMode").scalar()
	if mode == "managed" || mode == "workload" || mode == "entra" {
		if mode == "entra" {
			p.byIdentity(b.Endpoint, "%s: Portkey called it as an application; the app's own identity calls it now and needs the role Cognitive Services OpenAI User", v.path)
		}
		auth := document.Auth{Mode: "managed-identity"}
		auth.ClientID = p.identity(v.path, v.first("azure_managed_client_id", "azureManagedClientId").scalar())
		v.ignore("azure_entra_tenant_id", "azure_entra_client_id", "azure_entra_client_secret", "azure_entra_scope")
		return auth
	}
	where, key := "not in the config", v.first("api_key", "apiKey")
	switch {
	case key != nil:
		where = "in its api_key"
	case virtual != "":
		where = "behind its virtual key in Portkey"
	}
	setting := p.keySetting(key.scalar(), "KEY", strconv.Itoa(len(p.Document.Backends)+1), b.Name)
	p.keyIn(setting, "the key of %s, which is %s (%s)", valueOr(b.Endpoint, b.Name), where, valueOr(v.path, "the config"))
	return document.Auth{Mode: "api-key", Setting: setting}
}
