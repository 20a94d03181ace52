package operation

// All is every operation that Spillway knows, with its place and its dialect.
func All() *Routes {
	post := []string{"POST"}
	return &Routes{operations: []Operation{
		{Name: "chat", Path: "chat/completions", Methods: post, Dialect: Chat},
		{Name: "completions", Path: "completions", Methods: post, Dialect: Chat},
		{Name: "embeddings", Path: "embeddings", Methods: post},
	}}
}
