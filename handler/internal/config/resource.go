package config

import (
	"cmp"
	"net/http"
	"net/url"

	"spillway/handler/internal/config/document"
)

// Kind is what a resource speaks.
type Kind uint8

// The kinds of resource. The zero Kind is AzureOpenAI.
const (
	AzureOpenAI Kind = iota
	OpenAI           // any OpenAI-compatible base URL
)

// Mode is how Spillway authenticates to a resource.
type Mode uint8

// The modes. The zero Mode is ManagedIdentity.
const (
	ManagedIdentity Mode = iota
	APIKey
	PassThrough // the caller's own Entra token
	NoAuth
)

// Resource is one place that requests are sent to.
type Resource struct {
	Name      string
	Endpoint  *url.URL // no trailing slash, no query; its path, mostly empty, goes before everything
	Kind      Kind
	Mode      Mode
	Key       Secret // with APIKey
	ClientID  string // with ManagedIdentity; "" = the system-assigned one, or the developer's sign-in
	Region    string
	Geography string
	HTTP2     bool

	CallerHeader string // in its canonical form; "" = no backend learns who calls
}

func (cfg *Config) resource(b *document.Backend, env map[string]string) Resource {
	address, _, _ := document.Endpoint(b.Endpoint, b.Kind)
	r := Resource{
		Name: b.Name, Endpoint: address, Region: b.Region, Geography: b.Geography, HTTP2: b.HTTP2, CallerHeader: http.CanonicalHeaderKey(b.CallerHeader),
		Mode: map[string]Mode{"api-key": APIKey, "pass-through": PassThrough, "none": NoAuth}[b.Auth.Mode],
	}
	if b.Kind == "openai" {
		r.Kind = OpenAI
	}
	switch r.Mode {
	case APIKey:
		r.Key = NewSecret(env[b.Auth.Setting])
	case ManagedIdentity:
		r.ClientID = cmp.Or(b.Auth.ClientID, cfg.Settings.ClientID)
	case PassThrough, NoAuth:
	}
	return r
}
