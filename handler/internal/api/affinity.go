package api

import (
	"net/http"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// A prompt cache serves prompts of at least 1,024 tokens, and only their
// common beginning (facts/azure-openai.md §6.1).
const (
	cacheable = 4 << 10
	prefix    = 4 << 10
)

// sharedPrompt numbers the prompt cache that a request could share: its consumer
// and model with the key or session that it names, else with the beginning of
// its prompt. 0 is a request that no cache can serve.
func sharedPrompt(h http.Header, r *proxy.Request) uint64 {
	if r.Operation.Dialect == operations.Plain {
		return 0
	}
	n := fnv(offset, r.Model)
	if r.Consumer != nil {
		n = fnv(n, r.Consumer.Name)
	}
	switch {
	case r.Parsed.PromptCacheKey != "":
		return fnv(n, r.Parsed.PromptCacheKey)
	case h.Get("X-Ms-Session-Id") != "":
		return fnv(n, h.Get("X-Ms-Session-Id"))
	case r.Parsed.PromptBytes >= cacheable:
		at := r.Parsed.PromptSpan
		return fnv(n, r.Body[at.From:min(at.To, at.From+prefix)])
	}
	return 0
}

const offset = 14695981039346656037

// fnv is FNV-1a: the same on every instance, unlike a seeded hash.
func fnv[T string | []byte](h uint64, s T) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h*1099511628211 ^ 1 // a mark between two strings, and never 0 in practice
}
