package funchost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// findFunctions reads the functions of root, in immediate sub-folders only, in
// the order in which the host tries their routes: by name, without regard to
// case. A function that the host would leave out is reported to refuse; one that
// would get the envelope is an error.
func findFunctions(root, prefix string, refuse func(name string, reason error)) ([]function, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	var found []function
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(root, entry.Name(), "function.json"))
		if err != nil {
			continue // not a function's folder
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
		return function{}, fmt.Errorf("%q is not a function name: use letters, digits, _ and -, a letter first", name)
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

// levelOf is a function's level; "function" when it names none.
func levelOf(name string) string {
	if name == "" {
		return "function"
	}
	return strings.ToLower(name)
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

// serves reports whether the function takes a method; all when it names none.
func (f function) serves(method string) bool {
	return len(f.methods) == 0 || slices.ContainsFunc(f.methods, func(m string) bool { return strings.EqualFold(m, method) })
}

// match is the first function, in the host's order, whose route and methods
// take the request; nil when there is none. A path with an empty segment has
// none (docs/functions-host.md#routes).
func match(functions []function, method, path string) *function {
	if strings.Contains(path, "//") {
		return nil
	}
	for i := range functions {
		if functions[i].serves(method) && functions[i].route.matches(path) {
			return &functions[i]
		}
	}
	return nil
}

// route is a template of ASP.NET Core as far as functions use them: literals,
// {name}, {name?}, {name:constraint} and a last {*name}, each a whole segment.
type route struct {
	template string
	segments []segment
}

type segment struct {
	literal  string // "" for a parameter
	catchAll bool
	optional bool
	takes    func(string) bool
}

// compileRoute joins the prefix and a function's route. Routes that
// begin with admin or runtime are the host's own.
func compileRoute(prefix, path string) (route, error) {
	path = strings.Trim(path, "/")
	for _, reserved := range []string{"admin", "runtime"} {
		if len(path) >= len(reserved) && strings.EqualFold(path[:len(reserved)], reserved) {
			return route{}, fmt.Errorf("the specified route %q conflicts with one or more built in routes: it must not start with %q", path, reserved)
		}
	}
	template := strings.Trim(prefix+"/"+path, "/")
	compiled := route{template: template}
	for part := range strings.SplitSeq(template, "/") {
		one, err := compileSegment(part)
		if err != nil {
			return route{}, fmt.Errorf("route %q: %w", template, err)
		}
		compiled.segments = append(compiled.segments, one)
	}
	return compiled, nil
}

func compileSegment(part string) (segment, error) {
	if !strings.ContainsAny(part, "{}") {
		return segment{literal: part}, nil
	}
	if !strings.HasPrefix(part, "{") || !strings.HasSuffix(part, "}") {
		return segment{}, fmt.Errorf("segment %q mixes text and a parameter, which the double does not support", part)
	}
	name := part[1 : len(part)-1]
	one := segment{takes: func(string) bool { return true }}
	if rest, found := strings.CutPrefix(name, "*"); found {
		one.catchAll = true
		name = strings.TrimPrefix(rest, "*")
	}
	if rest, found := strings.CutSuffix(name, "?"); found {
		one.optional = true
		name = rest
	}
	if _, text, found := strings.Cut(name, ":"); found {
		takes, err := constraint(text)
		if err != nil {
			return segment{}, err
		}
		one.takes = takes
	}
	return one, nil
}

// constraint compiles the usual constraints of routes.
func constraint(text string) (func(string) bool, error) {
	if pattern, found := strings.CutPrefix(text, "regex("); found {
		compiled, err := regexp.Compile("(?i)" + strings.TrimSuffix(pattern, ")"))
		if err != nil {
			return nil, fmt.Errorf("constraint %q: %w", text, err)
		}
		return compiled.MatchString, nil
	}
	switch text {
	case "int":
		return func(s string) bool { _, err := strconv.ParseInt(s, 10, 32); return err == nil }, nil
	case "long":
		return func(s string) bool { _, err := strconv.ParseInt(s, 10, 64); return err == nil }, nil
	case "alpha":
		return regexp.MustCompile(`^[A-Za-z]*$`).MatchString, nil
	case "guid":
		return regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString, nil
	}
	return nil, fmt.Errorf("constraint %q is not supported by the double", text)
}

// matches reports whether a decoded path fits the whole template. Literals
// match without regard to case; one slash at the end does not count.
func (r route) matches(path string) bool {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	var parts []string
	if path != "" {
		parts = strings.Split(path, "/")
	}
	for i, want := range r.segments {
		switch {
		case want.catchAll:
			return want.takes(strings.Join(parts[min(i, len(parts)):], "/"))
		case i >= len(parts):
			return want.optional
		case want.takes == nil && !strings.EqualFold(want.literal, parts[i]):
			return false
		case want.takes != nil && (parts[i] == "" || !want.takes(parts[i])):
			return false
		}
	}
	return len(parts) <= len(r.segments)
}
