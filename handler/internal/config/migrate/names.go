package migrate

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

var (
	notInName    = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
	notInSetting = regexp.MustCompile(`[^A-Za-z0-9]+`)
	notInModel   = regexp.MustCompile(`[^A-Za-z0-9._-]`)
	modelName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	identifier   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// plainName makes a name that a pool document allows: "Some Endpoint" becomes
// some-endpoint.
func plainName(text string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(text), "-"), "-._")
	if len(name) > 60 {
		name = name[:60]
	}
	if name == "" {
		return "unnamed"
	}
	return name
}

// hostName is a name for what is at the endpoint: the first label of its host.
func hostName(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return plainName(endpoint)
	}
	label, rest, _ := strings.Cut(u.Hostname(), ".")
	if label == "api" {
		label, _, _ = strings.Cut(rest, ".")
	}
	if _, err := strconv.Atoi(label); err == nil {
		label = u.Host
	}
	return plainName(label)
}

// settingName makes the name of an app setting.
func settingName(parts ...string) string {
	name := strings.Trim(notInSetting.ReplaceAllString(strings.ToUpper(strings.Join(parts, "_")), "_"), "_")
	if !identifier.MatchString(name) {
		return "KEY_" + name
	}
	return name
}

// base is an Azure OpenAI endpoint without what others put behind it.
func base(endpoint string) string {
	endpoint = strings.TrimRight(strings.TrimSpace(endpoint), "/")
	for _, end := range []string{"/openai/v1", "/openai"} {
		endpoint = strings.TrimSuffix(endpoint, end)
	}
	return strings.TrimRight(endpoint, "/")
}

// placeholder is an endpoint that validation refuses, because nobody said what
// the real one is.
func placeholder(name string) string {
	label := strings.NewReplacer(".", "-", "_", "-").Replace(plainName(name))
	return "https://" + strings.Trim(label, "-") + ".invalid"
}

// uniqueNames numbers backends and consumers that would have the same name.
func (r *Result) uniqueNames() {
	taken := map[string]bool{}
	for i := range r.Document.Backends {
		r.Document.Backends[i].Name = unique(r.Document.Backends[i].Name, taken)
	}
	taken = map[string]bool{}
	for i := range r.Document.Consumers {
		r.Document.Consumers[i].Name = unique(r.Document.Consumers[i].Name, taken)
	}
}

func unique(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[strings.ToLower(free)]; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	taken[strings.ToLower(free)] = true
	return free
}

// model makes a name that callers can use, and reports when that is another one.
func (r *Result) model(name string) string {
	if modelName.MatchString(name) {
		return name
	}
	plain := strings.TrimLeft(notInModel.ReplaceAllString(name, "-"), ".-_")
	if len(plain) > 64 {
		plain = plain[:64]
	}
	if plain == "" {
		plain = "unnamed"
	}
	r.changed("the model %q is called %q now: names hold letters, digits, '.', '_' and '-' only", name, plain)
	return plain
}
