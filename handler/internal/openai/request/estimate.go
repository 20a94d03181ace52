package request

import "math"

// Estimate is the most tokens that a request may cost, as Azure counts on
// arrival (facts/azure-openai.md §3.1): the prompt's characters / 4 and the
// largest output of every choice. It saturates and is never negative. A request
// that bounds no output counts as its prompt alone.
func Estimate(f *ParsedRequest) int64 {
	prompt := f.PromptBytes / 4
	each := max(f.Choices, 1)
	if f.MaxOutputTokens > (math.MaxInt64-prompt)/each {
		return math.MaxInt64
	}
	return prompt + f.MaxOutputTokens*each
}
