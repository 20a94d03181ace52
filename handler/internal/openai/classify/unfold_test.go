package classify

import (
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
)

// What Unfold makes is read as a whole stream, with the answer's usage.
func TestUnfold(t *testing.T) {
	const message = `{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi \"you\"","annotations":[]}]}`
	for name, c := range map[string]struct {
		dialect operations.Dialect
		answer  string
		events  []string // in their order
		finish  string
	}{
		"chat": {
			operations.Chat,
			`{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"},{"message":{"tool_calls":[{"id":"t","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`,
			[]string{`"content":"Hi"`, `"finish_reason":"stop"`, `"index":0`, `"finish_reason":"tool_calls","index":1`, `"choices":[]`, "[DONE]"},
			"tool_calls",
		},
		"completions": {
			operations.Chat, `{"id":"c","object":"text_completion","choices":[{"index":0,"text":"Hi","finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`,
			[]string{`"text":"Hi"`, `"finish_reason":"length"`, `"text":""`, "[DONE]"},
			"length",
		},
		"responses": {
			operations.Responses,
			`{"id":"r","object":"response","status":"completed","output":[{"id":"rs_1","type":"reasoning","summary":[]},` + message + `,{"id":"fc_1","type":"function_call","name":"f","arguments":"{}","status":"completed"}],"usage":{"input_tokens":3,"output_tokens":4}}`,
			[]string{"event: response.created", `"sequence_number":0`, `"content":[]`, `"delta":"Hi \"you\""`, "event: response.output_text.done", "event: response.function_call_arguments.delta", `"delta":"{}"`, "event: response.completed"},
			"completed",
		},
	} {
		events, ok := Unfold(c.dialect, []byte(c.answer))
		if !ok {
			t.Errorf("%s: no stream", name)
			continue
		}
		rest := string(events)
		for _, part := range c.events {
			_, after, found := strings.Cut(rest, part)
			if !found {
				t.Errorf("%s: no %s in the rest of\n%s", name, part, events)
			}
			rest = after
		}
		s := Stream{Dialect: c.dialect}
		var split sse.Splitter
		content := false
		for left := events; ; {
			event, more, found := split.Next(left)
			if !found {
				break
			}
			left = more
			kind := s.Read(event, time.Time{}).Kind
			content = content || kind == Content
		}
		if !content || !s.Complete() || s.Info.Usage.Prompt != 3 || s.Info.Usage.Completion != 4 || s.Info.FinishReason != c.finish {
			t.Errorf("%s: content %t, complete %t, %+v", name, content, s.Complete(), s.Info)
		}
	}
}

func TestUnfoldRefusesWhatIsNoWholeAnswer(t *testing.T) {
	for answer, dialect := range map[string]operations.Dialect{
		`[]`: operations.Chat, `{"choices":[]}`: operations.Chat, `{"choices":[{"message":{}}]}`: operations.Chat, `{"choices":7}`: operations.Chat,
		`{"status":"queued","output":[]}`: operations.Responses, `{"status":"in_progress","output":[]}`: operations.Responses, `{"status":"completed"}`: operations.Responses,
		`{"data":[]}`: operations.Plain,
	} {
		if events, ok := Unfold(dialect, []byte(answer)); ok {
			t.Errorf("%s became %s", answer, events)
		}
	}
}
