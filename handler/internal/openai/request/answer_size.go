package request

import (
	"maps"
	"math"
	"slices"

	"spillway/handler/internal/openai/jsonscan"
)

// Services that are compatible with OpenAI's bound and multiply answers by members of
// other names too, some of which go before its own. A parse with Strict finds them, in
// whatever spelling and wherever they are, and some others like them.

// standIns are those members, by what stands for them.
var standIns = map[string][]string{
	boundMember: {
		"max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "max_tokens_to_sample", "max_gen_len", "max_generated_tokens",
		"max_generation_tokens", "max_response_tokens", "max_decode_tokens", "n_predict", "num_predict",
	},
	budgetMember: {
		"budget_tokens", "thinking_budget", "thinking_budget_tokens", "thinking_token_budget", "reasoning_budget", "max_thinking_tokens", "max_reasoning_tokens",
	},
	choicesMember:  {"n_cmpl", "num_return_sequences", "candidate_count", "num_completions", "num_generations", "num_choices", "num_samples", "best_of"},
	cacheKeyMember: {"prompt_cache_key"},
	anyReachMember: {"wandb"},                              // of a fine-tuning job, with the key that the resource has
	mapMember:      {"configs", "graders", "data_mapping"}, // by the names of tools, of what a grader combines, and of what it reads
}

var (
	speltStandIns = newFoldings(slices.Concat(slices.Collect(maps.Values(standIns))...)...)
	standInByName = func() map[string]jsonscan.Name {
		names := map[string]jsonscan.Name{}
		for stands, list := range standIns {
			for _, name := range list {
				names[name] = vocabulary.Of(stands)
			}
		}
		return names
	}()
)

// BoundsAnswer reports whether some service takes a member of this name, in any
// spelling, for a bound of the answer.
func BoundsAnswer(name string) bool {
	return standInByName[speltStandIns.find([]byte(name))] == boundName
}

// addCounted adds what a member says of the size of the answer. A bound that is none
// has the answer be of any length; a budget of thinking is inside the bound, unless it
// is larger.
func (s *parser) addCounted(m *jsonscan.Match) {
	n, ok := parseLimit(s.Data[m.Value.From:m.Value.To])
	switch {
	case m.Name == choicesName:
		s.parsed.Choices = max(s.parsed.Choices, n)
		return
	case m.Name == boundName && (!ok || n == 0):
		n = math.MaxInt64
	}
	s.parsed.OtherBound = max(s.parsed.OtherBound, n)
}

// unmeasured is how much of the members that are not known to be read by the model is
// not counted as a prompt: the usual parameters are shorter.
const unmeasured = 256

// CountAll counts all members of the body as a prompt but the metadata: a server may
// have the model read any of them.
func (p *ParsedRequest) CountAll() {
	p.PromptBytes += max(p.OtherBytes-unmeasured, 0)
	p.OtherBytes = 0
}
