package migrate

import (
	"fmt"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// places looks at where backends are, whatever file they come from: OpenAI itself is
// no Azure OpenAI, and backends that Spillway cannot send to are left out.
func (r *Result) places() {
	var kept []document.Backend
	for _, b := range r.Document.Backends {
		if host := hostOf(b.Endpoint); host == "api.openai.com" && b.Kind != "openai" {
			r.openAIItself(&b)
		}
		if r.usable(fmt.Sprintf("backend %q", b.Name), &b) {
			kept = append(kept, b)
		}
	}
	r.Document.Backends = kept
}

// openAIItself makes a backend for what was taken for an Azure OpenAI resource. No
// token of Azure goes there.
func (r *Result) openAIItself(b *document.Backend) {
	b.Kind, b.Endpoint = "openai", "https://api.openai.com/v1"
	if b.Auth.Mode == "api-key" {
		return
	}
	b.Auth = document.Auth{Mode: "api-key", Setting: r.keySetting("of "+b.Endpoint, "OPENAI_API_KEY")}
	r.keyIn(b.Auth.Setting, "the key of %s, which the file does not have", b.Endpoint)
	r.changed("backend %q is OpenAI itself: it is called by the key in %s, and by no identity of Azure", b.Name, b.Auth.Setting)
}

// deploymentsOnce leaves out what another backend has already: a document with it
// would be refused, since a deployment has no more capacity for being named twice.
func (r *Result) deploymentsOnce() {
	first := map[string]string{}
	var kept []document.Backend
	for _, b := range r.Document.Backends {
		var own jsondoc.Pairs
		for _, p := range b.Deployments {
			place := strings.ToLower(b.Endpoint + " " + p.Name + " " + p.Value)
			if other, again := first[place]; again {
				r.notCarried("%q of backend %q (%s): backend %q sends it to the same deployment, which has no more capacity for being named twice", p.Name, b.Name, valueOr(b.Auth.Setting, b.Auth.Mode), other)
				continue
			}
			first[place] = b.Name
			own = append(own, p)
		}
		if len(own) == len(b.Deployments) || len(own) > 0 {
			b.Deployments = own
			kept = append(kept, b)
		}
	}
	r.Document.Backends = kept
}

// base is an Azure OpenAI endpoint without what others put behind it: /openai,
// /openai/v1, and the path of one operation.
func base(endpoint string) string {
	endpoint = strings.TrimRight(strings.TrimSpace(endpoint), "/")
	endpoint, _, _ = strings.Cut(endpoint, "?")
	if i := strings.Index(endpoint+"/", "/openai/"); i > len("https://") {
		endpoint = endpoint[:i]
	}
	return strings.TrimRight(endpoint, "/")
}

// toItsDeployment sends every model to the deployment that an address names, as
// before: base leaves it out.
func (r *Result) toItsDeployment(path, address string, b *document.Backend) {
	name := deploymentIn(address)
	if name == "" || strings.ContainsAny(name, "{}$") || len(b.Deployments) > 0 || b.Kind == "openai" {
		return
	}
	b.Deployments = jsondoc.Pairs{{Name: document.Wildcard, Value: name}}
	r.changed("%s: its address names the deployment %q: whatever model a caller names goes there, as before; name models under deployments so that each has its own health and price", path, name)
}

// deploymentIn is the deployment that an address names, "" for none.
func deploymentIn(address string) string {
	_, name, _ := strings.Cut(address, "/openai/deployments/")
	name, _, _ = strings.Cut(name, "?")
	name, _, _ = strings.Cut(name, "/")
	return name
}

// placeholder is an endpoint that validation refuses, because nobody said what
// the real one is.
func placeholder(name string) string {
	label := strings.NewReplacer(".", "-", "_", "-").Replace(plainName(name))
	return "https://" + strings.Trim(label, "-") + ".invalid"
}

// usable reports whether Spillway can send to the endpoint of a backend. If not,
// the backend is listed: a document with it would be refused.
func (r *Result) usable(path string, b *document.Backend) bool {
	if strings.HasSuffix(b.Endpoint, ".invalid") {
		return true // not known yet
	}
	if strings.HasSuffix(b.Endpoint, ".services.ai.azure.com/models") {
		r.notCarried("%s: its endpoint is Foundry's model inference API; if the resource serves its models at /openai too, add a backend with the resource's endpoint", path)
		return false
	}
	if _, problem, fix := document.Endpoint(b.Endpoint, b.Kind); problem != "" {
		r.notCarried("%s: its endpoint %s. %s", path, problem, fix)
		return false
	}
	return true
}
