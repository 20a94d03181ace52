package document

import (
	"net"
	"net/url"
	"regexp"
	"strings"
)

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
	case host == "" || !hostPattern.MatchString(host) && net.ParseIP(host) == nil:
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

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// Loopback reports whether only this machine can reach the host.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
