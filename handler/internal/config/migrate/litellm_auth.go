package migrate

import (
	"net/url"
	"strings"

	"spillway/handler/internal/config/document"
)

// auth is how LiteLLM authenticates by these parameters. A key in the file moves
// to an app setting; where the file has none, the setting is the variable that
// LiteLLM reads then. ok is false where Spillway cannot call the backend like that.
func (l *lite) auth(params *value, provider string, b *document.Backend) (auth document.Auth, ok bool) {
	key := params.stringAt("api_key")
	variable, isVariable := variableIn(key)
	exchanged := strings.HasPrefix(key, "oidc/")
	switch {
	case isVariable && identifier().MatchString(variable):
		l.keyIn(variable, "keep it, it holds the key of %s", b.Endpoint)
		return document.Auth{Mode: "api-key", Setting: variable}, true
	case exchanged && provider != "azure":
		l.notCarried("%s.api_key: LiteLLM exchanges it (oidc/) for a token, which Spillway does not: add a backend for %s with a key", params.path, b.Endpoint)
		return document.Auth{}, false
	case exchanged:
		return l.azureIdentity(params, "api_key", b), true
	case provider != "azure" && strings.EqualFold(key, "none"):
		l.changed("%s.api_key: %q is no key: none is sent to %s", params.path, key, b.Endpoint)
		return document.Auth{Mode: "none"}, true
	case key != "" && !isVariable:
		return document.Auth{Mode: "api-key", Setting: l.literalKey(key, params, b)}, true
	case isVariable:
		l.changed("%s.api_key names no variable: write the setting of the key into auth", params.path)
	case provider == "azure":
		return l.azureAuth(params, b), true
	}
	return l.defaultKey(params, valueOr(compatible[provider], "AZURE_API_KEY"), b), true
}

// literalKey is the app setting that a key in the file moves to.
func (l *lite) literalKey(key string, params *value, b *document.Backend) string {
	known := l.keys[key] != ""
	setting := l.keySetting(key, "AOAI_KEY", b.Name)
	if !known {
		l.keyIn(setting, "the key of %s, which is in %s.api_key", b.Endpoint, params.path)
	}
	return setting
}

// azureAuth is how an Azure entry without a key is called: by an application or an
// identity where there is one, else by the key in AZURE_API_KEY.
func (l *lite) azureAuth(params *value, b *document.Backend) document.Auth {
	for _, name := range []string{"azure_ad_token", "client_id", "tenant_id", "azure_username"} {
		if params.at(name) != nil {
			return l.azureIdentity(params, name, b)
		}
	}
	if l.identity {
		l.byIdentity(b.Endpoint, "%s: the app's own identity calls %s, which needs the role Cognitive Services OpenAI User for it", params.path, b.Endpoint)
		return document.Auth{Mode: "managed-identity"}
	}
	return l.defaultKey(params, "AZURE_API_KEY", b)
}

// azureIdentity replaces an application, or a token that was exchanged.
func (l *lite) azureIdentity(params *value, name string, b *document.Backend) document.Auth {
	l.byIdentity(b.Endpoint, "%s: LiteLLM called %s as the application in %s; the app's own identity calls it now and needs the role Cognitive Services OpenAI User", params.path, b.Endpoint, name)
	return document.Auth{Mode: "managed-identity"}
}

// defaultKey is the key that LiteLLM takes when an entry has none. OpenAI's own goes
// to OpenAI only: a service at another address has a setting of its own.
func (l *lite) defaultKey(params *value, variable string, b *document.Backend) document.Auth {
	instead := "none"
	if b.Kind != "openai" {
		instead = "managed-identity"
	}
	if host := hostOf(b.Endpoint); variable == "OPENAI_API_KEY" && host != "openai.com" && !strings.HasSuffix(host, ".openai.com") {
		setting := l.keySetting("of "+host, hostName(b.Endpoint), "API_KEY")
		l.keyIn(setting, "the key of %s, which the file does not have", b.Endpoint)
		l.changed("%s has no api_key: LiteLLM sends %s to %s, which is another service; it is called by the key in %s now; write \"mode\": %q into auth if it needs no key", params.path, variable, b.Endpoint, setting, instead)
		return document.Auth{Mode: "api-key", Setting: setting}
	}
	l.keyIn(variable, "keep it, it holds the key of %s", b.Endpoint)
	l.changed("%s has no api_key: %s is called by the key in %s, as LiteLLM does; write \"mode\": %q into auth if it needs no key", params.path, b.Endpoint, variable, instead)
	return document.Auth{Mode: "api-key", Setting: variable}
}

func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
