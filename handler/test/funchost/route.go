package funchost

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

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

// compileRoute joins the prefix and a function's route (D 11). Routes that
// begin with admin or runtime are the host's own (D 12).
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
		return segment{}, fmt.Errorf("segment %q mixes text and a parameter, which the double does not know", part)
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
	if _, word, found := strings.Cut(name, ":"); found {
		takes, err := constraint(word)
		if err != nil {
			return segment{}, err
		}
		one.takes = takes
	}
	return one, nil
}

// constraint compiles the constraints that functions are seen to use.
func constraint(word string) (func(string) bool, error) {
	if pattern, found := strings.CutPrefix(word, "regex("); found {
		compiled, err := regexp.Compile("(?i)" + strings.TrimSuffix(pattern, ")"))
		if err != nil {
			return nil, fmt.Errorf("constraint %q: %w", word, err)
		}
		return compiled.MatchString, nil
	}
	switch word {
	case "int":
		return func(s string) bool { _, err := strconv.ParseInt(s, 10, 32); return err == nil }, nil
	case "long":
		return func(s string) bool { _, err := strconv.ParseInt(s, 10, 64); return err == nil }, nil
	case "alpha":
		return regexp.MustCompile(`^[A-Za-z]*$`).MatchString, nil
	case "guid":
		return regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString, nil
	}
	return nil, fmt.Errorf("constraint %q is not known to the double", word)
}

// matches tells whether a decoded path fits the whole template. Literals match
// without regard to case; one slash at the end does not count.
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
