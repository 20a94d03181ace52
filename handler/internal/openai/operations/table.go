package operations

import "slices"

// table is every operation; what keeps state is in
// docs/azure-openai.md#stateful-operations.
var table = slices.Concat(generation(), responses(), pinned(), []Operation{
	{Name: "models", Path: "models", State: Local},
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

// generation is the operations that any backend of the model can serve.
func generation() []Operation {
	return []Operation{
		{Name: "chat", Path: "chat/completions", Dialect: Chat},
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

// responses is the operations whose answers a resource keeps, and those that
// refer to them by id.
func responses() []Operation {
	return []Operation{
		{Name: "responses", Path: "responses", Dialect: Responses, State: Stateful, RecordsID: true},
		{Name: "compact", Path: "responses/compact", State: Stateful, RecordsID: true},
		{Name: "input-tokens", Path: "responses/input_tokens", State: Stateful},
		{Name: "response", Path: "responses", Dialect: Responses, State: ByID},
		{Name: "conversations", Path: "conversations", Body: Opaque, State: Pinned, RecordsID: true},
		{Name: "conversation", Path: "conversations", Body: Opaque, State: ByID},
		{Name: "stored-chat", Path: "chat/completions", Body: Opaque, State: ByID},
	}
}

// pinned is the operations on what one resource holds and no other.
func pinned() []Operation {
	return []Operation{
		{Name: "files", Path: "files", Body: Opaque, State: Pinned},
		{Name: "uploads", Path: "uploads", Body: Opaque, State: Pinned},
		{Name: "batches", Path: "batches", Body: Opaque, State: Pinned},
		{Name: "vector-stores", Path: "vector_stores", Body: Opaque, State: Pinned},
		{Name: "fine-tuning", Path: "fine_tuning", Body: Opaque, State: Pinned},
		{Name: "assistants", Path: "assistants", Body: Opaque, State: Pinned},
		{Name: "threads", Path: "threads", Body: Opaque, State: Pinned},
		{Name: "containers", Path: "containers", Body: Opaque, State: Pinned},
		{Name: "evals", Path: "evals", Body: Opaque, State: Pinned},
	}
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
