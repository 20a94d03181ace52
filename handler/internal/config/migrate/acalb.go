package migrate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config"
)

// fromNumbers reads the numbered settings of openai-aca-lb from an .env file,
// a docker compose file, a container app's definition, a template of it, or the
// parameters of its template.
func fromNumbers(r *Result, text []byte) error {
	env := map[string]string{}
	if v, err := r.parse(text); err == nil && (v.isMap || v.isList) {
		n := &numbered{Result: r}
		n.environment(v, arm{})
		if env, err = n.one(); err != nil {
			return err
		}
	} else {
		lines(text, env)
	}
	r.Document.Backends = config.NumberedDocument(env).Backends
	r.numberedRest(env)
	for i := range r.Document.Backends {
		b := &r.Document.Backends[i]
		b.Endpoint = base(b.Endpoint)
		if b.Auth.Setting != "" {
			r.keyIn(b.Auth.Setting, "keep it, it holds the key of %s", valueOr(b.Endpoint, b.Name))
		}
		if b.Endpoint == "" {
			b.Endpoint = placeholder(b.Name)
			r.ask(b.Endpoint, "the URL of %s is not in the file: give --endpoint %s=URL", b.Name, b.Name)
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
	quotedValue   = lazily(`^'([^']*)'\s+//`)
	numberedName  = lazily(`(?i)^BACKEND_[^_]+_(.+)$`)
	numberedParts = []string{"URL", "PRIORITY", "APIKEY", "DEPLOYMENT_NAME"}
)

// numberedRest lists settings of backends that Spillway does not have.
func (r *Result) numberedRest(env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		m := numberedName().FindStringSubmatch(name)
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

// lines reads NAME=value lines, with or without export, quotes and comments, and
// the assignments of a .bicepparam file.
func lines(text []byte, env map[string]string) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		for _, word := range []string{"export ", "param "} {
			line = strings.TrimPrefix(line, word)
		}
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && identifier().MatchString(name) {
			env[numberedSetting(name)] = unquote(strings.TrimSpace(value))
		}
	}
}

// numberedSetting is the environment variable for a parameter such as
// backend_1_api_key; other names stay as they are.
func numberedSetting(name string) string {
	if !numberedName().MatchString(name) {
		return name
	}
	return strings.Replace(strings.ToUpper(name), "_API_KEY", "_APIKEY", 1)
}

// unquote takes off one pair of quotes, or a comment behind an unquoted value.
func unquote(text string) string {
	text = strings.TrimSpace(text)
	if n := len(text); n > 1 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		return text[1 : n-1]
	}
	before, _, _ := strings.Cut(text, " #")
	if quoted := quotedValue().FindStringSubmatch(before); quoted != nil {
		return quoted[1] // with a comment of Bicep behind it
	}
	return strings.TrimSpace(before)
}

// numbered is the state of one import of a definition with numbered settings.
type numbered struct {
	*Result
	places []place
}

// place is where a definition sets variables, such as one container of several.
type place struct {
	path string
	env  map[string]string
}

// environment gathers variables wherever they are in a definition: as members, as
// {name, value} pairs, as "NAME=value", or as parameters with a value. A value that
// is kept as a secret counts as set, one that only a deployment knows as empty.
func (n *numbered) environment(v *value, a arm) {
	if v.at("resources") != nil && v.at("$schema") != nil {
		a = arm{parameters: v.at("parameters"), variables: v.at("variables")}
	}
	env := map[string]string{}
	for _, m := range v.members {
		if value := m.value.at("value"); value != nil && numberedName().MatchString(m.name) {
			env[numberedSetting(m.name)] = value.text
		} else if !m.value.isMap && !m.value.isList && identifier().MatchString(m.name) {
			n.variable(m.name, m.value.text, a, env)
		}
		n.environment(m.value, a)
	}
	for _, item := range v.list {
		n.item(item, a, env)
		n.environment(item, a)
	}
	for name := range env {
		if numberedName().MatchString(name) {
			n.places = append(n.places, place{v.path, env})
			break
		}
	}
}

// item reads one variable of a list.
func (n *numbered) item(item *value, a arm, env map[string]string) {
	if name, value, ok := strings.Cut(item.text, "="); ok && identifier().MatchString(name) {
		env[name] = unquote(value)
	}
	name := item.at("name").scalar()
	switch value := item.at("value"); {
	case !identifier().MatchString(name):
	case value != nil:
		n.variable(name, value.text, a, env)
	case item.at("secretRef") != nil || item.at("valueFrom") != nil || item.at("secret_name") != nil:
		env[name] = "secret"
	}
}

var errSeveral = errors.New("the numbered settings are those of more than one service: give a file with one of them")

// alike reports whether two values of a variable can be the same: a deployment may
// know what is empty or a secret here.
func alike(a, b string) bool {
	return a == b || a == "" || b == "" || a == "secret" || b == "secret"
}

// one is the variables of a definition. Those of two services are not put together:
// the key of one would go to the address of the other.
func (n *numbered) one() (map[string]string, error) {
	if len(n.places) == 0 {
		return map[string]string{}, nil
	}
	largest := slices.MaxFunc(n.places, func(a, b place) int { return len(a.env) - len(b.env) })
	for _, other := range n.places {
		for _, name := range slices.Sorted(maps.Keys(other.env)) {
			known, ok := largest.env[name]
			switch value := other.env[name]; {
			case !numberedName().MatchString(name):
			case !ok || !alike(known, value):
				return nil, fmt.Errorf("%w: %s sets %s, and %s does not or to something else", errSeveral, valueOr(other.path, "the top"), name, valueOr(largest.path, "the top"))
			case known == "" || known == "secret":
				largest.env[name] = valueOr(value, known)
			}
		}
	}
	return largest.env, nil
}

// variable is one variable of a definition, whose value may be an expression.
func (r *Result) variable(name, text string, a arm, env map[string]string) {
	value, known := a.text(text)
	env[name] = value
	m := numberedName().FindStringSubmatch(name)
	if m == nil || value == text {
		return
	}
	isKey := strings.EqualFold(m[1], "APIKEY")
	switch {
	case isKey && known && value == "":
		r.changed("%s is empty unless the deployment sets it: the app's own identity is used; write api-key into auth.mode if there is a key", name)
	case isKey:
		env[name] = "secret"
	case !known:
		env[name] = ""
		r.changed("%s depends on the deployment", name)
	}
}
