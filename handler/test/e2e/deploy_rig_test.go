package e2e_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/test/funchost"
)

// importedPool is a pool document that these tests did not write. Only its
// addresses are changed, to those of the simulated service.
type importedPool struct {
	t        *testing.T
	document string
	model    string
	groups   [][]string        // backends by priority, in the order in which they have to serve
	env      []string          // app settings, without SPILLWAY_CONFIG
	settings map[string]string // app settings that came with the document; nil = keys are made up
	key      string            // of the caller; "" = nobody is asked for one
	header   string            // that the caller sends it in; "" = api-key
	identity []string          // the client ids that tokens are asked for; nil = only keys are used

	backends []importedBackend
}

type importedBackend struct {
	Name        string
	Kind        string
	Deployments any
	Auth        struct{ Mode, Setting string }
}

const importedCallerKey = "callers-key-0123456789-0123456789-0123456789"

// read finds the backends of the document, and which app settings hold keys:
// the value of each.
func (p *importedPool) read() (keys map[string]string) {
	p.t.Helper()
	var d struct {
		Backends  []importedBackend
		Consumers []struct{ KeySetting string }
	}
	if err := json.Unmarshal([]byte(p.document), &d); err != nil {
		p.t.Fatal(err)
	}
	p.backends = d.Backends
	keys = map[string]string{}
	for _, b := range d.Backends {
		keys[b.Auth.Setting] = p.secret(b.Auth.Setting, backendKey)
	}
	for i, c := range d.Consumers {
		if c.KeySetting != "" {
			keys[c.KeySetting] = p.secret(c.KeySetting, importedCallerKey+strings.Repeat("x", i))
			if p.key == "" {
				p.key = keys[c.KeySetting]
			}
		}
	}
	delete(keys, "")
	return keys
}

// secret is the value of an app setting, if there is one.
func (p *importedPool) secret(setting, otherwise string) string {
	if value := p.settings[setting]; value != "" {
		return value
	}
	return otherwise
}

// wantFailover validates the document, serves with it, and takes one priority
// after the other away.
func (p *importedPool) wantFailover() {
	p.t.Helper()
	sim := simulator.Start(p.t, simulator.Config{Resources: p.resources()})
	asked := p.identityService()
	env := append([]string{"SPILLWAY_STATE=", "AzureWebJobsStorage=", "SPILLWAY_EXPOSE=true", "SPILLWAY_CONFIG=" + p.moved(sim)}, p.env...)
	if p.key == "" && p.settings == nil {
		env = append(env, "SPILLWAY_AUTH=none")
	}
	if out, stderr, code := command(p.t, env, "validate"); code != 0 || !strings.Contains(out, "valid: ") {
		p.t.Fatalf("validate: exit code %d\n%s\n%s", code, out, stderr)
	}
	host := funchost.Start(p.t, funchost.Options{Root: staged, Env: env})
	for _, group := range p.groups {
		p.wantServedWithin(host.URL, group)
		for _, name := range group {
			sim.Throttle(name, time.Minute)
		}
	}
	if a := p.ask(host.URL); a.status != http.StatusTooManyRequests {
		p.t.Errorf("with everything throttled: %d by %q: %s", a.status, a.backend(), a.body)
	}
	if got := asked(); !slices.Equal(got, p.identity) {
		p.t.Errorf("tokens were asked for %q, want %q", got, p.identity)
	}
}

// resources has one resource for each backend, with what it serves the model by.
func (p *importedPool) resources() []simulator.Resource {
	var out []simulator.Resource
	for _, b := range p.backends {
		out = append(out, simulator.Resource{Name: b.Name, Keys: []string{p.secret(b.Auth.Setting, backendKey)}, Deployments: []simulator.Deployment{{Name: b.deployment(p.model), Model: "gpt-4o"}}})
	}
	return out
}

// deployment is what a backend calls the model.
func (b *importedBackend) deployment(model string) string {
	named, _ := b.Deployments.(map[string]any)
	for _, name := range []string{model, "*"} {
		if d, ok := named[name].(string); ok && d != "*" {
			return d
		}
	}
	return model
}

var endpointMember = regexp.MustCompile(`"endpoint": "[^"]*"`)

// moved is the document with the addresses of the simulated service.
func (p *importedPool) moved(sim *simulator.Service) string {
	i := -1
	return endpointMember.ReplaceAllStringFunc(p.document, func(string) string {
		i++
		address := sim.URL(p.backends[i].Name)
		if p.backends[i].Kind == "openai" {
			address += "/openai/v1"
		}
		return `"endpoint": "` + address + `"`
	})
}

// ask sends a request as callers of the predecessors do: Azure's path, the key as api-key.
func (p *importedPool) ask(address string) answer {
	p.t.Helper()
	path := "/openai/deployments/" + p.model + "/chat/completions?api-version=2024-10-21"
	return ask(p.t.Context(), p.t, http.MethodPost, address+path, `{"messages":[{"role":"user","content":"Hello"}],"max_tokens":16}`, cmp.Or(p.header, "api-key"), p.key)
}

// wantServedWithin sends a few requests: only backends of the group serve.
func (p *importedPool) wantServedWithin(address string, group []string) {
	p.t.Helper()
	for range 6 {
		if a := p.ask(address); a.status != http.StatusOK || !slices.Contains(group, a.backend()) {
			p.t.Fatalf("%d by %q, want 200 by one of %v: %s", a.status, a.backend(), group, a.body)
		}
	}
}

// identityService is the platform's token endpoint. What it gives back lists
// the client ids that tokens were asked for, each once.
func (p *importedPool) identityService() func() []string {
	p.t.Helper()
	asked := make(chan string, 64)
	address := serveHTTP(p.t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		resource := strings.TrimSuffix(q.Get("resource"), "/")
		if r.Header.Get("X-Identity-Header") != "canary" || resource != "https://cognitiveservices.azure.com" && resource != "https://storage.azure.com" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if resource == "https://cognitiveservices.azure.com" {
			asked <- q.Get("client_id")
		}
		_ = json.NewEncoder(w).Encode(map[string]string{
			"access_token": jwt("https://cognitiveservices.azure.com"), "expires_on": "4102444800", "resource": q.Get("resource"), "token_type": "Bearer",
		})
	})
	p.env = append(p.env, "IDENTITY_ENDPOINT="+address+"/msi/token", "IDENTITY_HEADER=canary")
	return func() []string {
		var ids []string
		for len(asked) > 0 {
			ids = append(ids, <-asked)
		}
		slices.Sort(ids)
		return slices.Compact(ids)
	}
}
