package classify

import (
	"fmt"
	"testing"
	"time"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
)

// Usage that is told twice, too early, or as less than before lowers nothing: what it
// includes of the text is known.
func TestOddUsageOfAnswers(t *testing.T) {
	const full, nothing = `{"prompt_tokens":10,"completion_tokens":20}`, `{"prompt_tokens":0,"completion_tokens":0}`
	chunk := func(text, usage string) string {
		return fmt.Sprintf("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}],\"usage\":%s}\n\n", text, usage)
	}
	only := func(usage string) string { return `data: {"choices":[],"usage":` + usage + "}\n\n" }
	const end = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	told := usage.Tokens{Prompt: 10, Completion: 20}
	for name, c := range map[string]struct {
		events []string
		want   usage.Tokens
		later  int64
	}{
		"at the end":               {[]string{chunk("four", "null"), end, only(full)}, told, 0},
		"then nothing":             {[]string{chunk("four", "null"), end, only(full), only(nothing)}, told, 0},
		"then less":                {[]string{chunk("four", "null"), end, only(full), only(`{"prompt_tokens":1,"completion_tokens":1}`)}, told, 0},
		"then more":                {[]string{only(nothing), chunk("four", "null"), end, only(full)}, told, 0},
		"then a false one":         {[]string{chunk("four", "null"), end, only(full), only(`{"prompt_tokens":-1}`)}, told, 0},
		"ahead of the text":        {[]string{only(full), chunk("four", "null"), chunk("more", "null"), end}, told, 8},
		"in the middle":            {[]string{chunk("four", "null"), only(full), chunk("four", "null"), end}, told, 4},
		"in each chunk":            {[]string{chunk("four", `{"prompt_tokens":10,"completion_tokens":1}`), chunk("more", full), end}, told, 0},
		"none":                     {[]string{chunk("four", "null"), end}, usage.Tokens{}, 4},
		"more than any answer has": {[]string{chunk("four", "null"), end, only(`{"prompt_tokens":10,"completion_tokens":1000000000}`)}, usage.Tokens{}, 4},
	} {
		s := Stream{Dialect: operations.Chat}
		for _, event := range c.events {
			read(&s, event)
		}
		if s.Info.Usage != c.want || s.Info.LaterText() != c.later {
			t.Errorf("%s: %+v, %d bytes later; want %+v, %d", name, s.Info.Usage, s.Info.LaterText(), c.want, c.later)
		}
	}
	const answer = `{"choices":[{"index":0,"message":{"role":"assistant","content":"four"},"finish_reason":"stop"}]`
	for body, later := range map[string]int64{
		answer + `,"usage":` + full + `}`:                                                                        0,
		answer + `,"usage":` + full + `,"usage":` + nothing + `}`:                                                0,
		answer + `,"usage":` + nothing + `,"usage":` + full + `}`:                                                0,
		answer + `,"usage":` + full + `,"usage":{"prompt_tokens":-1}}`:                                           0,
		`{"usage":{"prompt_tokens":10,"completion_tokens":0},` + answer[1:] + `}`:                                4,
		answer + `,"usage":{"prompt_tokens":10}}`:                                                                4,
		`{"choices":[{"index":0,"message":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":10}}`: 0,
	} {
		info, _ := Body([]byte(body), nil, time.Time{}, Policy{}, "choices")
		if info.Usage.Prompt != 10 || info.LaterText() != later || later == 0 && info.Usage.Completion == 0 && info.TextBytes > 0 {
			t.Errorf("%+v, %d bytes later, want %d, of %s", info.Usage, info.LaterText(), later, body)
		}
	}
}
