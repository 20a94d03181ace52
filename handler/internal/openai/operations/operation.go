// Package operations lists what callers may ask for: the name of each
// operation, its path, and the shape of its stream.
//
// It knows no backend and serves nothing.
package operations

import (
	"slices"
	"strings"
)

// Dialect is the shape of a stream's events and of its errors.
type Dialect uint8

// The dialects (docs/azure-openai.md#streams, docs/azure-openai.md#responses-events,
// docs/azure-openai.md#anthropic-messages).
const (
	Plain     Dialect = iota // no events: one body
	Chat                     // data-only events, closed by data: [DONE]
	Responses                // named events with a type, no [DONE]
	Messages                 // Anthropic's: named events from message_start to message_stop
)

// BodyKind is the encoding of a request's body.
type BodyKind uint8

// The kinds of body.
const (
	JSON BodyKind = iota
	Multipart
	Opaque // passed on unread
)

// State is whether an operation needs the backend that holds something.
type State uint8

// The kinds of state (docs/azure-openai.md#stateful-operations).
const (
	Stateless State = iota // any backend
	Stateful               // may refer to earlier responses, and makes one that later requests refer to
	ByID                   // addresses by its id what one resource holds: responses/{id}
	Pinned                 // served by the one backend that is marked stateful: files, batches
	Local                  // answered by Spillway itself
)

// Stored reports whether an operation is about what a resource holds already:
// it costs no tokens, and only that resource can serve it.
func (s State) Stored() bool { return s == ByID || s == Pinned }

// Operation is one thing a caller may ask for.
type Operation struct {
	Name           string // in logs and metrics: "chat", "embeddings", "responses"
	Path           string // below /openai/v1/ and, in classic URLs, below the deployment
	Dialect        Dialect
	Body           BodyKind
	State          State
	Kind           Kind // of the objects that it makes, or addresses by their ids; "" = none
	RecordsID      bool // later requests name the id of the answer: its backend is recorded
	Retired        bool // the service no longer offers it
	CompatibleOnly bool // not one of Azure's: only for OpenAI-compatible backends
}

// Free reports whether the operation costs no tokens: what it answers is stored
// already, or only counted.
func (o *Operation) Free() bool { return o.State.Stored() || o.Counts() }

// Counts reports whether the operation only counts the tokens of a prompt.
func (o *Operation) Counts() bool { return o.Name == "count-tokens" || o.Name == "input-tokens" }

// Family is one of the URL families that callers use and backends offer.
type Family uint8

// The families (docs/azure-openai.md#addresses).
const (
	Deployments Family = iota // /openai/deployments/{deployment}/… with an api-version
	V1                        // /openai/v1/…, model in the body
	Bare                      // /v1/…, as OpenAI itself; sent to Azure as V1
	Unscoped                  // /openai/{responses|…} with an api-version
	Anthropic                 // /anthropic/v1/…, Anthropic's Messages API, model in the body
	Foundry                   // /models/… with an api-version of its own, model in the body; sent to Azure as V1
)

func (f Family) String() string {
	switch f {
	case Deployments:
		return "deployments"
	case V1:
		return "v1"
	case Bare:
		return "bare"
	case Unscoped:
		return "unscoped"
	case Anthropic:
		return "anthropic"
	case Foundry:
		return "foundry"
	}
	return "unknown"
}

// table is every operation; what keeps state is in
// docs/azure-openai.md#stateful-operations.
var table = slices.Concat(generation(), responses(), pinned(), []Operation{
	{Name: "models", Path: "models", State: Local},
	{Name: "messages", Path: "messages", Dialect: Messages},
	{Name: "count-tokens", Path: "messages/count_tokens"},
	// What Azure lacks, such as rerank, an OpenAI-compatible backend may offer.
	{Name: "other", Body: Opaque, CompatibleOnly: true},
})

// ByName returns the operation with this name, or nil. The caller must not
// change it.
func ByName(name string) *Operation {
	if i := slices.IndexFunc(table, func(o Operation) bool { return o.Name == name }); i >= 0 {
		return &table[i]
	}
	return nil
}

// compatible are the paths that OpenAI-compatible services offer besides Azure's:
// each computes an answer from its request, and keeps and administers nothing.
var compatible = map[string]bool{
	"classify": true, "decisions": true, "detokenize": true, "moderations": true, "pooling": true, "rerank": true, "score": true, "tokenize": true,
}

// IsCompatible reports whether a request below /v1 may go to an
// OpenAI-compatible backend, although no operation of Azure's has its path.
func IsCompatible(method, subpath string) bool {
	return method == "POST" && compatible[strings.ToLower(subpath)]
}

// generation returns the operations that any backend of the model can serve.
func generation() []Operation {
	return []Operation{
		{Name: "chat", Path: "chat/completions", Dialect: Chat, Kind: KindChat},
		{Name: "completions", Path: "completions", Dialect: Chat},
		{Name: "embeddings", Path: "embeddings"},
		{Name: "images", Path: "images/generations"},
		{Name: "image-edits", Path: "images/edits", Body: Multipart},
		{Name: "image-variations", Path: "images/variations", Body: Multipart},
		{Name: "speech", Path: "audio/speech"},
		{Name: "transcriptions", Path: "audio/transcriptions", Body: Multipart},
		{Name: "translations", Path: "audio/translations", Body: Multipart},
	}
}

// responses returns the operations whose answers a resource keeps, and those that
// refer to them by id.
func responses() []Operation {
	return []Operation{
		{Name: "responses", Path: "responses", Dialect: Responses, State: Stateful, Kind: KindResponse, RecordsID: true},
		{Name: "compact", Path: "responses/compact", State: Stateful, Kind: KindResponse, RecordsID: true},
		{Name: "input-tokens", Path: "responses/input_tokens", State: Stateful},
		{Name: "response", Path: "responses", Dialect: Responses, State: ByID, Kind: KindResponse},
		{Name: "conversations", Path: "conversations", Body: Opaque, State: Pinned, Kind: KindConversation, RecordsID: true},
		{Name: "conversation", Path: "conversations", Body: Opaque, State: ByID, Kind: KindConversation},
		{Name: "stored-chat", Path: "chat/completions", Body: Opaque, State: ByID, Kind: KindChat},
		{Name: "stored-chats", Path: "chat/completions", Body: Opaque, State: Pinned, Kind: KindChat},
	}
}

// pinned returns the operations on objects that one resource holds.
func pinned() []Operation {
	return []Operation{
		{Name: "files", Path: "files", Body: Opaque, State: Pinned, Kind: KindFile},
		{Name: "uploads", Path: "uploads", Body: Opaque, State: Pinned, Kind: KindUpload},
		{Name: "batches", Path: "batches", Body: Opaque, State: Pinned, Kind: KindBatch},
		{Name: "vector-stores", Path: "vector_stores", Body: Opaque, State: Pinned, Kind: KindVectorStore},
		{Name: "fine-tuning", Path: "fine_tuning", Body: Opaque, State: Pinned, Kind: KindTuningJob},
		{Name: "assistants", Path: "assistants", Body: Opaque, State: Pinned, Retired: true},
		{Name: "threads", Path: "threads", Body: Opaque, State: Pinned, Retired: true},
		{Name: "containers", Path: "containers", Body: Opaque, State: Pinned, Kind: KindContainer},
		{Name: "videos", Path: "videos", Body: Opaque, State: Pinned, Kind: KindVideo},
		{Name: "skills", Path: "skills", Body: Opaque, State: Pinned, Kind: KindSkill},
		{Name: "evals", Path: "evals", Body: Opaque, State: Pinned, Kind: KindEval},
	}
}

// maxNameLength is the longest name or id that is looked up.
const maxNameLength = 128

// IsSafeName reports whether s may be looked up as a model, a deployment or an id:
// a letter or digit, then letters, digits, dots, underscores and dashes. Names
// are looked up in configuration; a caller's spelling never goes into a URL.
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

// IsModelName reports whether s may be passed on in a body as a model's name: safe
// names with slashes, colons and at signs between and ahead of them, as
// OpenAI-compatible services have them: meta-llama/Llama-3.1-8B, gpt-4o:free, @cf/x.
func IsModelName(s string) bool {
	for segment := range strings.SplitSeq(s, "/") {
		if !IsSafeName(strings.ReplaceAll(strings.TrimPrefix(segment, "@"), ":", "_")) {
			return false
		}
	}
	return len(s) <= maxNameLength
}

// IsSafeID reports whether s may be a segment of a path: a name, or an id, which
// may have colons (ft:gpt-4o:contoso::7p4lURel:ckpt-step-100).
func IsSafeID(s string) bool { return IsSafeName(strings.ReplaceAll(s, ":", "_")) }

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
