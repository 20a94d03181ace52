package migrate

import (
	"strings"

	"spillway/handler/internal/config/document"
)

// auth is how LiteLLM authenticates by these parameters. A key in the file moves
// to an app setting; where the file has none, the setting is the variable that
// LiteLLM reads then.
func (l *lite) auth(params *value, provider string, b *document.Backend) document.Auth {
	key := params.stringAt("api_key")
	variable, isVariable := strings.CutPrefix(key, "os.environ/")
	switch {
	case isVariable && identifier().MatchString(variable):
		l.set("%s: keep it, it holds the key of %s", variable, b.Endpoint)
		return document.Auth{Mode: "api-key", Setting: variable}
	case provider != "azure" && strings.EqualFold(key, "none"):
		l.changed("%s.api_key: %q is no key: none is sent to %s", params.path, key, b.Endpoint)
		return document.Auth{Mode: "none"}
	case key != "" && !isVariable:
		return document.Auth{Mode: "api-key", Setting: l.keySetting(key, params, b)}
	case isVariable:
		l.changed("%s.api_key names no variable: write the setting of the key into auth", params.path)
	case provider == "azure":
		return l.azureAuth(params, b)
	}
	return l.defaultKey(params, compatible[provider], b)
}

// keySetting is the app setting that a key moves to, the same for the same key.
func (l *lite) keySetting(key string, params *value, b *document.Backend) string {
	if l.keys[key] == "" {
		l.keys[key] = settingName(unique(settingName("AOAI_KEY", b.Name), l.settings))
		l.set("%s: the key of %s, which is in %s.api_key", l.keys[key], b.Endpoint, params.path)
	}
	return l.keys[key]
}

// azureAuth is how an Azure entry without a key is called: by an application or an
// identity where there is one, else by the key in AZURE_API_KEY.
func (l *lite) azureAuth(params *value, b *document.Backend) document.Auth {
	for _, name := range []string{"azure_ad_token", "client_id", "tenant_id", "azure_username"} {
		if params.at(name) != nil {
			l.changed("%s: LiteLLM called %s as the application in %s; the app's own identity calls it now and needs the role Cognitive Services OpenAI User", params.path, b.Endpoint, name)
			return document.Auth{Mode: "managed-identity"}
		}
	}
	if l.identity {
		l.changed("%s: the app's own identity calls %s, which needs the role Cognitive Services OpenAI User for it", params.path, b.Endpoint)
		return document.Auth{Mode: "managed-identity"}
	}
	return l.defaultKey(params, "AZURE_API_KEY", b)
}

// defaultKey is the key that LiteLLM takes when an entry has none.
func (l *lite) defaultKey(params *value, variable string, b *document.Backend) document.Auth {
	l.set("%s: keep it, it holds the key of %s", variable, b.Endpoint)
	instead := "none"
	if b.Kind != "openai" {
		instead = "managed-identity"
	}
	l.changed("%s has no api_key: %s is called by the key in %s, as LiteLLM does; write \"mode\": %q into auth if it needs no key", params.path, b.Endpoint, variable, instead)
	return document.Auth{Mode: "api-key", Setting: variable}
}
