package document

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/jsondoc"
)

func quoted(text string) string { return strconv.Quote(text) }

// checkBackend looks at one backend alone.
func (r *Report) checkBackend(at string, b *Backend) {
	if _, problem, fix := Endpoint(b.Endpoint, b.Kind); problem != "" {
		r.Fault(jsondoc.Join(at, "endpoint"), problem, fix)
	} else if b.Kind == "openai" {
		r.checkBase(at, b)
	}
	r.checkAuth(at, b)
	r.checkDeployments(jsondoc.Join(at, "deployments"), b)
	r.checkRegions(jsondoc.Join(at, "priorityIn"), b)
	if name := strings.ToLower(b.CallerHeader); slices.ContainsFunc(reserved, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
		r.Fault(jsondoc.Join(at, "callerHeader"), quoted(b.CallerHeader)+" has a meaning of its own", `Write a name of yours, such as "x-caller-id".`)
	}
}

// reserved are beginnings of headers that Azure, the platform in front of the
// app, or Spillway gives a meaning to.
var reserved = []string{"x-ms-", "x-azure-", "x-arr-", "x-appservice-", "x-appgw-", "x-forwarded-", "x-functions-", "x-spillway-", "x-stainless-", "x-api-key", "x-request-id"}

// checkBase looks for a base URL without the /v1 that nearly all have.
func (r *Report) checkBase(at string, b *Backend) {
	if u, _, _ := Endpoint(b.Endpoint, b.Kind); u.Path == "" {
		r.Warn(jsondoc.Join(at, "endpoint"), "has no path: chat completions will be asked for at "+b.Endpoint+"/chat/completions", "Add /v1 unless the service wants it this way.")
	}
}

// checkAuth looks for modes and settings that do not go together.
func (r *Report) checkAuth(at string, b *Backend) {
	at = jsondoc.Join(at, "auth")
	mode, setting, client := jsondoc.Join(at, "mode"), jsondoc.Join(at, "setting"), jsondoc.Join(at, "clientId")
	switch {
	case b.Auth.Mode == "api-key" && b.Auth.Setting == "":
		r.Fault(setting, "is missing: mode api-key needs a key", `Add "setting": the name of the app setting that holds it, for example "AOAI_KEY".`)
	case b.Auth.Mode != "api-key" && b.Auth.Setting != "":
		r.Fault(setting, "is only read with mode api-key, and the mode is "+b.Auth.Mode, `Write "mode": "api-key", or remove "setting".`)
	case b.Auth.Mode != "managed-identity" && b.Auth.ClientID != "":
		r.Fault(client, "is only read with mode managed-identity, and the mode is "+b.Auth.Mode, `Write "mode": "managed-identity", or remove "clientId".`)
	}
	if b.Kind != "openai" {
		return
	}
	switch b.Auth.Mode {
	case "managed-identity":
		r.Fault(mode, "is managed-identity (the default), which a backend of kind openai does not know", `Write "auth": {"mode": "api-key", "setting": "NAME_OF_AN_APP_SETTING"}, or {"mode": "none"}.`)
	case "pass-through":
		r.Fault(mode, "would hand the callers' own Entra tokens to a service that is not Azure OpenAI", "Use api-key or none.")
	}
}

func (r *Report) checkDeployments(at string, b *Backend) {
	if b.Deployments != nil && len(b.Deployments) == 0 {
		r.Fault(at, "is empty, so the backend serves nothing", "Name at least one model, or remove deployments to serve any.")
	}
	seen := map[string]bool{}
	for i, pair := range b.Deployments {
		item := jsondoc.Join(at, pair.Name)
		if r.isSet(jsondoc.Index(at, i)) {
			item = jsondoc.Index(at, i)
		}
		switch {
		case seen[pair.Name]:
			r.Fault(item, quoted(pair.Name)+" is named twice", "Keep one of the two.")
		case pair.Value == Wildcard && pair.Name != Wildcard:
			r.Fault(item, `has "*" for a deployment, which only means something for the model "*"`, fmt.Sprintf("Write the deployment's name, perhaps %q.", pair.Name))
		}
		seen[pair.Name] = true
	}
}

// checkRegions looks for one region in two spellings.
func (r *Report) checkRegions(at string, b *Backend) {
	seen := map[string]string{}
	for _, region := range slices.Sorted(maps.Keys(b.PriorityIn)) {
		plain := plainRegion(region)
		switch first, again := seen[plain]; {
		case plain == "":
			r.Fault(jsondoc.Join(at, region), "names no region", `Write a region such as "westeurope".`)
		case again:
			r.Fault(jsondoc.Join(at, region), "is the same region as "+quoted(first), "Keep one of the two.")
		}
		seen[plain] = region
	}
}
