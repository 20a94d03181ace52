package migrate

import (
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// list is the state of one import of a list.
type list struct {
	*Result
	shares map[int]float64 // by backend, before they are made whole numbers
}

// fromList reads a simple list of endpoints: one URL a line with priority and weight
// behind it, a table with a header, or the same as JSON or YAML.
func fromList(r *Result, text []byte) error {
	l := &list{Result: r, shares: map[int]float64{}}
	root, err := r.parse(text)
	if err == nil && (root.isList || root.isMap) {
		l.listed(root)
	} else {
		l.listedLines(string(text))
	}
	r.weigh(l.shares)
	if len(r.Document.Backends) > 0 {
		r.changed("every model is passed through by its name where no model is named: name models under deployments so that each has its own health and price")
	}
	return nil
}

// columns are the names of what a list can hold, by our own name. Case, "-" and "_"
// do not matter.
var columns = map[string]string{
	"url": "url", "endpoint": "url", "host": "url", "baseurl": "url", "apibase": "url", "address": "url", "uri": "url", "azureendpoint": "url",
	"priority": "priority", "order": "priority", "tier": "priority", "weight": "weight", "name": "name", "id": "name", "region": "region", "location": "region",
	"model": "model", "modelname": "model", "deployment": "deployment", "deploymentname": "deployment", "deploymentid": "deployment",
	"apikey": "key", "key": "key", "capacity": "capacity",
}

func column(name string) string {
	return columns[strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))]
}

// listed reads lists of URLs and of objects, wherever they are in a document.
func (r *list) listed(v *value) {
	for _, item := range v.list {
		switch {
		case item.isMap:
			r.listedObject(item)
		case item.isList:
			r.listed(item)
		case item.text != "":
			r.listedWords(item.path, strings.Fields(item.text), nil)
		}
	}
	for _, m := range v.others() {
		if m.value.isList || m.value.isMap && column(m.name) == "" {
			r.listed(m.value)
			continue
		}
		r.notCarried("%s", m.value.path)
	}
}

func (r *list) listedObject(item *value) {
	cells := map[string]string{}
	for _, m := range item.members {
		if name := column(m.name); name != "" && !m.value.isMap && !m.value.isList {
			cells[name] = strings.TrimSpace(m.value.text)
			item.take(m.name)
		}
	}
	if cells["url"] == "" {
		r.listed(item)
		return
	}
	r.listedBackend(item.path, cells)
	r.rest(item, nil)
}

// listedLines reads text, a backend a line. A first line of column names is a header.
func (r *list) listedLines(text string) {
	var header []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		words := listedCells(line)
		switch {
		case len(words) == 0:
		case header == nil && len(r.Document.Backends) == 0 && column(words[0]) != "":
			header = words
		default:
			r.listedWords("line "+strconv.Itoa(number), words, header)
		}
	}
}

// listedCells takes a line apart: at its separator, where a cell can be empty, else
// at blanks.
func listedCells(line string) []string {
	for _, separator := range []string{",", ";", "|", "\t"} {
		if cells := strings.Split(strings.TrimSpace(line), separator); len(cells) > 1 {
			for i := range cells {
				cells[i] = strings.Trim(cells[i], " \t\r\n\"")
			}
			return cells
		}
	}
	return strings.Fields(line)
}

// listedWords reads one line: the cells under a header, else a URL, then a priority
// and a weight or name=value.
func (r *list) listedWords(path string, words, header []string) {
	cells := map[string]string{}
	if header == nil {
		header = []string{"url", "priority", "weight"}
	}
	for i, word := range words {
		name := ""
		if i < len(header) {
			name = header[i]
		}
		if before, after, ok := strings.Cut(word, "="); ok && !strings.Contains(before, "/") {
			name, word = before, after
		}
		switch {
		case word == "":
		case column(name) == "":
			r.notCarried("%s: %s", path, valueOr(name, "what follows the weight"))
		default:
			cells[column(name)] = word
		}
	}
	r.listedBackend(path, cells)
}

func (r *list) listedBackend(path string, cells map[string]string) {
	address := cells["url"]
	if address != "" && !strings.Contains(address, "://") {
		if !strings.Contains(address, ".") {
			r.notCarried("%s: it has no URL", path)
			return
		}
		address = "https://" + address
	}
	b := backend(plainName(valueOr(cells["name"], hostName(address))), base(address))
	b.Region = cells["region"]
	if strings.HasSuffix(strings.TrimRight(address, "/"), "/v1") && !strings.Contains(address, "/openai/v1") || strings.Contains(address, "//api.openai.com") {
		b.Kind, b.Endpoint, b.Auth.Mode = "openai", strings.TrimRight(address, "/"), "none"
	}
	b.Priority = r.listedPriority(path, cells, b.Priority)
	if model, deployment := cells["model"], cells["deployment"]; model != "" || deployment != "" {
		deployment = valueOr(deployment, valueOr(deploymentIn(address), model))
		b.Deployments = jsondoc.Pairs{{Name: r.model(valueOr(model, deployment)), Value: deployment}}
	}
	r.toItsDeployment(path, address, &b)
	r.listedAuth(path, cells, &b)
	if r.usable(path, &b) {
		r.shares[len(r.Document.Backends)] = r.listedShare(path, cells)
		r.Document.Backends = append(r.Document.Backends, b)
	}
}

// listedAuth moves a key to an app setting; a key may also be the name of one.
func (r *list) listedAuth(path string, cells map[string]string, b *document.Backend) {
	key := cells["key"]
	switch {
	case key == "" && b.Kind == "openai":
		r.changed("%s: no key is sent to %s: write auth if it needs one", path, b.Endpoint)
	case key == "":
		r.byIdentity(b.Endpoint, "%s: no key is named: the app's own identity calls %s and needs the role Cognitive Services OpenAI User", path, b.Endpoint)
	case isSetting(key):
		b.Auth = document.Auth{Mode: "api-key", Setting: key}
		r.keyIn(key, "keep it, it holds the key of %s", b.Endpoint)
	default:
		b.Auth = document.Auth{Mode: "api-key", Setting: r.keySetting(key, "AOAI_KEY", b.Name)}
		r.keyIn(b.Auth.Setting, "the key of %s, in the key of %s", b.Endpoint, path)
	}
	if cells["capacity"] != "" {
		r.notCarried("%s: capacity: write \"provisioned\" into capacity of a PTU", path)
	}
}

// isSetting reports whether a text is the name of an app setting rather than a key:
// AOAI_KEY_US.
func isSetting(text string) bool {
	return identifier().MatchString(text) && strings.Contains(text, "_") && text == strings.ToUpper(text)
}

func (r *list) listedPriority(path string, cells map[string]string, otherwise int) int {
	if cells["priority"] == "" {
		return otherwise
	}
	n, err := strconv.Atoi(cells["priority"])
	if err != nil || n < 0 || n > 1000 {
		r.changed("%s: its priority is no whole number from 0 to 1000: it is %d now", path, otherwise)
		return otherwise
	}
	return n
}

// listedShare is the weight, which may be a fraction.
func (r *list) listedShare(path string, cells map[string]string) float64 {
	if cells["weight"] == "" {
		return 1
	}
	share, err := strconv.ParseFloat(strings.TrimSuffix(cells["weight"], "%"), 64)
	if err != nil || !(share >= 0 && share <= 1e6) {
		r.changed("%s: its weight is no number from 0 on: it is 1 now", path)
		return 1
	}
	return share
}
