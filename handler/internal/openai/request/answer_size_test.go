package request

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"
)

// What services of other dialects read as a bound is one, wherever it is and however it
// is spelt.
func TestOtherBoundsOfAnAnswer(t *testing.T) {
	for body, want := range map[string]int64{
		`{"max_tokens":5}`: 0, `{"max_tokens":-1,"max_completion_tokens":0,"max_output_tokens":null}`: 0, `{"n_predict":100}`: 100, `{"nPredict":1e3}`: 1000,
		`{"n_predict":-1}`: math.MaxInt64, `{"n_pr\u0065dict":0}`: math.MaxInt64, `{"n_predict":"9"}`: math.MaxInt64, `{"n_predict":true}`: math.MaxInt64, `{"n_predict":1e400}`: math.MaxInt64,
		`{"n_predict":null}`: 0, `{"options":{"num_predict":-2}}`: math.MaxInt64, `{"options":{"max_tokens":7}}`: 7, `{"extra_body":{"x":[{"max_new_tokens":70}]}}`: 70,
		`{"thinking":{"type":"enabled","budget_tokens":2000}}`: 2000, `{"thinking_budget":-1}`: 0, `{"reasoning":{"max_tokens":30}}`: 30,
		`{"inputs":"x","parameters":{"max_new_tokens":70}}`: 70, `{"input_data":{"parameters":{"max_new_tokens":-1}}}`: math.MaxInt64,
		`{"functions":[{"name":"f","parameters":{"max_new_tokens":-1}}]}`:                                           0,
		`{"tools":[{"type":"function","function":{"parameters":{"properties":{"max_tokens":{"type":"number"}}}}}]}`: 0,
		`{"metadata":{"n_predict":-1}}`: 0, `{"messages":[{"role":"user","content":[{"type":"text","text":"n_predict"}]}]}`: 0,
		`{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"max_tokens":-1}}]}]}`: 0,
	} {
		parsed, err := (&Parser{Strict: true}).Parse([]byte(body))
		if err != nil || parsed.OtherBound != want {
			t.Errorf("%s: %d, %v; want %d", body, parsed.OtherBound, err, want)
		}
	}
	for body, want := range map[string]int64{`{"n":2,"n_cmpl":5}`: 5, `{"num_return_sequences":3}`: 3, `{"generation_config":{"candidateCount":4}}`: 4} {
		if parsed, err := (&Parser{Strict: true}).Parse([]byte(body)); err != nil || parsed.Choices != want {
			t.Errorf("%s: %d choices, %v", body, parsed.Choices, err)
		}
	}
}

// Each member that is given must bound the answer.
func TestABoundTakesThePlaceOfWhatBoundsNothing(t *testing.T) {
	bound := Changes{Bound: Bound{MaxCompletionTokens, 50}}
	for body, want := range map[string]string{
		`{"a":1}`: `{"max_completion_tokens":50,"a":1}`,
		`{"max_tokens":5,"max_completion_tokens":-1}`:      `{"max_tokens":5,"max_completion_tokens":50}`,
		`{"max_tokens":-1,"max_completion_tokens":5}`:      `{"max_tokens":50,"max_completion_tokens":5}`,
		`{"max_tokens":0,"max_completion_tokens":-0.5}`:    `{"max_tokens":50,"max_completion_tokens":50}`,
		`{"max_tokens":null,"max_completion_tokens":null}`: `{"max_tokens":null,"max_completion_tokens":50}`,
		`{"max_tokens":-1}`:                                `{"max_completion_tokens":50,"max_tokens":50}`,
	} {
		parsed := mustParse(t, body)
		if got := string(parsed.Rewrite(nil, []byte(body), bound)); got != want || parsed.RewriteLen([]byte(body), bound) != len(want) || !parsed.NeedsRewrite(bound) {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
	}
}

// A text is a text, whatever it calls itself.
func TestTextsThatCallThemselvesFiles(t *testing.T) {
	prose := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("Tell me more. ", 10_000)))
	binary := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00\xff\x10 a", 30_000)))
	pdf := base64.StdEncoding.EncodeToString([]byte("%PDF-1.7 is text here " + strings.Repeat("and more ", 10_000)))
	plain := strings.Repeat("Tell me more. ", 10_000)
	file := func(name, url string) string {
		return `{"input":[{"content":[{"type":"input_file","filename":"` + name + `","file_data":"` + url + `"}]}]}`
	}
	source := func(media, data string) string {
		return `{"messages":[{"content":[{"type":"document","source":{"type":"base64","media_type":"` + media + `","data":"` + data + `"}}]}]}`
	}
	for body, counts := range map[string]bool{
		file("a.pdf", "data:application/pdf;base64,"+pdf):       false,
		file("document", "data:application/pdf;base64,"+binary): false,
		file("a.PDF", "data:application/pdf;base64,"+prose):     true,
		file("a.txt", "data:application/pdf;base64,"+pdf):       true,
		file("a.pdf", "data:text/plain;base64,"+prose):          true,

		file("a.pdf", prose): true,

		source("image/png", binary):      false,
		source("application/pdf", pdf):   false,
		source("text/plain", binary):     true,
		source("Text/Plain", pdf):        true,
		source("application/pdf", prose): true,
		source("image/png", plain):       true,

		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + plain + `"}}]}]}`:                             true,
		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/svg+xml;base64,` + prose + `"}}]}]}`:                         true,
		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + binary + `"}}]}]}`:                            false,
		`{"input":[{"type":"image_generation_call","id":"ig_1","result":"` + plain + `"}]}`:                                                       true,
		`{"input":[{"type":"image_generation_call","id":"ig_1","result":"` + prose + `"}]}`:                                                       true,
		`{"input":[{"type":"image_generation_call","id":"ig_1","result":"` + binary + `"}]}`:                                                      false,
		`{"messages":[{"content":[{"type":"tool_use","id":"t","name":"f","input":{"image_url":"data:image/png;base64,` + binary + `"}}]}]}`:       true,
		`{"tools":[{"type":"function","name":"f","parameters":{"properties":{"p":{"default":{"url":"data:image/png;base64,` + binary + `"}}}}}]}`: true,
	} {
		parsed, err := Parse([]byte(body))
		if err != nil || (parsed.PromptBytes > 80_000) != counts {
			t.Errorf("%.140s: %d bytes, %v", body, parsed.PromptBytes, err)
		}
	}
}

func TestCountAll(t *testing.T) {
	long := strings.Repeat("word ", 1000)
	for body, want := range map[string]int64{
		`{"model":"m","messages":[],"temperature":0.5,"tool_choice":{"type":"auto"}}`: 2,
		`{"messages":[],"chat_template":"` + long + `"}`:                              5002 + 2 - unmeasured,
		`{"messages":[],"metadata":{"a":"` + long + `"}}`:                             2,
		`{"chat_template":"` + long + `","x":{"role_information":"` + long + `"}}`:    5002 + 5002 + int64(len(`{"role_information":}`)) - unmeasured,
	} {
		parsed := mustParse(t, body)
		parsed.CountAll()
		parsed.CountAll()
		if parsed.PromptBytes != want {
			t.Errorf("%.80s: %d, want %d", body, parsed.PromptBytes, want)
		}
	}
}
