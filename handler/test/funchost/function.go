package funchost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// function is one HTTP function of the app.
type function struct {
	name    string
	level   string // anonymous, function or admin
	methods []string
	route   route
}

var functionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,127}$`)

// errEnvelope is a function that the host would call by its JSON envelope.
var errEnvelope = errors.New("the host would call it by a JSON envelope (POST /<FunctionName>), which cannot stream: give it exactly one httpTrigger in and one http out binding")

// functionFile is function.json.
type functionFile struct {
	Disabled bool `json:"disabled"`
	Bindings []struct {
		Type      string   `json:"type"`
		Direction string   `json:"direction"`
		AuthLevel string   `json:"authLevel"`
		Methods   []string `json:"methods"`
		Route     *string  `json:"route"`
	} `json:"bindings"`
}

// findFunctions reads the functions of root in the order in which the host
// tries their routes: by name, without regard to case (D 10). It looks at the
// immediate sub-folders only (D 9). A function that the host would leave out is
// given to refuse with the reason; an envelope is an error (D 14).
func findFunctions(root, prefix string, refuse func(name string, reason error)) ([]function, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	var found []function
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(root, entry.Name(), "function.json"))
		if err != nil {
			continue // Not a function's folder.
		}
		one, err := readFunction(entry.Name(), prefix, content)
		if err == nil {
			err = conflict(found, one)
		}
		switch {
		case errors.Is(err, errEnvelope):
			return nil, fmt.Errorf("function %q: %w", entry.Name(), err)
		case err != nil:
			refuse(entry.Name(), err)
		default:
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, b function) int {
		return strings.Compare(strings.ToUpper(a.name), strings.ToUpper(b.name))
	})
	return found, nil
}

func readFunction(name, prefix string, content []byte) (function, error) {
	if !functionName.MatchString(name) || strings.EqualFold(name, "host") {
		return function{}, fmt.Errorf("name %q is not one of a function: letters, digits, _ and -, a letter first", name)
	}
	var file functionFile
	if err := json.Unmarshal(content, &file); err != nil {
		return function{}, fmt.Errorf("read function.json: %w", err)
	}
	if file.Disabled {
		return function{}, errors.New("it is disabled")
	}
	if len(file.Bindings) != 2 {
		return function{}, errEnvelope
	}
	in, out := file.Bindings[0], file.Bindings[1]
	if in.Direction == "out" {
		in, out = out, in
	}
	if !strings.EqualFold(in.Type, "httpTrigger") || in.Direction != "in" || out.Type != "http" || out.Direction != "out" {
		return function{}, errEnvelope
	}
	path := name
	if in.Route != nil && *in.Route != "" {
		path = *in.Route
	}
	compiled, err := compileRoute(prefix, path)
	return function{name: name, level: levelOf(in.AuthLevel), methods: in.Methods, route: compiled}, err
}

// levelOf is the level a function asks for; function when it asks for none.
func levelOf(word string) string {
	if word == "" {
		return "function"
	}
	return strings.ToLower(word)
}

// conflict is the error of a function whose route and methods another has.
func conflict(others []function, one function) error {
	for _, other := range others {
		if !strings.EqualFold(other.route.template, one.route.template) {
			continue
		}
		if len(one.methods) == 0 || len(other.methods) == 0 || slices.ContainsFunc(one.methods, other.serves) {
			return fmt.Errorf("route %q is taken by function %q", one.route.template, other.name)
		}
	}
	return nil
}

// serves tells whether the function takes a method; all when it names none.
func (f function) serves(method string) bool {
	return len(f.methods) == 0 || slices.ContainsFunc(f.methods, func(m string) bool { return strings.EqualFold(m, method) })
}

// match is the first function, in the host's order, whose route and methods
// take the request; nil when there is none (D 10).
func match(functions []function, method, path string) *function {
	for i := range functions {
		if functions[i].serves(method) && functions[i].route.matches(path) {
			return &functions[i]
		}
	}
	return nil
}
