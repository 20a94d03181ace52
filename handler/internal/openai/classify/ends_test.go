package classify

import (
	"net/http"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
)

// How servers were seen to end streams, and what looks like an end and is none.
func TestEndsOfStreams(t *testing.T) {
	began := data(`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`)
	for name, c := range map[string]struct {
		dialect operations.Dialect
		events  []string
		whole   bool
	}{
		"null as a text in each chunk":          {operations.Chat, []string{data(`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"null"}]}`)}, false},
		"an empty finish reason in each chunk":  {operations.Chat, []string{data(`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":""}]}`)}, false},
		"the finish reason with the last text":  {operations.Chat, []string{data(`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}`)}, true},
		"a finish reason of its own":            {operations.Chat, []string{began, data(`{"choices":[{"index":0,"delta":{},"finish_reason":"eos"}]}`)}, true},
		"no index":                              {operations.Chat, []string{data(`{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}`)}, true},
		"one of two choices":                    {operations.Chat, []string{data(`{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}`), data(`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`)}, false},
		"error as the finish reason":            {operations.Chat, []string{began, data(`{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}`)}, false},
		"error beside an error object":          {operations.Chat, []string{began, data(`{"error":{"code":502,"message":"m"},"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}`)}, false},
		"[DONE] without a finish reason":        {operations.Chat, []string{began, "data: [DONE]\n\n"}, true},
		"[DONE] without a space":                {operations.Chat, []string{began, "data:[DONE]\n\n"}, true},
		"[DONE] and spaces":                     {operations.Chat, []string{began, "data: [DONE]  \n\n"}, true},
		"an incomplete response":                {operations.Responses, []string{data(`{"type":"response.incomplete","response":{"status":"incomplete"}}`)}, true},
		"a cancelled response":                  {operations.Responses, []string{data(`{"type":"response.cancelled","response":{"status":"cancelled"}}`)}, true},
		"a queued response":                     {operations.Responses, []string{data(`{"type":"response.queued","response":{"status":"queued"}}`)}, false},
		"an item that is done":                  {operations.Responses, []string{data(`{"type":"response.output_item.done","item":{}}`)}, false},
		"a turn that pauses":                    {operations.Messages, []string{data(`{"type":"message_start","message":{}}`), data(`{"type":"message_delta","delta":{"stop_reason":"pause_turn"}}`)}, true},
		"a message whose stop reason is null":   {operations.Messages, []string{data(`{"type":"message_start","message":{}}`), data(`{"type":"message_delta","delta":{"stop_reason":null}}`)}, false},
		"a block that stops, not the message":   {operations.Messages, []string{data(`{"type":"message_start","message":{}}`), data(`{"type":"content_block_stop","index":0}`)}, false},
		"usage before the finish reason":        {operations.Chat, []string{began, data(`{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)}, false},
		"annotations of the filter at the end":  {operations.Chat, []string{began, data(`{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":1}}]}`)}, false},
		"a part of an image":                    {operations.Plain, []string{data(`{"type":"image_generation.partial_image","b64_json":"AA"}`)}, false},
		"a whole image":                         {operations.Plain, []string{data(`{"type":"image_generation.partial_image","b64_json":"AA"}`), data(`{"type":"image_generation.completed","b64_json":"AA"}`)}, true},
		"a part of a second image":              {operations.Plain, []string{data(`{"type":"image_edit.completed","b64_json":"AA"}`), data(`{"type":"image_edit.partial_image","b64_json":"AA"}`)}, false},
		"a transcript by the name of its event": {operations.Plain, []string{"event: transcript.text.delta\n" + data(`{"delta":"a"}`), "event: transcript.text.done\n" + data(`{"text":"a"}`)}, true},
		"segments of a transcript":              {operations.Plain, []string{data(`{"type":"transcript.text.segment","text":"a"}`)}, false},
		"sound":                                 {operations.Plain, []string{data(`{"type":"speech.audio.delta","audio":"AA"}`)}, false},
		"chunks of a transcript":                {operations.Plain, []string{began}, false},
		"a tool call's arguments, without stop": {operations.Chat, []string{data(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}`)}, false},
	} {
		s := Stream{Dialect: c.dialect}
		for _, e := range c.events {
			read(&s, e)
		}
		if s.Complete() != c.whole {
			t.Errorf("%s: complete %t", name, !c.whole)
		}
	}
}

func TestErrorAsFinishReasonIsAFailure(t *testing.T) {
	for _, reason := range []string{"error", "network_error", "insufficient_system_resource"} {
		choice := `{"choices":[{"index":0,"delta":{"content":"a"},"message":{"content":"a"},"finish_reason":"` + reason + `"}]}`
		if _, o := Body([]byte(choice), http.Header{}, time.Now(), Policy{}, "choices"); o.Class != health.Failed {
			t.Errorf("a whole answer: %+v", o)
		}
		s := Stream{Dialect: operations.Chat}
		if r := read(&s, data(choice)); r.Kind != ErrorEvent || r.Outcome.Class != health.Failed {
			t.Errorf("an event: %+v", r)
		}
	}
}

// The errors of vLLM and FastChat have no member error, in a stream and inside a success.
func TestErrorObjectWithoutEnvelope(t *testing.T) {
	for text, want := range map[string]health.Outcome{
		`{"object":"error","message":"m","type":"InternalServerError","param":null,"code":500}`: {Class: health.Failed, Reason: "error"},
		`{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}`:     {Class: health.Served, Reason: "client error"},
	} {
		if _, o := Body([]byte(text), http.Header{}, time.Now(), Policy{}, "choices"); o.Class != want.Class || o.Reason != "in-body "+want.Reason {
			t.Errorf("%s: %v, %q", text, o.Class, o.Reason)
		}
		s := Stream{Dialect: operations.Chat}
		read(&s, data(`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`))
		if r := read(&s, data(text)); r.Kind != ErrorEvent || r.Outcome.Class != want.Class || r.Outcome.Reason != "in-stream "+want.Reason {
			t.Errorf("the event %s: %d, %v, %q", text, r.Kind, r.Outcome.Class, r.Outcome.Reason)
		}
	}
}

// A member of an answer that has another form, or holds nothing, is no answer.
func TestMembersThatAreNoAnswer(t *testing.T) {
	for body, member := range map[string]string{
		`{"choices":{}}`: "choices", `{"choices":"x"}`: "choices", `{"choices":[null]}`: "choices", `{"choices":[{}]}`: "choices", `{"choices":7}`: "choices",
		`{"choices":[{"index":0,"message":null,"finish_reason":null}]}`:                           "choices",
		`{"choices":[{"index":0,"message":{"role":"assistant","content":""}}]}`:                   "choices",
		`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[]}}]}`: "choices",
		`{"choices":[{"index":0,"message":null,"finish_reason":"stop"}]}`:                         "choices",
		`{"choices":[{"index":0,"finish_reason":"length"}]}`:                                      "choices",
		`{"choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`:   "choices",
		`{"data":{}}`: "data", `{"data":"x"}`: "data", `{"data":[null]}`: "data", `{"data":[{}]}`: "data", `{"data":[]}`: "data",
		`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[]}]}`:   "data",
		`{"object":"list","data":[{"object":"embedding","index":0,"embedding":null}]}`: "data",
		`{"created":1,"data":[{"url":null,"b64_json":null}]}`:                          "data",
		`{"output":{}}`: "output", `{"output":"x"}`: "output", `{"input_tokens":"x"}`: "input_tokens", `{"input_tokens":{}}`: "input_tokens",
	} {
		if _, o := Body([]byte(body), http.Header{}, time.Now(), Policy{}, member); o.Class != health.Failed || o.Reason != "no answer" {
			t.Errorf("%s: %v, %q", body, o.Class, o.Reason)
		}
	}
	for body, member := range map[string]string{
		`{"choices":[{"message":{"role":"assistant"},"finish_reason":"content_filter"}]}`: "choices",
		`{"choices":[{"index":0,"finish_reason":"content_filter"}]}`:                      "choices",
		`{"choices":[{"text":"","finish_reason":"stop"}]}`:                                "choices",
		`{"choices":[{"message":{"content":"a"}}]}`:                                       "choices",
		`{"choices":[{"message":{"content":null,"refusal":"no"}}]}`:                       "choices",
		`{"data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}]}`:              "data", `{"data":[{"url":"u"}]}`: "data",
		`{"data":[{"embedding":[1]}]}`: "data", `{"output":[]}`: "output", `{"input_tokens":7}`: "input_tokens",
	} {
		if _, o := Body([]byte(body), http.Header{}, time.Now(), Policy{}, member); o.Class != health.Served || o.Reason != "" {
			t.Errorf("%s: %v, %q", body, o.Class, o.Reason)
		}
	}
}
