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

// keySetting is the app setting that a key moves to: the same for the same key,
// never that of another one, and no name that stands in the file, which may hold
// another one there. key is "" where the file does not have it.
func (r *Result) keySetting(key string, parts ...string) string {
	if name := r.keys[key]; key != "" && name != "" {
		return name
	}
	wanted := settingName(parts...)
	name := wanted
	for n := 2; r.settings[name] || word(r.source, name); n++ {
		name = fmt.Sprintf("%s_%d", wanted, n)
	}
	if name != wanted {
		r.changedWhile(r.usesKey(name), "another key has the setting %s: this one has %s", wanted, name)
	}
	r.settings[name] = true
	if key != "" {
		r.keys[key] = name
	}
	return name
}

// callersKey says that a key of a caller in the file is too short to go on with.
func (r *Result) callersKey(setting, key string) {
	if len(key) < 16 {
		r.changed("%s: the key in the file has fewer than 16 characters, which can be guessed: make a new one and give it to its callers", setting)
	}
}

// word reports whether the name stands in the text on its own.
func word(text, name string) bool {
	for {
		at := strings.Index(text, name)
		if at < 0 {
			return false
		}
		before, after := text[:at], text[at+len(name):]
		if (before == "" || !inSetting(before[len(before)-1])) && (after == "" || !inSetting(after[0])) {
			return true
		}
		text = after
	}
}

func inSetting(c byte) bool { return c == '_' || c >= '0' && c <= '9' || letter(c) }

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

// identity is the client id of the identity that calls a backend, "" where it is
// the app's own, or only known to who deploys it.
func (r *Result) identity(path, id string) string {
	if id == "" || guid().MatchString(id) {
		return id
	}
	r.changed("%s: which identity is meant is not in the file: the app's own calls now; write its client id into auth.clientId, or set AZURE_CLIENT_ID", path)
	return ""
}
