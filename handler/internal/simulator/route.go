package simulator

import (
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// family is the form of a path (docs/azure-openai.md#addresses).
type family int

const (
	familyNone       family = iota // not a path of this service
	familyDeployment               // /openai/deployments/{deployment}/{operation}
	familyRoot                     // /openai/{operation}
	familyV1                       // /openai/v1/{operation}
)

// route is a parsed path.
type route struct {
	family     family
	deployment string // only in familyDeployment
	operation  string // "chat/completions", "responses", "files", …
	rest       []string
	version    string // api-version as sent
}

var versionShape = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`) })

// parseRoute parses an escaped path. One with an empty segment is no path of the
// service.
func parseRoute(path string, query url.Values) route {
	segments, ok := pathSegments(path)
	if !ok || len(segments) < 2 || segments[0] != "openai" {
		return route{}
	}
	r := route{version: query.Get("api-version")}
	switch segments[1] {
	case "deployments":
		if len(segments) < 4 {
			return route{}
		}
		r.family, r.deployment = familyDeployment, segments[2]
		segments = segments[3:]
	case "v1":
		r.family = familyV1
		segments = segments[2:]
	default:
		r.family = familyRoot
		segments = segments[1:]
	}
	r.operation, r.rest = splitOperation(segments)
	return r
}

func pathSegments(path string) ([]string, bool) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil || plain == "" {
			return nil, false
		}
		segments[i] = plain
	}
	return segments, true
}

// splitOperation splits the operation's name from the ids that follow it.
func splitOperation(segments []string) (string, []string) {
	if len(segments) == 0 {
		return "", nil
	}
	switch segments[0] {
	case "chat", "audio", "images", "fine_tuning":
		if len(segments) > 1 {
			return segments[0] + "/" + segments[1], segments[2:]
		}
	}
	return segments[0], segments[1:]
}

// versionFits reports whether api-version is valid for the family: required and
// dated on classic paths, optional on v1.
func (r route) versionFits() bool {
	if r.family == familyV1 {
		return r.version == "" || r.version == "v1" || r.version == "preview" || r.version == "latest"
	}
	return versionShape().MatchString(r.version)
}

// streamsUsage reports whether stream_options.include_usage is supported.
func (r route) streamsUsage() bool {
	return r.family == familyV1 || strings.TrimSuffix(r.version, "-preview") >= "2024-09-01"
}

// operationID is the operation's name in error texts.
func (r route) operationID() string {
	switch r.operation {
	case "chat/completions":
		return "ChatCompletions_Create"
	case "completions":
		return "Completions_Create"
	case "embeddings":
		return "Embeddings_Create"
	case "responses":
		return "Responses_Create"
	case "images/generations":
		return "ImageGenerations_Create"
	case "audio/transcriptions":
		return "Transcriptions_Create"
	case "audio/translations":
		return "Translations_Create"
	case "audio/speech":
		return "Speech_Create"
	default:
		return r.operation
	}
}
