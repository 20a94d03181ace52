package usage

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		object string
		want   Tokens
		ok     bool
	}{
		"chat":                    {`{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":7,"audio_tokens":0}}`, Tokens{Prompt: 12, Cached: 4, Completion: 20, Reasoning: 7}, true},
		"responses":               {`{"input_tokens":36,"input_tokens_details":{"cached_tokens":30},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}`, Tokens{Prompt: 36, Cached: 30, Completion: 87, Reasoning: 64}, true},
		"embeddings":              {` { "prompt_tokens" : 8 , "total_tokens" : 8 } `, Tokens{Prompt: 8}, true},
		"no details":              {`{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":null,"completion_tokens_details":null}`, Tokens{Prompt: 1, Completion: 2}, true},
		"null counts":             {`{"prompt_tokens":1,"completion_tokens":null}`, Tokens{Prompt: 1}, true},
		"extra members":           {`{"latency_checkpoint":{"a":[1,2]},"prompt_tokens":1}`, Tokens{Prompt: 1}, true},
		"more cached than prompt": {`{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":9},"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":8}}`, Tokens{Prompt: 5, Cached: 5, Completion: 3, Reasoning: 3}, true},
		"negative":                {`{"prompt_tokens":-5,"completion_tokens":3}`, Tokens{}, false},
		"negative cached":         {`{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":-1}}`, Tokens{}, false},
		"a fraction":              {`{"prompt_tokens":5.5}`, Tokens{}, false},
		"an exponent":             {`{"prompt_tokens":1e3}`, Tokens{}, false},
		"absurd":                  {`{"prompt_tokens":9223372036854775807}`, Tokens{}, false},
		"beyond absurd":           {`{"completion_tokens":99999999999999999999999}`, Tokens{}, false},
		"text":                    {`{"prompt_tokens":"5"}`, Tokens{}, false},
		"null":                    {`null`, Tokens{}, false},
		"empty":                   {`{}`, Tokens{}, false},
		"seconds":                 {`{"type":"duration","seconds":2.4}`, Tokens{Seconds: 3}, true},
		"negative seconds":        {`{"type":"duration","seconds":-2.4}`, Tokens{}, false},
		"cache writes and audio":  {`{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cache_write_tokens":40,"audio_tokens":20},"completion_tokens_details":{"audio_tokens":30}}`, Tokens{Prompt: 100, Completion: 50, CacheWrite: 40, AudioInput: 20, AudioOutput: 30}, true},
		"cut":                     {`{"prompt_tokens":5`, Tokens{}, false},
		"nothing":                 {``, Tokens{}, false},
		"details cut":             {`{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":1`, Tokens{}, false},
		"not quite names":         {`{"Prompt_Tokens":5}`, Tokens{}, false},
	}
	for name, tt := range tests {
		got, ok := Parse([]byte(tt.object))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v, %t; want %+v, %t", name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestFindLast(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":3,"completion_tokens":4}`
	tests := map[string]struct {
		text string
		ok   bool
	}{
		"a body":                       {`{"choices":[],` + usage + `}`, true},
		"an end that begins in a text": {`lor\" red "}}],` + usage + `,"id":"x"}`, true},
		"white space":                  {`{"usage" : {"prompt_tokens" : 3 , "completion_tokens" : 4 } }`, true},
		"a model that writes usage":    {`{"content":"\"usage\":{\"prompt_tokens\":1}",` + usage + `}`, true},
		"text after it":                {`{` + usage + `,"content":"\"usage\":{\"prompt_tokens\":1}"}`, true},
		"a value after it":             {`{` + usage + `,"metadata":{"usage":"much"},"x":"usage"}`, true},
		"null":                         {`{"choices":[],"usage":null}`, false},
		"only text":                    {`{"content":"\"usage\":{\"prompt_tokens\":1}"}`, false},
		"none":                         {`{"data":[]}`, false},
		"cut off":                      {`{"choices":[],"usage":{"prompt_tokens":3,`, false},
		"nothing":                      {``, false},
	}
	for name, tt := range tests {
		got, ok := FindLast([]byte(tt.text))
		if ok != tt.ok || ok && got != (Tokens{Prompt: 3, Completion: 4}) {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
}

func TestSumsSaturate(t *testing.T) {
	huge := Tokens{Prompt: math.MaxInt64, Cached: math.MaxInt64, Completion: math.MaxInt64, Reasoning: math.MaxInt64, CacheWrite: math.MaxInt64, AudioInput: math.MaxInt64, AudioOutput: math.MaxInt64, Images: math.MaxInt64, Seconds: math.MaxInt64, CacheWriteHour: math.MaxInt64}
	if got := Sum(huge, Tokens{Prompt: 1, Cached: 1, Completion: 1, Reasoning: 1}, huge); got != huge {
		t.Errorf("the sum is %+v", got)
	}
	if got := huge.Total(); got != math.MaxInt64 {
		t.Errorf("the total is %d", got)
	}
	if got := Sum(Tokens{Prompt: 1, Cached: 2, Completion: 3, Reasoning: 4}, Tokens{Prompt: 10, Cached: 20, Completion: 30, Reasoning: 40}); got != (Tokens{Prompt: 11, Cached: 22, Completion: 33, Reasoning: 44}) {
		t.Errorf("the sum is %+v", got)
	}
	if got := Sum(); got != (Tokens{}) {
		t.Errorf("the sum of nothing is %+v", got)
	}
}

func TestCost(t *testing.T) {
	p := Price{Currency: "USD", Input: 2.5, CachedInput: 1.25, Output: 10}
	tests := map[string]struct {
		p    Price
		t    Tokens
		want float64
	}{
		"all of it":                 {p, Tokens{Prompt: 1_000_000, Cached: 400_000, Completion: 100_000, Reasoning: 90_000}, 0.6*2.5 + 0.4*1.25 + 0.1*10},
		"no cached price":           {Price{Input: 2, Output: 4}, Tokens{Prompt: 1_000_000, Cached: 500_000}, 2},
		"free":                      {Price{}, Tokens{Prompt: 5, Completion: 5}, 0},
		"more cached than prompt":   {p, Tokens{Prompt: 1_000_000, Cached: 9_000_000}, 1.25},
		"negative tokens":           {p, Tokens{Prompt: -1_000_000, Cached: -5, Completion: -1}, 0},
		"a price below zero":        {Price{Input: -1}, Tokens{Prompt: 1_000_000}, 0},
		"cache writes":              {Price{Input: 2, CacheWrite: 2.5, CachedInput: 0.5, Output: 8}, Tokens{Prompt: 1_000_000, Cached: 500_000, CacheWrite: 200_000}, 0.5*0.5 + 0.2*2.5 + 0.3*2},
		"cache writes for an hour":  {Price{Input: 2, CacheWrite: 2.5, CacheWriteHour: 4}, Tokens{Prompt: 1_000_000, CacheWrite: 500_000, CacheWriteHour: 200_000}, 0.5*2 + 0.3*2.5 + 0.2*4},
		"no price for an hour":      {Price{Input: 2, CacheWrite: 2.5}, Tokens{Prompt: 1_000_000, CacheWrite: 500_000, CacheWriteHour: 200_000}, 0.5*2 + 0.5*2.5},
		"only a price for an hour":  {Price{Input: 2, CacheWriteHour: 4}, Tokens{Prompt: 1_000_000, CacheWrite: 500_000, CacheWriteHour: 200_000}, 0.8*2 + 0.2*4},
		"more for an hour than any": {Price{Input: 2, CacheWriteHour: 4}, Tokens{Prompt: 1_000_000, CacheWrite: 100_000, CacheWriteHour: 900_000}, 0.9*2 + 0.1*4},
		"audio":                     {Price{Input: 2.5, AudioInput: 40, Output: 10, AudioOutput: 80}, Tokens{Prompt: 1_000_000, AudioInput: 900_000, Completion: 1_000_000, AudioOutput: 800_000}, 0.1*2.5 + 0.9*40 + 0.2*10 + 0.8*80},
		"reasoning":                 {Price{Output: 10, Reasoning: 4}, Tokens{Completion: 1_000_000, Reasoning: 600_000}, 0.4*10 + 0.6*4},
		"images":                    {Price{Image: 0.04}, Tokens{Images: 3}, 0.12},
		"seconds of audio":          {Price{AudioSecond: 0.0001}, Tokens{Seconds: 90}, 0.009},
		"a free prompt":             {Price{Input: 0, CachedInput: 0, Output: 1}, Tokens{Prompt: 9, Cached: 9, Completion: 1_000_000}, 1},
	}
	for name, tt := range tests {
		if got := tt.p.Cost(tt.t); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestPriceOfAServiceTier(t *testing.T) {
	p := Price{Currency: "USD", Input: 2, Output: 8, Tiers: map[string]Price{"priority": {Input: 3.5, Output: 14}, "flex": {Input: 1, Output: 4}}}
	for tier, want := range map[string]float64{"": 10, "default": 10, "priority": 17.5, "flex": 5} {
		price := p.ForTier(tier)
		if got := price.Cost(Tokens{Prompt: 1_000_000, Completion: 1_000_000}); got != want || price.Currency != "USD" {
			t.Errorf("tier %q costs %v %s, want %v", tier, got, price.Currency, want)
		}
	}
}

// FuzzParse checks that tokens and costs are never negative, and that counts are
// what the standard library reads.
func FuzzParse(f *testing.F) {
	f.Add(`{"prompt_tokens":12,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":4}}`)
	f.Add(`{"input_tokens":-1,"output_tokens":1e9,"output_tokens_details":{"reasoning_tokens":0.5}}`)
	f.Add(`{"input_tokens":9223372036854775808}`)
	f.Fuzz(func(t *testing.T, object string) {
		got, ok := Parse([]byte(object))
		if !ok {
			if got != (Tokens{}) {
				t.Fatalf("tokens with a refusal of %q", object)
			}
			return
		}
		if got.Prompt < 0 || got.Completion < 0 || got.Cached < 0 || got.Reasoning < 0 || got.Cached > got.Prompt || got.Reasoning > got.Completion {
			t.Fatalf("Parse(%q) = %+v", object, got)
		}
		if (&Price{Input: 1, CachedInput: 0.1, Output: 2}).Cost(got) < 0 {
			t.Fatalf("Parse(%q) has a negative cost", object)
		}
		var want struct {
			Prompt int64 `json:"prompt_tokens"`
			Input  int64 `json:"input_tokens"`
		}
		end := json.NewDecoder(strings.NewReader(object)).Decode(&want)
		plain := strings.IndexFunc(object, func(r rune) bool { return r == '\\' || r > '~' }) < 0
		if end == nil && plain && strings.Count(strings.ToLower(object), "_tokens") == 1 && got.Prompt != want.Prompt+want.Input {
			t.Fatalf("Parse(%q).Prompt = %d, want %d", object, got.Prompt, want.Prompt+want.Input)
		}
	})
}

// FuzzFindLast checks that the end of any answer gives the usage in it.
func FuzzFindLast(f *testing.F) {
	f.Add("lor\\\"usage\\\":{", "}", 5)
	f.Add(`"usage":{"usage":`, `,"usage":"usage"`, 0)
	f.Fuzz(func(t *testing.T, before, after string, n int) {
		_, _ = FindLast([]byte(before + after))
		quoted, err := json.Marshal(after)
		if err != nil {
			return
		}
		n = n & 0xffff
		usage, err := json.Marshal(map[string]int{"prompt_tokens": n})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := FindLast([]byte(before + `"usage":` + string(usage) + `,"text":` + string(quoted) + `}`))
		if !ok || got.Prompt != int64(n) {
			t.Fatalf("%+v, %t; want %d, after %q and before %q", got, ok, n, before, quoted)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	object := []byte(`{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":7,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Parse(object); !ok {
			b.Fatal("not read")
		}
	}
}
