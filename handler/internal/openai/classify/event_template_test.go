package classify

import (
	"testing"
	"time"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
)

// TestEventTemplateMatches: most chunks must match, or the shortcut is lost
// unnoticed.
func TestEventTemplateMatches(t *testing.T) {
	tests := map[string]struct {
		first, second string
		matches       bool
	}{
		"the next token":    {`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}`, `{"choices":[{"index":0,"delta":{"content":" \"b\" é"}}],"usage":null}`, true},
		"an empty token":    {`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[{"index":0,"delta":{"content":""}}]}`, true},
		"arguments":         {`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}`, `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"a"}}]}}]}`, true},
		"completions":       {`{"choices":[{"text":"a","index":0}]}`, `{"choices":[{"text":"b","index":0}]}`, true},
		"another choice":    {`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[{"index":1,"delta":{"content":"a"}}]}`, false},
		"the end":           {`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`, `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}`, false},
		"more than a token": {`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[{"index":0,"delta":{"content":"a"}}],"error":{"x":"a"}}]}`, false},
		"an invalid string": {`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices":[{"index":0,"delta":{"content":"\x"}}]}`, false},
		"usage in each":     {`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}`, `{"choices":[{"index":0,"delta":{"content":"b"}}],"usage":{"prompt_tokens":1}}`, false},
		"a shorter event":   {`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, `{"choices"`, false},
	}
	for name, tt := range tests {
		s := Stream{Dialect: operations.Chat}
		read(&s, data(tt.first))
		if _, got := s.template.matches([]byte(data(tt.second))); got != tt.matches {
			t.Errorf("%s: matches is %t", name, got)
		}
	}
}

func TestEventTemplateIsDroppedAfterMissesOnly(t *testing.T) {
	s := Stream{Dialect: operations.Chat}
	text, tool := data(`{"choices":[{"index":0,"delta":{"content":"a"}}]}`), data(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}`)
	for range 10 * maxMisses {
		read(&s, tool)
		read(&s, text)
		if _, ok := s.template.matches([]byte(text)); !ok {
			t.Fatal("a chunk no longer matches the one before")
		}
	}
	var odd Stream
	for range maxMisses + 2 {
		read(&odd, tool)
		read(&odd, text)
	}
	if _, ok := odd.template.matches([]byte(text)); ok {
		t.Error("a template is still recorded after too many misses")
	}
}

func TestReadingDeltasDoesNotAllocate(t *testing.T) {
	for name, dialect := range map[string]operations.Dialect{"stream-chat": operations.Chat, "stream-responses": operations.Responses} {
		_, body := recorded(t, name)
		var events [][]byte
		var split sse.Splitter
		for {
			event, rest, ok := split.Next(body)
			if !ok {
				break
			}
			events, body = append(events, event), rest
		}
		s := Stream{Dialect: dialect}
		for _, e := range events {
			s.Read(e, time.Time{})
		}
		n := testing.AllocsPerRun(100, func() {
			for _, e := range events {
				s.Read(e, time.Time{})
			}
		})
		if n != 0 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}
