package request

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// pair is one top-level member as the standard library reads it.
type pair struct {
	key string
	raw string
}

// members reads an object with the standard library, in order, duplicates
// included.
func members(t *testing.T, body []byte) []pair {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	_, err := d.Token()
	if err != nil {
		t.Fatalf("Token of %q: %v", body, err)
	}
	var list []pair
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatalf("Token of %q: %v", body, err)
		}
		var raw json.RawMessage
		err = d.Decode(&raw)
		if err != nil {
			t.Fatalf("Decode of %q: %v", body, err)
		}
		list = append(list, pair{key.(string), string(raw)})
	}
	return list
}

var seedBodies = []string{
	`{}`, `{"model":"gpt-4o"}`, `{"model":"a\u0062\n","stream":true,"stream_options":{}}`,
	`{"messages":[{"role":"user","content":"hi"}],"model":"m","max_tokens":5,"n":2,"stream":true}`,
	`{"stream_options":{"include_usage":false,"x":[1]},"model":"m"}`, `{"stream_options":{ },"prompt":["a","b"],"best_of":3}`,
	`{"stream_options":null}`, `{"stream_options":{"include_usage":null}}`, `{"stream_options":{"include_usage":true}}`,
	` { "mode\u006c" : "x" , "input" : [ { "type" : "item_reference" , "id" : "rs" } ] } `,
	`{"input":"a","instructions":"b","tools":[],"conversation":{"id":"c"},"store":true,"background":false,"service_tier":"flex","prompt_cache_key":"k","previous_response_id":"r"}`,
	`{"model":"a","model":"b"}`, `{"model":1}`, `{"max_tokens":1.5}`, `{"stream":0}`, `[]`, ``, `{"a":1,}`, `{"max_completion_tokens":9223372036854775807}`,
	"{\"model\":\"\xff\"}", `{"conversation":{"id":"a","id":"b"}}`, `{"":0," ":{"model":"x"}}`, `{"store":null}`,
}

// FuzzParse compares Parse with the standard library, which also accepts invalid
// UTF-8, unpaired surrogates, and members that are doubled or of another type.
func FuzzParse(f *testing.F) {
	for _, s := range seedBodies {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		parsed, err := Parse(body)
		if err != nil && !reflect.DeepEqual(parsed, ParsedRequest{}) {
			t.Fatalf("a result with an error for %q", body)
		}
		isObject := json.Valid(body) && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
		if !isObject {
			if err == nil {
				t.Fatalf("Parse(%q) succeeds, the standard library fails", body)
			}
			return
		}
		if !utf8.Valid(body) || bytes.Contains(bytes.ToLower(body), []byte(`\ud`)) && err != nil {
			return
		}
		want, ok := expect(members(t, body))
		root, err2 := readNode(json.NewDecoder(bytes.NewReader(body)))
		if err2 != nil || strictIDs(root, place{}, map[string]bool{}) {
			ok = false
		}
		if ok != (err == nil) {
			t.Fatalf("Parse(%q): %v, want success %t", body, err, ok)
		}
		if err == nil {
			compare(t, body, parsed, want)
		}
	})
}

// expect is what Parse should return. ok is false when a member that Spillway acts
// on is doubled or of the wrong type.
func expect(list []pair) (want ParsedRequest, ok bool) {
	seen := map[string]bool{}
	want.Empty, ok = len(list) == 0, true
	for _, m := range list {
		if seen[m.key] && (memberNamed([]byte(m.key)) != other || vocabulary.Of(m.key) != 0) {
			ok = false
		}
		seen[m.key] = true
		ok = expectMember(&want, m) && ok
	}
	return want, ok
}

func expectMember(want *ParsedRequest, m pair) bool {
	text := map[string]*string{"model": &want.Model, "prompt_cache_key": &want.PromptCacheKey, "previous_response_id": &want.PreviousResponseID, "service_tier": &want.ServiceTier}
	numbers := map[string]*int64{"max_tokens": &want.MaxOutputTokens, "max_completion_tokens": &want.MaxOutputTokens, "max_output_tokens": &want.MaxOutputTokens, "n": &want.Choices, "best_of": &want.Choices}
	switch {
	case m.raw == "null":
	case text[m.key] != nil:
		return json.Unmarshal([]byte(m.raw), text[m.key]) == nil && m.raw != "null" && len(m.raw) <= maxStringLength+2
	case numbers[m.key] != nil:
		n, err := strconv.ParseInt(m.raw, 10, 64)
		if err != nil {
			var f float64
			f, err = strconv.ParseFloat(m.raw, 64)
			if err != nil || m.raw[0] == '"' || len(m.raw) > 32 || f >= math.MaxInt64 {
				return false
			}
			n = int64(math.Ceil(max(f, 0)))
		}
		*numbers[m.key] = max(*numbers[m.key], n)
		if m.key == "n" {
			want.Returned = max(n, 0)
		}
		return true
	case m.key == "stream":
		return json.Unmarshal([]byte(m.raw), &want.Stream) == nil
	case m.key == "background":
		return json.Unmarshal([]byte(m.raw), &want.Background) == nil
	case m.key == "store":
		return json.Unmarshal([]byte(m.raw), &want.Store) == nil
	case m.key == "stream_options":
		return expectOptions(want, m.raw)
	}
	return true
}

func expectOptions(want *ParsedRequest, raw string) bool {
	var options map[string]json.RawMessage
	if json.Unmarshal([]byte(raw), &options) != nil {
		return false
	}
	value, ok := options["include_usage"]
	return !ok || json.Unmarshal(value, &want.IncludeUsage) == nil
}

// compare checks the members that expect reads.
func compare(t *testing.T, body []byte, got, want ParsedRequest) {
	t.Helper()
	// Spans, sizes and resource-bound items have tests of their own.
	want.ModelSpan, want.StreamOptionsSpan, want.IncludeUsageSpan, want.PromptSpan = got.ModelSpan, got.StreamOptionsSpan, got.IncludeUsageSpan, got.PromptSpan
	want.InsertAt, want.PromptBytes, want.OtherBytes, want.ResourceBound, want.ResourceBoundID, want.Conversation = got.InsertAt, got.PromptBytes, got.OtherBytes, got.ResourceBound, got.ResourceBoundID, got.Conversation
	want.PromptCacheKeySpan, want.OutputBounds, want.Choices = got.PromptCacheKeySpan, got.OutputBounds, max(want.Choices, got.Choices)
	want.AsksForText, want.Tools, want.SearchesWeb = got.AsksForText, got.Tools, got.SearchesWeb
	want.Returned = max(want.Returned, got.Returned)
	want.References, want.Models, want.DataSources, want.NestedSources, want.Reaches = got.References, got.Models, got.DataSources, got.NestedSources, got.Reaches
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("result of %q (-want +got):\n%s", body, diff)
	}
	if min(got.PromptBytes, got.OtherBytes) < 0 || got.PromptBytes+got.OtherBytes > int64(len(body)) || body[got.InsertAt-1] != '{' {
		t.Fatalf("%d prompt characters, open at %d in %q", got.PromptBytes, got.InsertAt, body)
	}
	for _, s := range []Span{got.ModelSpan, got.StreamOptionsSpan, got.IncludeUsageSpan, got.PromptSpan} {
		if s != (Span{}) && !json.Valid(body[s.From:s.To]) {
			t.Fatalf("a span of %q holds %q", body, body[s.From:s.To])
		}
	}
}

// FuzzRewrite checks that the result differs from the body only in the changed
// values.
func FuzzRewrite(f *testing.F) {
	for _, s := range seedBodies {
		f.Add([]byte(s), "gpt-4o-ptu", true)
		f.Add([]byte(s), "", true)
		f.Add([]byte(s), "quote\" back\\slash\x01 é \xff", false)
	}
	f.Fuzz(func(t *testing.T, body []byte, model string, usage bool) {
		parsed, err := Parse(body)
		if err != nil {
			return
		}
		c := Changes{Model: model, IncludeUsage: usage}
		if usage {
			c.Bound = Bound{MaxCompletionTokens, 77}
		}
		out := parsed.Rewrite([]byte("kept"), body, c)[len("kept"):]
		if parts := bytes.Join(parsed.Parts(body, c), nil); !bytes.Equal(parts, out) {
			t.Fatalf("Rewrite(%q) is %q, in parts %q", body, out, parts)
		}
		if len(out) != parsed.RewriteLen(body, c) {
			t.Fatalf("Rewrite(%q) is %d bytes, RewriteLen returns %d", body, len(out), parsed.RewriteLen(body, c))
		}
		if !parsed.NeedsRewrite(c) && !bytes.Equal(out, body) {
			t.Fatalf("Rewrite(%q) = %q, want no change", body, out)
		}
		after, err := Parse(out)
		if err != nil && len(model) <= maxStringLength/6 {
			t.Fatalf("Rewrite(%q) = %q: %v", body, out, err)
		}
		if model != "" && len(model) <= maxStringLength/6 && after.Model != strings.ToValidUTF8(model, "\uFFFD") && utf8.ValidString(model) {
			t.Fatalf("Rewrite(%q) has the model %q, want %q", body, after.Model, model)
		}
		if usage && err == nil && !after.IncludeUsage {
			t.Fatalf("Rewrite(%q) = %q does not ask for usage", body, out)
		}
		if err == nil && c.Bound.Tokens > 0 && after.OutputBounds[MaxCompletionTokens].Tokens == 0 {
			t.Fatalf("Rewrite(%q) = %q has no bound", body, out)
		}
		sameButFor(t, members(t, body), members(t, out), c)
	})
}

// sameButFor compares members in order, the changed ones by their meaning.
func sameButFor(t *testing.T, before, after []pair, c Changes) {
	t.Helper()
	had := map[string]bool{}
	for _, m := range before {
		had[m.key] = true
	}
	for len(after) > 0 && !had[after[0].key] && (after[0].key == "model" && c.Model != "" || after[0].key == "stream_options" && c.IncludeUsage || after[0].key == "max_completion_tokens" && c.Bound.Tokens > 0) {
		after = after[1:]
	}
	if len(before) != len(after) {
		t.Fatalf("%d members became %d", len(before), len(after))
	}
	for i, m := range before {
		switch {
		case m.key != after[i].key:
			t.Fatalf("member %q became %q", m.key, after[i].key)
		case m.key == "model" && c.Model != "":
		case m.key == "max_completion_tokens" && c.Bound.Tokens > 0 && strings.Trim(m.raw, "0") == "" || m.key == "max_completion_tokens" && m.raw == "null":
		case m.key == "stream_options" && c.IncludeUsage:
			sameOptions(t, m.raw, after[i].raw)
		case m.raw != after[i].raw:
			t.Fatalf("member %q: %q became %q", m.key, m.raw, after[i].raw)
		}
	}
}

func sameOptions(t *testing.T, before, after string) {
	t.Helper()
	if before == "null" {
		before = "{}"
	}
	old, fresh := members(t, []byte(before)), members(t, []byte(after))
	drop := func(list []pair) (rest []pair) {
		for _, m := range list {
			if m.key != "include_usage" {
				rest = append(rest, m)
			}
		}
		return rest
	}
	if diff := cmp.Diff(drop(old), drop(fresh), cmp.AllowUnexported(pair{})); diff != "" {
		t.Fatalf("stream_options (-before +after):\n%s", diff)
	}
}
