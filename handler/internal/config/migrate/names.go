package migrate

import (
	"fmt"
	"strings"
)

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
	if modelName().MatchString(name) {
		return name
	}
	plain := strings.TrimLeft(notInModel().ReplaceAllString(name, "-"), ".-_")
	if len(plain) > 64 {
		plain = plain[:64]
	}
	if plain == "" {
		plain = "unnamed"
	}
	r.changed("the model %q is called %q now: names hold letters, digits, '.', '_' and '-' only", name, plain)
	return plain
}
