package migrate

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config"
)

// fromNumbers reads the numbered settings of openai-aca-lb from an .env file,
// a docker compose file, or a container app's definition.
func fromNumbers(r *Result, text []byte) error {
	env := map[string]string{}
	if v, err := parse(text); err == nil && (v.isMap || v.isList) {
		v.environment(env)
	} else {
		lines(text, env)
	}
	r.Document.Backends = config.NumberedDocument(env).Backends
	r.numberedRest(env)
	for i := range r.Document.Backends {
		b := &r.Document.Backends[i]
		b.Endpoint = base(b.Endpoint)
		if b.Auth.Setting != "" {
			r.set("%s: keep it, it holds the key of %s", b.Auth.Setting, b.Endpoint)
		}
		if b.Endpoint == "" {
			b.Endpoint = placeholder(b.Name)
		}
	}
	if seconds := env["HTTP_TIMEOUT_SECONDS"]; seconds != "" {
		r.set("SPILLWAY_FIRST_TOKEN_TIMEOUT: %ss, for HTTP_TIMEOUT_SECONDS", seconds)
	}
	r.changed("anyone could call openai-aca-lb: add consumers, or set SPILLWAY_AUTH to none")
	r.changed("every model is served by every backend, as before: name models under deployments so that each has its own health and price")
	return nil
}

var (
	numberedName  = regexp.MustCompile(`(?i)^BACKEND_[^_]+_(.+)$`)
	numberedParts = []string{"URL", "PRIORITY", "APIKEY", "DEPLOYMENT_NAME"}
)

// numberedRest lists settings of backends that Spillway does not have.
func (r *Result) numberedRest(env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		m := numberedName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		part := strings.ToUpper(m[1])
		if !slices.Contains(numberedParts, part) {
			r.notCarried("%s", name)
		}
		if n, err := strconv.Atoi(strings.TrimSpace(env[name])); part == "PRIORITY" && (err != nil || n < 0 || n > 1000) {
			r.changed("%s is no plain number: write the priority into the document", name)
		}
	}
}

// lines reads NAME=value lines, with or without export, quotes and comments.
func lines(text []byte, env map[string]string) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, ok := strings.Cut(line, "=")
		if ok && identifier.MatchString(strings.TrimSpace(name)) {
			env[strings.TrimSpace(name)] = unquote(value)
		}
	}
}

// unquote takes off one pair of quotes, or a comment behind an unquoted value.
func unquote(text string) string {
	text = strings.TrimSpace(text)
	if n := len(text); n > 1 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		return text[1 : n-1]
	}
	before, _, _ := strings.Cut(text, " #")
	return strings.TrimSpace(before)
}

// environment gathers variables wherever they are in a definition: as members,
// as {name, value} pairs, or as "NAME=value". A value that is kept as a secret
// counts as set.
func (v *value) environment(env map[string]string) {
	if name := v.at("name"); name != nil && identifier.MatchString(name.text) {
		if value := v.at("value"); value != nil {
			env[name.text] = value.text
		} else if v.at("secretRef") != nil || v.at("valueFrom") != nil {
			env[name.text] = "secret"
		}
	}
	for _, m := range v.members {
		if !m.value.isMap && !m.value.isList && identifier.MatchString(m.name) {
			env[m.name] = m.value.text
		}
		m.value.environment(env)
	}
	for _, item := range v.list {
		if name, value, ok := strings.Cut(item.text, "="); ok && identifier.MatchString(name) {
			env[name] = unquote(value)
		}
		item.environment(env)
	}
}
