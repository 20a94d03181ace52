package config

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// configSetting holds the pool document, or says where it is.
const configSetting = prefix + "_CONFIG"

// mostDocument bounds the file that is read.
const mostDocument = 8 << 20

// document reads the pool document from wherever the operator put it. nil is
// one that could not be understood at all; the faults say why.
func (c *checker) document(in *inputs) *document.Document {
	text := strings.TrimSpace(in.ours.Config)
	numbers := numbered(in.all)
	switch {
	case text == "" && len(numbers) > 0:
		return c.numberedDocument(in, numbers)
	case text == "":
		c.setting(configSetting, "is not set, so there is nothing to send requests to", `Set it to the pool document, or to "@path" of a file that holds it; or set BACKEND_1_URL, BACKEND_1_PRIORITY and BACKEND_1_APIKEY.`)
		return nil
	case unresolved(text):
		c.setting(configSetting, "is a Key Vault reference that was not resolved", "Give the app's identity the role Key Vault Secrets User.")
		return nil
	}
	if len(numbers) > 0 {
		c.settingWarning("BACKEND_"+numbers[0].id+"_URL", "and its like have no effect, because SPILLWAY_CONFIG is set", "Remove the BACKEND_ settings, or SPILLWAY_CONFIG.")
	}
	path, isPath := strings.CutPrefix(text, "@")
	if !isPath {
		return c.Read("", []byte(text))
	}
	content, ok := c.file(path)
	if !ok {
		return nil
	}
	return c.Read(filepath.Base(path), content)
}

// file reads the file that SPILLWAY_CONFIG points to.
func (c *checker) file(path string) ([]byte, bool) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > mostDocument {
		c.setting(configSetting, "points to a file of more than 8 MiB", "Point it to a pool document.")
		return nil, false
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path) //nolint:gosec // the operator's own path
	}
	if err == nil {
		return content, true
	}
	reason := err
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		reason = inner.Err
	}
	c.setting(configSetting, "points to "+strconv.Quote(path)+", which cannot be read: "+reason.Error(), "Check the path: it is relative to the folder that the handler is started in, which in Azure is the one with host.json.")
	return nil, false
}

// number is one backend of openai-aca-lb: BACKEND_1_URL and the like. Its
// variables are read there without regard to case, and so they are here.
type number struct {
	id     string // "1"
	values map[string]string
	names  map[string]string // how each was really written
}

// parts are what may follow BACKEND_n_.
var parts = []string{"URL", "PRIORITY", "APIKEY", "DEPLOYMENT_NAME"}

// numbered finds the numbered settings, in the order of their numbers.
func numbered(all map[string]string) []number {
	found := map[string]*number{}
	for name, value := range all {
		id, part, ok := cutNumber(name)
		if !ok {
			continue
		}
		n := found[id]
		if n == nil {
			n = &number{id: id, values: map[string]string{}, names: map[string]string{}}
			found[id] = n
		}
		n.values[part], n.names[part] = strings.TrimSpace(value), name
	}
	var numbers []number
	for _, n := range found {
		if slices.ContainsFunc(parts, func(part string) bool { return n.names[part] != "" }) {
			numbers = append(numbers, *n)
		}
	}
	slices.SortFunc(numbers, func(a, b number) int {
		x, _ := strconv.Atoi(a.id)
		y, _ := strconv.Atoi(b.id)
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.id, b.id))
	})
	return numbers
}

// cutNumber takes BACKEND_1_URL apart into 1 and URL.
func cutNumber(name string) (id, part string, ok bool) {
	rest, ok := strings.CutPrefix(strings.ToUpper(name), "BACKEND_")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "_")
}

// numberedDocument is the pool document that the numbered settings amount to.
func (c *checker) numberedDocument(in *inputs, numbers []number) *document.Document {
	c.Names = map[string]string{}
	d := NumberedDocument(in.all)
	for i, n := range numbers {
		at := jsondoc.Index("backends", i)
		for path, part := range map[string]string{
			".endpoint": "URL", ".priority": "PRIORITY", ".auth.setting": "APIKEY", `.deployments["*"]`: "DEPLOYMENT_NAME",
		} {
			c.Names[at+path] = cmp.Or(n.names[part], "BACKEND_"+n.id+"_"+part)
		}
		c.number(n)
	}
	return d
}

// number checks the settings of one backend.
func (c *checker) number(n number) {
	for _, part := range []string{"URL", "PRIORITY"} {
		if n.values[part] == "" {
			c.setting("BACKEND_"+n.id+"_"+part, "is missing", "Set it, or remove the other settings that begin with BACKEND_"+n.id+"_.")
		}
	}
	if text := n.values["PRIORITY"]; text != "" {
		if p, err := strconv.Atoi(text); err != nil || p < 0 || p > 1000 {
			c.setting(n.names["PRIORITY"], strconv.Quote(text)+" is no priority", "Write a whole number from 0 to 1000: the lowest is tried first.")
		}
	}
	for part, name := range n.names {
		if !slices.Contains(parts, part) {
			c.setting(name, "is no setting of a numbered backend", jsondoc.DidYouMean(part, parts))
		}
	}
	if text := n.values["DEPLOYMENT_NAME"]; text != "" && deploymentPattern.match(text) == nil {
		c.setting(n.names["DEPLOYMENT_NAME"], strconv.Quote(text)+" is no deployment name", "Write letters, digits, '.', '_' and '-'.")
	}
}

// NumberedDocument is the pool document that the numbered settings of openai-aca-lb
// amount to: every backend serves any model, under its own deployment name if
// it has one. all may hold other variables too.
func NumberedDocument(all map[string]string) *document.Document {
	d := document.New()
	for _, n := range numbered(all) {
		var b document.Backend
		jsondoc.SetDefaults(&b)
		b.Name = "backend-" + strings.ToLower(n.id)
		b.Endpoint = n.values["URL"]
		b.Priority, _ = strconv.Atoi(n.values["PRIORITY"]) // what is no number is reported elsewhere
		if n.values["APIKEY"] != "" {
			b.Auth = document.Auth{Mode: "api-key", Setting: n.names["APIKEY"]}
		}
		if name := n.values["DEPLOYMENT_NAME"]; name != "" {
			b.Deployments = jsondoc.Pairs{{Name: document.Wildcard, Value: name}}
		}
		d.Backends = append(d.Backends, b)
	}
	return d
}

// httpTimeout lets HTTP_TIMEOUT_SECONDS, which bounds each attempt, stand for
// SPILLWAY_FIRST_TOKEN_TIMEOUT where that is not set. SPILLWAY_RESPONSE_TIMEOUT
// spans all attempts.
func (c *checker) httpTimeout(in *inputs, s *Settings) {
	text := strings.TrimSpace(in.platform.HTTPTimeout)
	if text == "" || in.ours.Config != "" {
		return
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 1 || seconds > 3600 {
		c.setting("HTTP_TIMEOUT_SECONDS", strconv.Quote(text)+" is no number of seconds", "Write a whole number from 1 to 3600.")
		return
	}
	if in.all[prefix+"_FIRST_TOKEN_TIMEOUT"] == "" {
		s.FirstTokenTimeout = time.Duration(seconds) * time.Second
	}
}
