package document

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

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
	r.checkHeader(jsondoc.Join(at, "callerHeader"), b.CallerHeader)
	for i, name := range b.PassHeaders {
		r.checkHeader(jsondoc.Index(jsondoc.Join(at, "passHeaders"), i), name)
	}
}

// checkHeader looks for a header that has a meaning already.
func (r *Report) checkHeader(at, name string) {
	lower := strings.ToLower(name)
	if slices.ContainsFunc(reserved, func(prefix string) bool { return strings.HasPrefix(lower, prefix) }) {
		r.Fault(at, quoted(name)+" has a meaning of its own", `Write a name of yours, such as "x-caller-id".`)
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
		key := strings.ToLower(pair.Name)
		switch {
		case seen[key]:
			r.Fault(item, quoted(pair.Name)+" is named twice: names of models are one whatever their case", "Keep one of the two.")
		case pair.Value == Wildcard && pair.Name != Wildcard:
			r.Fault(item, `has "*" for a deployment, which only means something for the model "*"`, fmt.Sprintf("Write the deployment's name, perhaps %q.", pair.Name))
		}
		seen[key] = true
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

// Endpoint reads a backend's base URL, or reports what is wrong with it and how
// it is put right. It never repeats credentials.
func Endpoint(text, kind string) (u *url.URL, problem, fix string) {
	switch {
	case text == "":
		return nil, "is empty", `Write its URL, for example "https://contoso.openai.azure.com".`
	case strings.ContainsAny(text, " \t\r\n"):
		return nil, "holds spaces or line breaks", "Write the URL alone."
	case strings.ContainsAny(text, "<>{}") || strings.Contains(text, "___"):
		return nil, "still holds a placeholder", "Write the real name of the resource."
	case !strings.Contains(text, "://"):
		return nil, "has no scheme", "Write https:// before it."
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, "is no URL", `Write for example "https://contoso.openai.azure.com".`
	}
	for _, look := range []func(*url.URL) (string, string){authority, func(u *url.URL) (string, string) { return wrongURL(u, kind) }, rest} {
		if problem, fix = look(u); problem != "" {
			return nil, problem, fix
		}
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, "", ""
}

// Private reports whether nobody on the way can read along: https, or this
// machine itself.
func Private(u *url.URL) bool {
	return u.Scheme == "https" && u.Host != "" || u.Scheme == "http" && Loopback(u.Hostname())
}

// authority checks who the URL speaks to, and how.
func authority(u *url.URL) (problem, fix string) {
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "has the scheme " + quoted(u.Scheme), "Write https."
	case u.User != nil:
		return "holds credentials", "Remove what stands before the @, and put the key into an app setting named by auth.setting."
	case host == "" || !hostPattern().MatchString(host) && net.ParseIP(host) == nil:
		return "names no valid host", `Write for example "https://contoso.openai.azure.com".`
	case strings.HasSuffix(host, ".invalid"):
		return "still holds a placeholder", "Write the real name of the resource."
	case u.Scheme == "http" && !Loopback(host):
		return "is http, which would send keys and prompts in clear text", "Write https. Only this machine itself (127.0.0.1, localhost) may be http."
	}
	return "", ""
}

// rest checks what may stand behind the path: nothing.
func rest(u *url.URL) (problem, fix string) {
	switch {
	case u.RawQuery != "" || u.ForceQuery:
		return "has a query", "Remove everything from the ? on: the api-version comes from the caller."
	case u.Fragment != "":
		return "has a fragment", "Remove everything from the # on."
	}
	return "", ""
}

// wrongURL checks for URLs that are right, but not of what is wanted.
func wrongURL(u *url.URL, kind string) (problem, fix string) {
	path := strings.TrimRight(strings.ToLower(u.Path), "/")
	switch host := strings.ToLower(u.Hostname()); {
	case strings.Contains(path, "//") || strings.Contains(path, "..") || strings.Contains(path, "\\") || u.RawPath != "":
		return "has a path that proxies read in different ways", "Write plain path segments, without //, .. or escapes."
	case host == "portal.azure.com" || host == "ai.azure.com" || host == "oai.azure.com":
		return "is a page for people, not an endpoint", "Copy the endpoint that the page shows under Keys and Endpoint."
	case host == "api.openai.com" && kind != "openai":
		return "is OpenAI itself, not an Azure OpenAI resource", `Write "kind": "openai" and the endpoint "https://api.openai.com/v1".`
	case strings.Contains(path, "/api/projects"):
		return "is a Foundry project's endpoint", "Write the resource's: everything before /api/projects."
	case strings.Contains(path, "completions") || strings.Contains(path, "/embeddings") || strings.Contains(path, "/deployments"):
		return "is the URL of one operation", "Write only its base: up to the host for an Azure OpenAI resource, up to /v1 for kind openai."
	case kind != "openai" && (strings.HasSuffix(path, "/openai") || strings.HasSuffix(path, "/v1")):
		return "ends in " + strings.TrimRight(u.Path, "/"), "Remove that: Spillway adds /openai itself. For a service that speaks OpenAI's own dialect write \"kind\": \"openai\"."
	}
	return "", ""
}

var hostPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`) })

// Loopback reports whether only this machine can reach the host.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
