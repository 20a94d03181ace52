package request

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustScan(t *testing.T, body string) ParsedRequest {
	t.Helper()
	f, err := Parse([]byte(body))
	if err != nil {
		t.Fatalf("Scan(%.200q): %v", body, err)
	}
	return f
}

func at(body string, s Span) string { return body[s.From:s.To] }

func TestScanFindsWhatSpillwayActsOn(t *testing.T) {
	body := ` {"messages": [{"role":"user","content":"hi, \"model\":\"no\""}], "model" : "gpt-4o", "stream":true,
	"stream_options":{"include_obfuscation":false,"include_usage":true}, "max_tokens":10,"max_completion_tokens":800,"n":4,"best_of":3,
	"prompt_cache_key":"k","service_tier":"flex","store":false,"temperature":1e400,"metadata":{"model":"other","stream":false}} `
	f := mustScan(t, body)
	no := false
	want := ParsedRequest{
		Model: "gpt-4o", ModelSpan: f.ModelSpan, Stream: true, StreamOptionsSpan: f.StreamOptionsSpan, IncludeUsage: true, IncludeUsageSpan: f.IncludeUsageSpan,
		MaxOutputTokens: 800, Choices: 4, PromptBytes: int64(len(at(body, f.PromptSpan))), PromptSpan: f.PromptSpan,
		PromptCacheKey: "k", ServiceTier: "flex", Store: &no, InsertAt: 2,
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
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

func TestScanOfResponses(t *testing.T) {
	f := mustScan(t, `{"model":"gpt-4o","instructions":"Be brief.","input":"hi","tools":[{}],"max_output_tokens":5,"previous_response_id":"resp_1","conversation":{"id":"conv_1","x":{}},"background":true}`)
	want := ParsedRequest{
		Model: "gpt-4o", ModelSpan: f.ModelSpan, MaxOutputTokens: 5, PromptBytes: int64(len(`"Be brief."` + `"hi"` + `[{}]`)), PromptSpan: f.PromptSpan,
		PreviousResponseID: "resp_1", Conversation: "conv_1", Background: true, InsertAt: 1,
	}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestInputBoundToItsMakerIsSeen(t *testing.T) {
	tests := map[string]struct {
		input string
		bound bool
		id    string
	}{
		"text":                     {`"item_reference"`, false, ""},
		"messages":                 {`[{"role":"user","content":[{"type":"item_reference","id":"x"}]},{"type":"message","id":"msg_1","role":"assistant","content":[]}]`, false, ""},
		"a reference":              {`[{"role":"user","content":"a"},{"type":"item_reference","id":"rs_1"},{"type":"item_reference","id":"rs_2"}]`, true, "rs_1"},
		"a reference without type": {`[{"id":"msg_9"}]`, true, "msg_9"},
		"a message without type":   {`[{"id":"msg_9","role":"user","content":"a"}]`, false, ""},
		"encrypted reasoning":      {`[{"type":"reasoning","id":"rs_3","summary":[],"encrypted_content":"gAAA"}]`, true, "rs_3"},
		"encrypted, no id":         {`[{"type":"compaction","encrypted_content":"gAAA"}]`, true, ""},
		"reasoning without it":     {`[{"type":"reasoning","id":"rs_4","summary":[],"encrypted_content":null}]`, true, "rs_4"},
		"reasoning of ours":        {`[{"type":"reasoning","summary":[]}]`, false, ""},
		"spelt with escapes":       {`[{"typ\u0065":"item\u005freference","i\u0064":"rs_5"}]`, true, "rs_5"},
		"not objects":              {`["item_reference",[1],7,null]`, false, ""},
	}
	for name, tt := range tests {
		f := mustScan(t, `{"input":`+tt.input+`}`)
		if f.ResourceBound != tt.bound || f.ResourceBoundID != tt.id {
			t.Errorf("%s: bound %t to %q, want %t to %q", name, f.ResourceBound, f.ResourceBoundID, tt.bound, tt.id)
		}
		if f.PromptBytes != int64(len(tt.input)) {
			t.Errorf("%s: %d prompt characters, want %d", name, f.PromptBytes, len(tt.input))
		}
	}
}

func TestPicturesInTheInputWeighLittle(t *testing.T) {
	url := `"data:image/png;base64,` + strings.Repeat("iVBO", 100_000) + `"`
	for _, body := range []string{`{"input":[{"role":"user","content":[{"image_url":` + url + `}]}]}`, `{"messages":[{"role":"user","content":[{"image_url":` + url + `}]}]}`, `{"input":[` + url + `]}`} {
		f := mustScan(t, body)
		if f.PromptBytes > 5000 || f.PromptBytes < 4096 {
			t.Errorf("a picture of %d bytes weighs %d", len(url), f.PromptBytes)
		}
	}
}

func TestNullIsAbsence(t *testing.T) {
	f := mustScan(t, `{"stream":null,"stream_options":null,"max_tokens":null,"n":null,"store":null,"background":null,"previous_response_id":null,"conversation":null,"prompt_cache_key":null,"service_tier":null,"messages":null}`)
	want := ParsedRequest{StreamOptionsSpan: f.StreamOptionsSpan, PromptSpan: f.PromptSpan, PromptBytes: 4, InsertAt: 1}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestNamesAreMatchedExactlyAndAfterTheirEscapes(t *testing.T) {
	f := mustScan(t, `{"MODEL":"a","Model":"b","ſtream":true,"\u0053tream":true,"mode\u006c":"c","model ":"d"}`)
	if f.Model != "c" || f.Stream {
		t.Errorf("model %q, stream %t; want c, false", f.Model, f.Stream)
	}
}

func TestScanRefuses(t *testing.T) {
	tests := []struct {
		name, body string
		err        error
		member     string
		says       string
	}{
		{"nothing", "", ErrMalformed, "", "it is empty"},
		{"space", " \n", ErrMalformed, "", "it is empty"},
		{"an array", "[]", ErrMalformed, "", "must begin with an opening brace"},
		{"null", "null", ErrMalformed, "", "must begin with an opening brace"},
		{"a mark", "\xef\xbb\xbf{}", ErrMalformed, "", "byte order mark"},
		{"NUL behind", "{}\x00", ErrMalformed, "", "something follows"},
		{"two objects", `{"model":"a"}{"model":"b"}`, ErrMalformed, "", "something follows behind its closing brace (at byte 13)"},
		{"a cut", `{"model":"a","messages":[{"ro`, ErrMalformed, "", "the text ends too early (at byte 29)"},
		{"a cut in the input", `{"input":[{"ro`, ErrMalformed, "", "the text ends too early (at byte 14)"},
		{"a bad item", `{"input":[{"type":tru}]}`, ErrMalformed, "", "true, false or null (at byte 18)"},
		{"a cut in the options", `{"stream_options":{"include_usage":tru`, ErrMalformed, "", "true, false or null"},
		{"bytes that are not UTF-8", "{\"messages\":\"\xff\"}", ErrMalformed, "", "not UTF-8 (at byte 13)"},
		{"half a pair", `{"messages":"\ud800"}`, ErrMalformed, "", "surrogate"},
		{"a model twice", `{"model":"a","model":"b"}`, ErrDuplicate, "model", `"model" is given more than once`},
		{"a model twice, hidden", `{"model":"a","mode\u006c":"b"}`, ErrDuplicate, "model", `"model" is given more than once`},
		{"tokens twice", `{"max_tokens":1,"max_tokens":2}`, ErrDuplicate, "max_tokens", "once"},
		{"null, then a stream", `{"stream":null,"stream":true}`, ErrDuplicate, "stream", "once"},
		{"a nested member twice", `{"stream_options":{"include_usage":true,"include_usage":false}}`, ErrDuplicate, "stream_options.include_usage", "once"},
		{"a number for a model", `{"model":7}`, ErrType, "model", `"model" must be a string`},
		{"no model", `{"model":null}`, ErrType, "model", `"model" must be a string`},
		{"a long model", `{"model":"` + strings.Repeat("m", 2000) + `"}`, ErrType, "model", "at most 1,024 bytes"},
		{"a word for a boolean", `{"stream":"true"}`, ErrType, "stream", `"stream" must be true or false`},
		{"options that are none", `{"stream_options":[]}`, ErrType, "stream_options", "an object"},
		{"usage that is none", `{"stream_options":{"include_usage":1}}`, ErrType, "stream_options.include_usage", "true or false"},
		{"a fraction", `{"max_tokens":10.0}`, ErrType, "max_tokens", "a whole number"},
		{"a power", `{"max_tokens":1e3}`, ErrType, "max_tokens", "a whole number"},
		{"minus zero", `{"max_tokens":-0}`, ErrType, "max_tokens", "a whole number"},
		{"a debt", `{"n":-1}`, ErrType, "n", "a whole number"},
		{"too much", `{"max_output_tokens":9223372036854775808}`, ErrType, "max_output_tokens", "a whole number"},
		{"a conversation of numbers", `{"conversation":{"id":1}}`, ErrType, "conversation.id", "a string"},
	}
	for _, tt := range tests {
		f, err := Parse([]byte(tt.body))
		var fault *ParseError
		if !errors.Is(err, tt.err) || !errors.As(err, &fault) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			continue
		}
		if fault.Member != tt.member || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v (member %q), want one that says %q of %q", tt.name, err, fault.Member, tt.says, tt.member)
		}
		if f != (ParsedRequest{}) {
			t.Errorf("%s: facts beside an error: %+v", tt.name, f)
		}
	}
}

// TestBombsTakeLinearTime: none of these may recurse, grow or go quadratic
// (facts/reliability.md §3.2, T10).
func TestBombsTakeLinearTime(t *testing.T) {
	if testing.Short() {
		t.Skip("tens of megabytes")
	}
	deep, long := strings.Repeat("[", 1_000_000), strings.Repeat("a", 50<<20)
	tests := map[string]string{
		"a million brackets": `{"messages":` + deep,
		"a million objects":  `{"messages":` + strings.Repeat(`{"a":`, 1_000_000),
		"a million keys":     `{` + strings.Repeat(`"k":1,`, 1_000_000) + `"model":"a"}`,
		"hidden keys":        `{` + strings.Repeat(`"\u006b":1,`, 1_000_000) + `"model":"a"}`,
		"50 MB of string":    `{"messages":"` + long + `"}`,
		"50 MB of model":     `{"model":"` + long + `"}`,
		"50 MB of key":       `{"` + long + `":1}`,
		"5 MB of escapes":    `{"messages":"` + strings.Repeat(`\u0041\n`, 5<<20/8) + `"}`,
		"5 MB of quotes":     `{"messages":"` + strings.Repeat(`\"`, 5<<20/2) + `"}`,
		"5 MB of digits":     `{"max_tokens":` + strings.Repeat("9", 5<<20) + `}`,
		"many items":         `{"input":[` + strings.Repeat(`{"type":"item_reference","id":"rs_1"},`, 100_000) + `{}]}`,
	}
	for name, body := range tests {
		b := []byte(body)
		var took time.Duration
		allocs := testing.AllocsPerRun(1, func() {
			begin := time.Now()
			_, _ = Parse(b)
			took = time.Since(begin)
		})
		if allocs > 20 {
			t.Errorf("%s: %.0f allocations", name, allocs)
		}
		if took > 20*time.Second {
			t.Errorf("%s: %v", name, took)
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
