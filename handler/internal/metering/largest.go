package metering

import (
	"strings"

	"spillway/handler/internal/balancer"
)

// largestAnswers are the most completion tokens of known models, longest prefix
// first (docs/azure-openai.md#model-names).
var largestAnswers = []struct {
	prefix string
	tokens int64
}{
	{"gpt-5-chat", 16_384},
	{"gpt-5", 128_000},
	{"gpt-4.1", 32_768},
	{"gpt-4o", 16_384},
	{"gpt-4-32k", 8_192},
	{"gpt-4", 8_192},
	{"gpt-35", 4_096},
	{"gpt-3.5", 4_096},
	{"o1-mini", 65_536},
	{"o1", 100_000},
	{"o3", 100_000},
	{"o4", 100_000},
	{"codex", 100_000},
	{"gpt-image", 16_384},
	{"dall-e", 0},
	{"whisper", 0},
	{"tts", 0},
	{"text-embedding", 0},
}

// largestPrompts are the most prompt tokens of known models, longest prefix first.
var largestPrompts = []struct {
	prefix string
	tokens int64
}{
	{"gpt-5-chat", 128_000},
	{"gpt-5", 400_000},
	{"gpt-4.1", 1_047_576},
	{"gpt-4o", 128_000},
	{"gpt-4-turbo", 128_000},
	{"gpt-4-32k", 32_768},
	{"gpt-4", 8_192},
	{"gpt-35", 16_384},
	{"gpt-3.5", 16_384},
}

// Assumed of any other model.
const (
	otherLargest = 32_768
	otherPrompt  = 200_000
)

// LargestPrompt is the most prompt tokens of a request to the pool's model, which is
// assumed when it is not known.
func LargestPrompt(p *balancer.Pool) int64 {
	model := strings.ToLower(p.Model)
	for _, m := range largestPrompts {
		if strings.HasPrefix(model, m.prefix) {
			return m.tokens
		}
	}
	return otherPrompt
}

// LargestAnswer is the most completion tokens of an answer of the pool's model,
// which is assumed when it is not known.
func LargestAnswer(p *balancer.Pool) int64 {
	if n, known := KnownLargestAnswer(p); known {
		return n
	}
	return otherLargest
}

// KnownLargestAnswer is LargestAnswer, if that is configured or in the table.
func KnownLargestAnswer(p *balancer.Pool) (tokens int64, known bool) {
	if p.MaxOutputTokens > 0 {
		return p.MaxOutputTokens, true
	}
	model := strings.ToLower(p.Model)
	for _, m := range largestAnswers {
		if strings.HasPrefix(model, m.prefix) {
			return m.tokens, true
		}
	}
	return 0, false
}
