package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// checkReach refuses what reaches, without an id, things that are not known to be
// the consumer's: data sources that are read with the backend's own identity
// (docs/security.md#ids-have-owners).
func (s *Server) checkReach(req *proxy.Request) *Error {
	c := req.Consumer
	size := decodedSize(req)
	if req.Memory.Grow(size) != nil {
		return s.overloaded()
	}
	defer req.Memory.Shrink(size)
	if s.fenced(c) && req.Operation.Name == "batches" && !c.Reaches(consumer.DataSources) && inStorage(req.Body) {
		return reachRefused(consumer.DataSources, "batches in a storage account (input_blob, output_folder): nobody checks their lines, and the backend reads and writes them with its own identity")
	}
	if !s.StrictIDs {
		return nil
	}
	span := req.Parsed.DataSources
	switch {
	case req.Parsed.NestedCacheKey:
		return nestedCacheKey()
	case c.Reaches(consumer.DataSources):
	case req.Parsed.Reaches != "":
		return reachRefused(consumer.DataSources, printable(req.Parsed.Reaches)+", which the backend uses with its own identity")
	case req.Parsed.NestedSources, span.To > span.From && readWithBackendIdentity(req.Body[span.From:span.To]):
		return reachRefused(consumer.DataSources, "data_sources that the backend reads with its own identity")
	}
	return nil
}

// decodedBytes is how much memory a byte of JSON takes when it is decoded: a value of
// two bytes becomes one of thirty.
const decodedBytes = 16

// decodedSize is how much memory decoding takes of what checkReach decodes.
func decodedSize(req *proxy.Request) int64 {
	span := req.Parsed.DataSources
	n := span.To - span.From
	if req.Operation.Name == "batches" {
		n = len(req.Body)
	}
	return decodedBytes * int64(n)
}

// ownCredentials are the types of authentication in which the caller brings the
// credential.
var ownCredentials = []string{"access_token", "api_key", "connection_string", "encoded_api_key", "key_and_key_id", "username_and_password"}

// readWithBackendIdentity reports whether one of the data sources, or what embeds its
// queries, does not name a credential of the caller's. Without any, the service uses its
// identity.
func readWithBackendIdentity(sources []byte) bool {
	var list []struct {
		Parameters map[string]json.RawMessage `json:"parameters"`
	}
	if json.Unmarshal(sources, &list) != nil {
		return true
	}
	for _, source := range list {
		if !isOwnCredential(source.Parameters["authentication"]) || embedsWithBackendIdentity(source.Parameters["embedding_dependency"]) {
			return true
		}
	}
	return false
}

func isOwnCredential(text json.RawMessage) bool {
	var authentication map[string]any
	if json.Unmarshal(text, &authentication) != nil {
		return false
	}
	kind, _ := authentication["type"].(string)
	return slices.Contains(ownCredentials, kind)
}

// embedsWithBackendIdentity reports whether queries are embedded at an address of the
// caller's choice without a credential of its own. Deployments are models, and are checked
// as such.
func embedsWithBackendIdentity(text json.RawMessage) bool {
	var dependency map[string]json.RawMessage
	if len(text) == 0 {
		return false
	}
	if json.Unmarshal(text, &dependency) != nil {
		return true
	}
	needed := len(dependency["authentication"]) > 0 || len(dependency["endpoint"]) > 0
	return needed && !isOwnCredential(dependency["authentication"])
}

// storageMembers have a batch read and written in a storage account, under the
// identity of the backend.
var storageMembers = []string{"input_blob", "output_folder"}

// inStorage reports whether a batch names a storage account.
func inStorage(body []byte) bool {
	var members map[string]json.RawMessage
	if len(body) == 0 {
		return false
	}
	if json.Unmarshal(body, &members) != nil {
		return true
	}
	for name := range members {
		if slices.ContainsFunc(storageMembers, func(m string) bool { return request.SameName(m, name) }) {
			return true
		}
	}
	return false
}

func reachRefused(what consumer.Reach, text string) *Error {
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "reach_not_allowed", Final: true,
		Message: "Your key may not use " + text + ": they can read what others stored. Ask your platform team for \"reach\": [\"" + string(what) + "\"].",
	}
}
