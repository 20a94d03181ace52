package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// leastKey is the length below which a key can be guessed.
const leastKey = 16

// callers understands how callers prove who they are. Nothing that is written
// wrongly may let everyone in: "none" must be typed.
func (c *checker) callers(w *written) Callers {
	who := Callers{Tenant: w.EntraTenant, Audience: w.EntraAudience, Issuer: w.EntraIssuer}
	words := strings.Split(w.Auth, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
		switch words[i] {
		case "key":
			who.Key = true
		case "entra":
			who.Entra = true
		case "none":
		default:
			c.setting("SPILLWAY_AUTH", strconv.Quote(words[i])+" is no way to authenticate", jsondoc.DidYouMean(words[i], []string{"key", "entra", "none"}))
		}
	}
	if slices.Contains(words, "none") && len(words) > 1 {
		c.setting("SPILLWAY_AUTH", "names none and something else", `Write "none" alone to let everyone in, or leave it out.`)
	}
	c.entra(who, w.OperatorRole != "")
	return who
}

// entra checks what tokens are validated against.
func (c *checker) entra(who Callers, operators bool) {
	if !who.Entra && !operators {
		if who.Tenant+who.Audience+who.Issuer != "" {
			c.settingWarning("SPILLWAY_AUTH", "does not name entra, so the SPILLWAY_ENTRA settings have no effect", `Set it to "entra" or "key,entra", or SPILLWAY_OPERATOR_ROLE for operators, or remove them.`)
		}
		return
	}
	if who.Audience == "" {
		c.setting("SPILLWAY_ENTRA_AUDIENCE", "is missing, so a token made for anything else would be let in", `Set it to the application id or App ID URI that callers ask tokens for, for example "api://spillway".`)
	}
	switch strings.ToLower(who.Tenant) {
	case "":
		if who.Issuer == "" {
			c.setting("SPILLWAY_ENTRA_TENANT", "is missing, so tokens of every tenant would be let in", "Set it to the id of your Entra ID tenant.")
		}
	case "common", "organizations", "consumers":
		c.setting("SPILLWAY_ENTRA_TENANT", strconv.Quote(who.Tenant)+" is every tenant", "Set it to the id of your own tenant.")
	default:
		c.pattern("SPILLWAY_ENTRA_TENANT", who.Tenant, hostPattern)
	}
	if who.Issuer != "" {
		c.issuer(who.Issuer)
	}
}

func (c *checker) issuer(text string) {
	u, err := url.Parse(text)
	if err != nil || !document.Private(u) {
		c.setting("SPILLWAY_ENTRA_ISSUER", "is no https URL", `Write the token's iss, for example "https://login.microsoftonline.com/TENANT/v2.0".`)
	}
}

func (c *checker) operatorKey(w *written) Secret {
	c.secret("SPILLWAY_OPERATOR_KEY", "SPILLWAY_OPERATOR_KEY", w.OperatorKey)
	if w.OperatorKey != "" && len(w.OperatorKey) < leastKey {
		c.setting("SPILLWAY_OPERATOR_KEY", "is too short to be safe", `Use at least 16 characters, for example the output of "openssl rand -hex 32".`)
	}
	return NewSecret(w.OperatorKey)
}

// webhook is the address of the webhook. It is not repeated: it may hold a secret.
func (c *checker) webhook(w *written) Secret {
	if w.Webhook == "" {
		return Secret{}
	}
	c.secret("SPILLWAY_WEBHOOK", "SPILLWAY_WEBHOOK", w.Webhook)
	u, err := url.Parse(w.Webhook)
	if err != nil || !document.Private(u) || u.User != nil {
		c.setting("SPILLWAY_WEBHOOK", "is no https URL", `Write for example "https://alerts.example.com/spillway".`)
	}
	c.secret("SPILLWAY_WEBHOOK_SECRET", "SPILLWAY_WEBHOOK_SECRET", w.WebhookSecret)
	if len(w.WebhookSecret) < leastKey {
		c.setting("SPILLWAY_WEBHOOK_SECRET", "is missing or too short to be safe: the webhook could not tell whose warnings it gets", `Use at least 16 characters, for example the output of "openssl rand -hex 32".`)
	}
	return NewSecret(w.Webhook)
}
