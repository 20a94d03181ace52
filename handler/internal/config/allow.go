package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// allowSetting lists what a document from the table may name.
const allowSetting = prefix + "_CONFIG_ALLOW"

// allowed is what a document from the table may name (docs/security.md#the-table-of-the-configuration):
// who may write the table must not thereby be able to send a secret, or a token, to
// a host of their choice. The zero value allows nothing.
type allowed struct {
	// credentials are, by origin, what may be sent there: the names of app settings
	// and the modes of auth. What may be sent to one origin may not be sent to another.
	credentials map[string][]string
	keys        []string // app settings that may hold consumers' keys; they are sent nowhere
}

// allowDocument allows what the document of the app setting names.
func (a *allowed) allowDocument(d *document.Document) {
	for i := range d.Backends {
		b := &d.Backends[i]
		if u, problem, _ := document.Endpoint(b.Endpoint, b.Kind); problem == "" {
			a.allow(origin(u), credentialOf(b))
		}
	}
	for i := range d.Consumers {
		for _, setting := range d.Consumers[i].Keys("") {
			a.keys = append(a.keys, setting)
		}
	}
}

func (a *allowed) allow(origin, credential string) {
	if a.credentials == nil {
		a.credentials = map[string][]string{}
	}
	a.credentials[origin] = append(a.credentials[origin], credential)
}

// credentialOf is what is sent to the backend: an app setting, or that of a mode.
func credentialOf(b *document.Backend) string {
	if b.Auth.Mode == "api-key" {
		return b.Auth.Setting
	}
	return b.Auth.Mode
}

// origin is the scheme, the host and the port of a URL, in one spelling.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Port() == map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	return u.Scheme + "://" + host
}

// private reports whether no document from the table may name the setting,
// whatever is allowed: those of Spillway, of the Functions host and of the
// platform, under any of the names that the platform gives them.
func private(setting string) bool {
	upper := strings.ToUpper(setting)
	for _, copied := range []string{"APPSETTING_", "CUSTOMCONNSTR_"} {
		upper = strings.TrimPrefix(upper, copied)
	}
	return slices.ContainsFunc([]string{
		prefix + "_", "AZUREWEBJOBS", "FUNCTIONS_", "WEBSITE_", "IDENTITY_", "MSI_", "AZURE_", "APPLICATIONINSIGHTS_", "APPINSIGHTS_", "OTEL_",
	}, func(beginning string) bool { return strings.HasPrefix(upper, beginning) })
}

// settingPattern is the name of an app setting that the pool document may hold.
var settingPattern = shape{`^[A-Za-z_][A-Za-z0-9_]{0,127}$`, "the name of an app setting"}

// allowList reads SPILLWAY_CONFIG_ALLOW: ORIGIN=CREDENTIAL for what may be sent
// where, SETTING for a consumer's key, with spaces or commas between them.
func (c *checker) allowList(text string) *allowed {
	a := new(allowed)
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }) {
		address, credential, sent := strings.Cut(word, "=")
		if !sent && !strings.Contains(word, ":") {
			address, credential = "", word
		}
		if !c.allowedName(credential, sent) {
			continue
		}
		if address == "" {
			a.keys = append(a.keys, credential)
			continue
		}
		u, problem, _ := document.Endpoint(address, "openai")
		switch {
		case credential == "":
			c.setting(allowSetting, strconv.Quote(word)+" does not say what may be sent there", "Write "+word+"=managed-identity, =pass-through, =none, or = and the name of the app setting with its key.")
		case problem != "" || u.Path != "":
			c.setting(allowSetting, strconv.Quote(address)+" is no origin", "Write scheme and host in full, such as https://contoso.openai.azure.com: one entry for each.")
		default:
			a.allow(origin(u), credential)
		}
	}
	return a
}

// allowedName reports whether a document may name it at all.
func (c *checker) allowedName(credential string, sent bool) bool {
	mode := slices.Contains([]string{"managed-identity", "pass-through", "none"}, credential)
	switch {
	case sent && mode, credential == "":
		return true
	case mode || settingPattern.match(credential) == nil:
		c.setting(allowSetting, strconv.Quote(credential)+" is no name of an app setting", "Write ORIGIN=SETTING, ORIGIN=managed-identity, or SETTING for the key of a consumer.")
	case private(credential):
		c.setting(allowSetting, "names "+credential+", which no document from the table may name", keyOfItsOwn)
	default:
		return true
	}
	return false
}

// visible is the part of the environment that a document from the table can refer
// to. What it cannot see, it cannot send, compare or ask about.
func (a *allowed) visible(env map[string]string) map[string]string {
	seen := map[string]string{}
	for _, names := range a.credentials {
		for _, name := range names {
			show(seen, env, name)
		}
	}
	for _, name := range a.keys {
		show(seen, env, name)
	}
	return seen
}

func show(seen, env map[string]string, name string) {
	if value, ok := env[name]; ok && !private(name) {
		seen[name] = value
	}
}

// What is said of settings that no document from the table may name.
const (
	noneMayUse  = ", which no pushed document may use"
	keyOfItsOwn = "Keep the key in an app setting of its own."
)

// checkAllowed looks for what a document from the table must not name.
func (c *checker) checkAllowed(d *document.Document, a *allowed) {
	for i := range d.Backends {
		c.checkCredential(jsondoc.Index("backends", i), &d.Backends[i], a)
	}
	for i := range d.Consumers {
		for path, setting := range d.Consumers[i].Keys(jsondoc.Index("consumers", i)) {
			switch {
			case private(setting):
				c.Fault(path, "names "+strconv.Quote(setting)+noneMayUse, keyOfItsOwn)
			case !slices.Contains(a.keys, setting):
				c.Fault(path, "names the app setting "+strconv.Quote(setting)+", which a pushed document may not use for a consumer's key", "Add "+setting+" to "+allowSetting+", or give the consumer a key by \"spillway keys add\".")
			}
		}
	}
}

func (c *checker) checkCredential(at string, b *document.Backend, a *allowed) {
	u, problem, _ := document.Endpoint(b.Endpoint, b.Kind)
	if problem != "" {
		return
	}
	there, credential, place := origin(u), credentialOf(b), at+".auth.mode"
	if b.Auth.Mode == "api-key" {
		place = at + ".auth.setting"
	}
	fix := "Add " + there + "=" + credential + " to the app setting " + allowSetting + "."
	sendable, known := a.credentials[there]
	if !known {
		c.Fault(jsondoc.Join(at, "endpoint"), strconv.Quote(there)+" is no place that a pushed document may send to", fix)
	}
	switch {
	case b.Auth.Mode == "api-key" && private(credential):
		c.Fault(place, "names "+strconv.Quote(credential)+noneMayUse, keyOfItsOwn)
	case known && !slices.Contains(sendable, credential):
		c.Fault(place, strconv.Quote(credential)+" may not be sent to "+there+" by a pushed document", fix)
	}
}
