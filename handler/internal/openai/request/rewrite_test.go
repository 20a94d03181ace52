package request

import (
	"bytes"
	"testing"
)

func TestRewriteChangesOnlyWhatItMust(t *testing.T) {
	both := Changes{Model: "ptu", IncludeUsage: true}
	tests := []struct {
		name, body string
		c          Changes
		want       string
	}{
		{"no change", `{"model":"a"}`, Changes{}, `{"model":"a"}`},
		{"the same model, written with an escape", `{"model":"\u0061"}`, Changes{Model: "a"}, `{"model":"\u0061"}`},
		{"another model", `{ "x":1.0, "model" : "a", "y":[ ] }`, Changes{Model: "b"}, `{ "x":1.0, "model" : "b", "y":[ ] }`},
		{"no model in the body", ` {"x":1}`, Changes{Model: "b"}, ` {"model":"b","x":1}`},
		{"an empty object", `{ }`, both, `{"model":"ptu","stream_options":{"include_usage":true} }`},
		{"an empty object, one change", `{}`, Changes{Model: "b"}, `{"model":"b"}`},
		{"usage", `{"model":"a"}`, Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true},"model":"a"}`},
		{"usage false", `{"stream_options":{"include_usage":false},"model":"a"}`, both, `{"stream_options":{"include_usage":true},"model":"ptu"}`},
		{"usage already", `{"stream_options":{"include_usage":true},"model":"ptu"}`, both, `{"stream_options":{"include_usage":true},"model":"ptu"}`},
		{"usage null", `{"stream_options":{"include_usage":null}}`, Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true}}`},
		{"options null", `{"stream_options":null}`, Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true}}`},
		{"options empty", `{"stream_options":{ }}`, Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true }}`},
		{"options otherwise", `{"stream_options":{"a":1}}`, Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true,"a":1}}`},
		{"a bound", `{"model":"a"}`, Changes{Bound: Bound{MaxCompletionTokens, 7}}, `{"max_completion_tokens":7,"model":"a"}`},
		{"a bound beside another operation's", `{"max_tokens":9}`, Changes{Bound: Bound{MaxOutputTokens, 7}}, `{"max_output_tokens":7,"max_tokens":9}`},
		{"a bound that is null", `{"x":1,"max_t\u006fkens" : null}`, Changes{Bound: Bound{MaxTokens, 7}}, `{"x":1,"max_t\u006fkens" : 7}`},
		{"a bound already", `{"max_tokens":3}`, Changes{Bound: Bound{MaxTokens, 7}}, `{"max_tokens":3}`},
		{"everything in an empty object", `{}`, Changes{Model: "b", IncludeUsage: true, Bound: Bound{MaxTokens, 7}}, `{"model":"b","stream_options":{"include_usage":true},"max_tokens":7}`},
		{"a name that needs escapes", `{"model":"a"}`, Changes{Model: "\"\\\x1f\xffé"}, `{"model":"\"\\\u001f` + "\uFFFD" + `é"}`},
	}
	for _, tt := range tests {
		f := mustParse(t, tt.body)
		got := string(f.Rewrite(nil, []byte(tt.body), tt.c))
		if parts := string(bytes.Join(f.Parts([]byte(tt.body), tt.c), nil)); got != tt.want || parts != got {
			t.Errorf("%s: %s, in parts %s, want %s", tt.name, got, parts, tt.want)
		}
		if f.NeedsRewrite(tt.c) != (tt.want != tt.body) {
			t.Errorf("%s: Alters is %t", tt.name, f.NeedsRewrite(tt.c))
		}
	}
}

func TestRewriteIntoCapacityDoesNotAllocate(t *testing.T) {
	body := []byte(`{"messages":[],"model":"gpt-4o","stream":true}`)
	f := mustParse(t, string(body))
	c := Changes{Model: "gpt-4o-ptu", IncludeUsage: true}
	dst := make([]byte, 0, f.RewriteLen(body, c))
	allocs := testing.AllocsPerRun(100, func() {
		if out := f.Rewrite(dst, body, c); len(out) != f.RewriteLen(body, c) {
			t.Fatal("RewriteLen is wrong")
		}
	})
	if allocs != 0 {
		t.Errorf("%.0f allocations", allocs)
	}
}

func TestZeroParsedRequestChangesNothing(t *testing.T) {
	var f ParsedRequest
	body := "--boundary\r\n"
	if got := string(f.Rewrite(nil, []byte(body), Changes{Model: "b", IncludeUsage: true})); got != body {
		t.Errorf("got %q", got)
	}
}

func TestRewriteOfTheCacheKey(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"a","prompt_cache_key":"k","stream":true}`: `{"stream_options":{"include_usage":true},"model":"b","prompt_cache_key":"x-k","stream":true}`,
		`{"prompt_cache_key":"k", "model":"a"}`:              `{"stream_options":{"include_usage":true},"prompt_cache_key":"x-k", "model":"b"}`,
		`{"model":"a"}`:                                      `{"stream_options":{"include_usage":true},"model":"b"}`,
		`{"model":"a","prompt_cache_key":null}`:              `{"stream_options":{"include_usage":true},"model":"b","prompt_cache_key":null}`,
	} {
		parsed := mustParse(t, body)
		c := Changes{Model: "b", IncludeUsage: true, CacheKey: "x-k"}
		if got := string(parsed.Rewrite(nil, []byte(body), c)); got != want || len(got) != parsed.RewriteLen([]byte(body), c) {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
	}
}
