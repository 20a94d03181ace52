package operations

// All is every operation that Spillway knows, with its place and its dialect
// (facts/azure-openai.md §1.1, §1.2). The most common come first.
func All() *Routes {
	all := generationOperations()
	all = append(all, responseOperations()...)
	all = append(all, pinnedOperations()...)
	return &Routes{operations: append(all,
		Operation{Name: "models", Path: "models", Methods: []string{"GET"}, Scope: OutsideDeployment, State: Local, Subpaths: true},
		// What Azure does not have, such as rerank, an OpenAI-compatible backend may.
		Operation{Name: "other", Methods: []string{"GET", "POST", "DELETE"}, Body: Opaque, Scope: NoClassic, Subpaths: true, CompatibleOnly: true},
	)}
}

// generationOperations is the operations that any backend of the model can serve.
func generationOperations() []Operation {
	post := []string{"POST"}
	return []Operation{
		{Name: "chat", Path: "chat/completions", Methods: post, Dialect: Chat},
		{Name: "completions", Path: "completions", Methods: post, Dialect: Chat},
		{Name: "embeddings", Path: "embeddings", Methods: post},
		{Name: "images", Path: "images/generations", Methods: post},
		{Name: "image-edits", Path: "images/edits", Methods: post, Body: Multipart, Scope: Anywhere},
		{Name: "image-variations", Path: "images/variations", Methods: post, Body: Multipart, Scope: Anywhere},
		{Name: "speech", Path: "audio/speech", Methods: post},
		{Name: "transcriptions", Path: "audio/transcriptions", Methods: post, Body: Multipart},
		{Name: "translations", Path: "audio/translations", Methods: post, Body: Multipart},
	}
}

// responseOperations is the operations whose answers a resource keeps, and those that
// ask for them again.
func responseOperations() []Operation {
	post, all := []string{"POST"}, []string{"GET", "POST", "DELETE"}
	return []Operation{
		{Name: "responses", Path: "responses", Methods: post, Dialect: Responses, Scope: OutsideDeployment, State: Stateful, RecordsID: true},
		{Name: "compact", Path: "responses/compact", Methods: post, Scope: OutsideDeployment, State: Stateful, RecordsID: true},
		{Name: "input-tokens", Path: "responses/input_tokens", Methods: post, Scope: OutsideDeployment, State: Stateful},
		{Name: "response", Path: "responses", Methods: all, Dialect: Responses, Scope: OutsideDeployment, State: ByID, Subpaths: true},
		{Name: "conversations", Path: "conversations", Methods: post, Body: Opaque, Scope: OutsideDeployment, State: Pinned, RecordsID: true},
		{Name: "conversation", Path: "conversations", Methods: all, Body: Opaque, Scope: OutsideDeployment, State: ByID, Subpaths: true},
		{Name: "stored-chat", Path: "chat/completions", Methods: all, Body: Opaque, Scope: NoClassic, State: ByID, Subpaths: true},
	}
}

// pinnedOperations is the operations on what lives at one resource and nowhere else.
func pinnedOperations() []Operation {
	var all []Operation
	for _, o := range [...]Operation{
		{Name: "files", Path: "files"},
		{Name: "uploads", Path: "uploads"},
		{Name: "batches", Path: "batches", Scope: Anywhere},
		{Name: "vector-stores", Path: "vector_stores"},
		{Name: "fine-tuning", Path: "fine_tuning"},
		{Name: "assistants", Path: "assistants"},
		{Name: "threads", Path: "threads"},
		{Name: "containers", Path: "containers"},
		{Name: "evals", Path: "evals"},
	} {
		o.Methods, o.Body, o.State, o.Subpaths = []string{"GET", "POST", "DELETE"}, Opaque, Pinned, true
		if o.Scope == InDeployment {
			o.Scope = OutsideDeployment
		}
		all = append(all, o)
	}
	return all
}
