package request

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"

	"github.com/google/go-cmp/cmp"
)

func mustParse(t *testing.T, body string) ParsedRequest {
	t.Helper()
	f, err := Parse([]byte(body))
	if err != nil {
		t.Fatalf("Parse(%.200q): %v", body, err)
	}
	return f
}

func at(body string, s Span) string { return body[s.From:s.To] }

func TestParseChat(t *testing.T) {
	body := ` {"messages": [{"role":"user","content":"hi, \"model\":\"no\""}], "model" : "gpt-4o", "stream":true,
	"stream_options":{"include_obfuscation":false,"include_usage":true}, "max_tokens":10,"max_completion_tokens":800,"n":4,"best_of":3,
	"prompt_cache_key":"k","service_tier":"flex","store":false,"temperature":1e400,"metadata":{"model":"other","stream":false}} `
	f := mustParse(t, body)
	no := false
	want := ParsedRequest{
		Model: "gpt-4o", ModelSpan: f.ModelSpan, Stream: true, StreamOptionsSpan: f.StreamOptionsSpan, IncludeUsage: true, IncludeUsageSpan: f.IncludeUsageSpan,
		MaxOutputTokens: 800, Choices: 4, Returned: 4, PromptBytes: int64(len(at(body, f.PromptSpan))), PromptSpan: f.PromptSpan,
		OutputBounds:   [outputMembers]OutputBound{MaxTokens: {Tokens: 10, Span: f.OutputBounds[MaxTokens].Span}, MaxCompletionTokens: {Tokens: 800, Span: f.OutputBounds[MaxCompletionTokens].Span}},
		PromptCacheKey: "k", PromptCacheKeySpan: f.PromptCacheKeySpan, ServiceTier: "flex", Store: &no, InsertAt: 2, OtherBytes: 5, AsksForText: true,
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	for want, span := range map[string]Span{
		`"gpt-4o"`: f.ModelSpan, `true`: f.IncludeUsageSpan,
		`{"include_obfuscation":false,"include_usage":true}`: f.StreamOptionsSpan,
		`[{"role":"user","content":"hi, \"model\":\"no\""}]`: f.PromptSpan,
	} {
		if got := at(body, span); got != want {
			t.Errorf("a span holds %q, want %q", got, want)
		}
	}
}

func TestParseResponses(t *testing.T) {
	f := mustParse(t, `{"model":"gpt-4o","instructions":"Be brief.","input":"hi","tools":[{}],"max_output_tokens":5,"previous_response_id":"resp_1","conversation":{"id":"conv_1","x":{}},"background":true}`)
	want := ParsedRequest{
		Model: "gpt-4o", ModelSpan: f.ModelSpan, MaxOutputTokens: 5, OutputBounds: f.OutputBounds, PromptBytes: int64(len(`"Be brief."` + `"hi"` + `[{}]`)), PromptSpan: f.PromptSpan,
		PreviousResponseID: "resp_1", Conversation: "conv_1", Background: true, InsertAt: 1, AsksForText: true, Tools: Span{66, 70},
		References: []Reference{
			{Kind: operations.KindResponse, ID: "resp_1", Param: "previous_response_id"},
			{Kind: operations.KindConversation, ID: "conv_1", Param: "conversation"},
		},
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

// What is no text in the caller's own metadata is not refused.
func TestParseFindsTheEndUserInMetadata(t *testing.T) {
	for metadata, want := range map[string]string{
		`{"user_id":"ann"}`: "ann", `{"a":{"user_id":"no"},"user_id":"b\u006fb"}`: "bob", `{"user_id":null}`: "", `{"user_id":7,"x":1}`: "", `{}`: "", `null`: "",
		`"user_id"`: "", `[{"user_id":"no"}]`: "", `{"user_id":"` + strings.Repeat("x", 2000) + `"}`: "",
	} {
		if f := mustParse(t, `{"messages":[],"metadata":`+metadata+`,"user":"who"}`); f.MetadataUser != want || f.User != "who" {
			t.Errorf("%s: %q and %q, want %q", metadata, f.MetadataUser, f.User, want)
		}
	}
}

func TestParseFindsResourceBoundInput(t *testing.T) {
	tests := map[string]struct {
		input string
		bound bool
		id    string
	}{
		"text":                     {`"item_reference"`, false, ""},
		"messages":                 {`[{"role":"user","content":[{"type":"item_reference","id":"x"}]},{"type":"message","id":"msg_1","role":"assistant","content":[]}]`, false, ""},
		"a reference":              {`[{"role":"user","content":"a"},{"type":"item_reference","id":"rs_1"},{"type":"item_reference","id":"rs_2"}]`, true, "rs_1"},
		"a reference without type": {`[{"id":"msg_9"}]`, true, "msg_9"},
		"a picture by its id":      {`[{"type":"image_generation_call","id":"ig_1"}]`, true, "ig_1"},
		"a picture":                {`[{"type":"image_generation_call","id":"ig_1","result":"AA=="}]`, false, ""},
		"a call without an id":     {`[{"type":"function_call"},{"type":"image_generation_call","id":null}]`, false, ""},
		"a message without type":   {`[{"id":"msg_9","role":"user","content":"a"}]`, false, ""},
		"encrypted reasoning":      {`[{"type":"reasoning","id":"rs_3","summary":[],"encrypted_content":"gAAA"}]`, true, "rs_3"},
		"encrypted, no id":         {`[{"type":"compaction","encrypted_content":"gAAA"}]`, true, ""},
		"reasoning without it":     {`[{"type":"reasoning","id":"rs_4","summary":[],"encrypted_content":null}]`, true, "rs_4"},
		"reasoning without an id":  {`[{"type":"reasoning","summary":[]}]`, false, ""},
		"spelt with escapes":       {`[{"typ\u0065":"item\u005freference","i\u0064":"rs_5"}]`, true, "rs_5"},
		"not objects":              {`["item_reference",[1],7,null]`, false, ""},
	}
	for name, tt := range tests {
		f := mustParse(t, `{"input":`+tt.input+`}`)
		if f.ResourceBound != tt.bound || f.ResourceBoundID != tt.id {
			t.Errorf("%s: bound %t to %q, want %t to %q", name, f.ResourceBound, f.ResourceBoundID, tt.bound, tt.id)
		}
		if f.PromptBytes != int64(len(tt.input)) {
			t.Errorf("%s: %d prompt characters, want %d", name, f.PromptBytes, len(tt.input))
		}
	}
}

func TestAttachmentsCountAtAFixedSize(t *testing.T) {
	url := `"data:image/png;base64,` + strings.Repeat("iVBO", 100_000) + `"`
	for _, body := range []string{`{"input":[{"role":"user","content":[{"image_url":` + url + `}]}]}`, `{"messages":[{"role":"user","content":[{"image_url":` + url + `}]}]}`} {
		f := mustParse(t, body)
		if f.PromptBytes > 5000 || f.PromptBytes < 4096 {
			t.Errorf("an image of %d bytes counts %d", len(url), f.PromptBytes)
		}
	}
}

// A text that looks like data is read by the model all the same.
func TestTextsAreNoAttachments(t *testing.T) {
	text := `"` + strings.Repeat("AbCd", 100_000) + `"`
	for _, body := range []string{
		`{"messages":[{"role":"user","content":` + text + `}]}`, `{"messages":[{"role":"user","content":[{"type":"text","text":` + text + `}]}]}`,
		`{"input":` + text + `}`, `{"input":[` + text + `]}`, `{"prompt":` + text + `}`, `{"instructions":` + text + `}`, `{"prediction":{"type":"content","content":` + text + `}}`,
	} {
		if f := mustParse(t, body); f.PromptBytes < int64(len(text)) {
			t.Errorf("%.40s…: %d bytes of %d count", body, f.PromptBytes, len(text))
		}
	}
}

func TestEverythingThatTheModelReadsCounts(t *testing.T) {
	for _, name := range []string{"messages", "input", "prompt", "instructions", "tools", "functions", "response_format", "text", "prediction", "suffix", "documents", "query"} {
		const value = `["what the model reads"]`
		if f := mustParse(t, `{"model":"m","`+name+`":`+value+`,"user":"who"}`); f.PromptBytes != int64(len(value)) {
			t.Errorf("%s counts %d bytes, want %d", name, f.PromptBytes, len(value))
		}
	}
}

func TestEachPromptIsAnsweredByItself(t *testing.T) {
	for body, want := range map[string]int64{
		`{"prompt":["a","b","c"],"n":2}`: 6, `{"prompt":[[1,2],[3]],"best_of":5}`: 10, `{"prompt":[1,2,3]}`: 0, `{"prompt":"a","n":2}`: 2, `{"prompt":[],"n":2}`: 2,
		`{"n":9223372036854775807,"prompt":["a","b"]}`: 9223372036854775806,
	} {
		if f := mustParse(t, body); f.Choices != want {
			t.Errorf("%s: %d answers, want %d", body, f.Choices, want)
		}
	}
}

func TestParseTreatsNullAsAbsence(t *testing.T) {
	f := mustParse(t, `{"stream":null,"stream_options":null,"max_tokens":null,"n":null,"store":null,"background":null,"previous_response_id":null,"conversation":null,"prompt_cache_key":null,"service_tier":null,"messages":null}`)
	want := ParsedRequest{StreamOptionsSpan: f.StreamOptionsSpan, PromptSpan: f.PromptSpan, PromptBytes: 4, InsertAt: 1, OutputBounds: f.OutputBounds, AsksForText: true}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestParseComparesNamesExactlyAndUnescaped(t *testing.T) {
	f := mustParse(t, `{"MODEL":"a","Model":"b","ſtream":true,"\u0053tream":true,"mode\u006c":"c","model ":"d"}`)
	if f.Model != "c" || f.Stream {
		t.Errorf("model %q, stream %t; want c, false", f.Model, f.Stream)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, body string
		err        error
		member     string
		text       string
	}{
		{"nothing", "", ErrMalformed, "", "it is empty"},
		{"space", " \n", ErrMalformed, "", "it is empty"},
		{"an array", "[]", ErrMalformed, "", "must begin with an opening brace"},
		{"null", "null", ErrMalformed, "", "must begin with an opening brace"},
		{"a byte order mark", "\xef\xbb\xbf{}", ErrMalformed, "", "byte order mark"},
		{"NUL behind", "{}\x00", ErrMalformed, "", "something follows"},
		{"two objects", `{"model":"a"}{"model":"b"}`, ErrMalformed, "", "something follows its closing brace (at byte 13)"},
		{"a cut", `{"model":"a","messages":[{"ro`, ErrMalformed, "", "the text ends too early (at byte 29)"},
		{"a cut in the input", `{"input":[{"ro`, ErrMalformed, "", "the text ends too early (at byte 14)"},
		{"a bad item", `{"input":[{"type":tru}]}`, ErrMalformed, "", "true, false or null (at byte 18)"},
		{"a cut in the options", `{"stream_options":{"include_usage":tru`, ErrMalformed, "", "true, false or null"},
		{"bytes that are not UTF-8", "{\"messages\":\"\xff\"}", ErrMalformed, "", "not UTF-8 (at byte 13)"},
		{"half a surrogate pair", `{"messages":"\ud800"}`, ErrMalformed, "", "surrogate"},
		{"a model twice", `{"model":"a","model":"b"}`, ErrDuplicate, "model", `"model" is given more than once`},
		{"a model twice, escaped", `{"model":"a","mode\u006c":"b"}`, ErrDuplicate, "model", `"model" is given more than once`},
		{"tokens twice", `{"max_tokens":1,"max_tokens":2}`, ErrDuplicate, "max_tokens", "once"},
		{"null, then a stream", `{"stream":null,"stream":true}`, ErrDuplicate, "stream", "once"},
		{"a nested member twice", `{"stream_options":{"include_usage":true,"include_usage":false}}`, ErrDuplicate, "stream_options.include_usage", "once"},
		{"a number for a model", `{"model":7}`, ErrType, "model", `"model" must be a string`},
		{"a long model", `{"model":"` + strings.Repeat("m", 2000) + `"}`, ErrType, "model", "at most 1,024 bytes"},
		{"a string for a boolean", `{"stream":"true"}`, ErrType, "stream", `"stream" must be true or false`},
		{"options that are none", `{"stream_options":[]}`, ErrType, "stream_options", "an object"},
		{"usage that is none", `{"stream_options":{"include_usage":1}}`, ErrType, "stream_options.include_usage", "true or false"},
		{"a text", `{"max_tokens":"10"}`, ErrType, "max_tokens", "a number"},
		{"too much", `{"max_output_tokens":9223372036854775808}`, ErrType, "max_output_tokens", "a number up to"},
		{"a number as conversation id", `{"conversation":{"id":1}}`, ErrType, "conversation.id", "a string"},
	}
	for _, tt := range tests {
		f, err := Parse([]byte(tt.body))
		var fault *ParseError
		if !errors.Is(err, tt.err) || !errors.As(err, &fault) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			continue
		}
		if fault.Member != tt.member || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v (member %q), want %q for %q", tt.name, err, fault.Member, tt.text, tt.member)
		}
		if !reflect.DeepEqual(f, ParsedRequest{}) {
			t.Errorf("%s: a result with an error: %+v", tt.name, f)
		}
	}
}

// None of these bodies may make Parse recurse, or allocate for each of its parts. They are so large that
// quadratic work would not end within the test's time limit.
func TestParseOfHostileBodiesIsLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("tens of megabytes")
	}
	const size = 20 << 20
	repeat := func(before, piece, after string) func() string {
		return func() string { return before + strings.Repeat(piece, size/len(piece)) + after }
	}
	for name, body := range map[string]func() string{
		"brackets":                repeat(`{"messages":`, `[`, ``),
		"objects":                 repeat(`{"messages":`, `{"a":`, ``),
		"keys":                    repeat(`{`, `"k":1,`, `"model":"a"}`),
		"escaped":                 repeat(`{`, `"\u006b":1,`, `"model":"a"}`),
		"a string":                repeat(`{"messages":"`, `a`, `"}`),
		"a model":                 repeat(`{"model":"`, `a`, `"}`),
		"a key":                   repeat(`{"`, `a`, `":1}`),
		"escapes":                 repeat(`{"messages":"`, `\u0041\n`, `"}`),
		"quotes":                  repeat(`{"messages":"`, `\"`, `"}`),
		"letters between escapes": repeat(`{"messages":"`, strings.Repeat("a", 100)+`\n`, `"}`),
		"digits":                  repeat(`{"max_tokens":`, `9`, `}`),
		"items":                   repeat(`{"input":[`, `{"type":"item_reference","id":"rs_1"},`, `{}]}`),
	} {
		b := []byte(body())
		if allocs := testing.AllocsPerRun(1, func() { _, _ = Parse(b) }); allocs > 40 {
			t.Errorf("%s: %.0f allocations", name, allocs)
		}
	}
}

func TestEstimateSaturates(t *testing.T) {
	tests := []struct {
		f    ParsedRequest
		want int64
	}{
		{ParsedRequest{}, 0},
		{ParsedRequest{PromptBytes: 403}, 100},
		{ParsedRequest{PromptBytes: 400, MaxOutputTokens: 50}, 150},
		{ParsedRequest{PromptBytes: 400, MaxOutputTokens: 50, Choices: 3}, 250},
		{ParsedRequest{PromptBytes: 400, MaxOutputTokens: 1 << 62, Choices: 3}, 1<<63 - 1},
		{ParsedRequest{PromptBytes: 400, MaxOutputTokens: 1<<63 - 1}, 1<<63 - 1},
		{ParsedRequest{MaxOutputTokens: 1<<63 - 1, Choices: 1<<63 - 1}, 1<<63 - 1},
		{ParsedRequest{PromptBytes: 4, MaxOutputTokens: 1<<63 - 2}, 1<<63 - 1},
		{ParsedRequest{MaxOutputTokens: 1, Choices: 1<<63 - 1}, 1<<63 - 1},
	}
	for _, tt := range tests {
		if got := Estimate(&tt.f); got != tt.want {
			t.Errorf("Estimate(%+v) = %d, want %d", tt.f, got, tt.want)
		}
	}
}

func TestReturnedChoices(t *testing.T) {
	for body, want := range map[string]int64{
		`{}`: 0, `{"n":3}`: 3, `{"n":2,"best_of":5}`: 2, `{"prompt":"a"}`: 0, `{"prompt":["a","b"]}`: 2, `{"prompt":["a","b","c"],"n":2}`: 6,
		`{"prompt":[1,2,3]}`: 0, `{"prompt":[[1,2],[3]]}`: 2, `{"prompt":[]}`: 0, `{"prompt":null,"n":null}`: 0, `{"n":9223372036854775807,"prompt":["a","b"]}`: 1<<63 - 2,
	} {
		parsed, err := Parse([]byte(body))
		if err != nil || parsed.Returned != want {
			t.Errorf("%s: %d, %v, want %d", body, parsed.Returned, err, want)
		}
	}
}

// What compatible servers take for no limit, or for a whole number.
func TestLimitsOfCompatibleServers(t *testing.T) {
	for text, want := range map[string]int64{"-1": 0, "-0": 0, "-2.5": 0, "100.0": 100, "10.2": 11, "1e3": 1000, "null": 0, "7": 7} {
		p, err := Parse([]byte(`{"model":"m","max_tokens":` + text + `}`))
		if err != nil || p.MaxOutputTokens != want {
			t.Errorf("%s: %d, %v; want %d", text, p.MaxOutputTokens, err, want)
		}
	}
}

// A model that is null is none, and gets the backend's name where the body decides.
func TestNullModelIsReplaced(t *testing.T) {
	body := []byte(`{"model":null,"messages":[]}`)
	p, err := Parse(body)
	if err != nil || p.Model != "" {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := string(p.Rewrite(nil, body, Changes{Model: "gpt-4o"})); got != `{"model":"gpt-4o","messages":[]}` {
		t.Errorf("it became %s", got)
	}
}
