package operations

import (
	"errors"
	"strings"
)

// Route is what a path asks for.
type Route struct {
	Operation  *Operation
	Family     Family
	Deployment string // with Deployments: the name in the path
	Subpath    string // below the operation's path: "resp_1/cancel"; "" mostly
}

// What a path can be wrong in.
var (
	ErrUnknownPath = errors.New("operation: no such path")
	ErrUnsafePath  = errors.New("operation: path segment is not acceptable")
)

// Routes is the operations that callers may ask for.
type Routes struct{ operations []Operation }

// Parse reads an escaped URL path. Empty segments, as a base URL with a slash
// too many makes them, are passed over; segments that decode to anything but
// plain characters are refused, so that no path can leave its place.
func (t *Routes) Parse(escapedPath string) (Route, error) {
	segments, err := splitPath(escapedPath)
	if err != nil {
		return Route{}, err
	}
	switch {
	case hasSegments(segments, "openai", "deployments") && len(segments) > 3:
		r, err := t.match(Deployments, segments[3:])
		r.Deployment = segments[2]
		return r, err
	case hasSegments(segments, "openai", "v1"):
		return t.match(V1, segments[2:])
	case hasSegments(segments, "openai"):
		return t.match(Unscoped, segments[1:])
	case hasSegments(segments, "v1"):
		return t.match(Bare, segments[1:])
	}
	return Route{}, ErrUnknownPath
}

func hasSegments(segments []string, prefix ...string) bool {
	if len(segments) <= len(prefix) {
		return false
	}
	for i, p := range prefix {
		if segments[i] != p {
			return false
		}
	}
	return true
}

// ByName is the operation with this name, or nil.
func (t *Routes) ByName(name string) *Operation {
	for i := range t.operations {
		if t.operations[i].Name == name {
			return &t.operations[i]
		}
	}
	return nil
}

// match looks the operation up: one whose path it is, else the one with the
// longest path that it is below.
func (t *Routes) match(f Family, segments []string) (Route, error) {
	path := strings.Join(segments, "/")
	best := Route{Family: f}
	for i := range t.operations {
		o := &t.operations[i]
		rest, fits := cutBase(path, o.Path)
		switch {
		case !fits || !o.Scope.allows(f):
			continue
		case rest == "":
			return Route{Family: f, Operation: o}, nil
		case o.Subpaths && (best.Operation == nil || len(o.Path) > len(best.Operation.Path)):
			best.Operation, best.Subpath = o, rest
		}
	}
	if best.Operation == nil {
		return best, ErrUnknownPath
	}
	return best, nil
}

// cutBase is what is left of path behind the segments of base.
func cutBase(path, base string) (rest string, ok bool) {
	if base == "" {
		return path, true
	}
	rest, ok = strings.CutPrefix(path, base)
	if !ok || rest == "" {
		return rest, ok
	}
	return rest[1:], rest[0] == '/'
}

// allows reports whether URLs of the family may name an operation of this scope.
func (s Scope) allows(f Family) bool {
	switch f {
	case Deployments:
		return s == InDeployment || s == Anywhere
	case Unscoped:
		return s == OutsideDeployment || s == Anywhere
	case V1, Bare:
	}
	return true
}

// splitPath takes a path apart at its slashes and decodes each segment once.
func splitPath(escapedPath string) ([]string, error) {
	segments := make([]string, 0, 6)
	for segment := range strings.SplitSeq(escapedPath, "/") {
		if segment == "" {
			continue
		}
		if strings.IndexByte(segment, '%') >= 0 {
			decoded, err := unescape(segment)
			if err != nil {
				return nil, err
			}
			segment = decoded
		}
		if !IsSafeName(segment) {
			return nil, ErrUnsafePath
		}
		segments = append(segments, segment)
	}
	return segments, nil
}

func unescape(segment string) (string, error) {
	out := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == '%' {
			if i+2 >= len(segment) {
				return "", ErrUnsafePath
			}
			hi, lo := unhex(segment[i+1]), unhex(segment[i+2])
			if hi < 0 || lo < 0 {
				return "", ErrUnsafePath
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		out = append(out, c)
	}
	return string(out), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// maxNameLength is the longest model name or id that is looked up at all.
const maxNameLength = 128

// IsSafeName reports whether s may be looked up as a model, a deployment or an id:
// a letter or digit, then letters, digits, dots, underscores and dashes. Names
// are looked up in configuration and never spliced into a URL as they came.
func IsSafeName(s string) bool {
	if s == "" || len(s) > maxNameLength || !isAlphanumeric(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
