package classify

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
)

func read(s *Stream, event string) EventResult { return s.Read([]byte(event), time.Time{}) }

func data(json string) string { return "data: " + json + "\n\n" }

func TestEventKinds(t *testing.T) {
	chat, responses, other := operations.Chat, operations.Responses, operations.Plain
	tests := map[string]struct {
		dialect operations.Dialect
		event   string
		want    EventKind
	}{
		"a comment":                     {chat, ": ping\n\n", Preamble},
		"a blank line":                  {chat, "\n", Preamble},
		"no data in data":               {chat, "data:\n\n", Preamble},
		"done":                          {chat, "data: [DONE]\n\n", Done},
		"done without a space":          {chat, "data:[DONE]\r\n\r\n", Done},
		"not JSON":                      {chat, data(`{"choices":[{]}`), Preamble},
		"not an object":                 {chat, data(`7`), Preamble},
		"a null error":                  {chat, data(`{"error":null,"choices":[{"index":0,"delta":{"content":"a"}}]}`), Content},
		"an empty error":                {chat, data(`{"error":"","choices":[{"index":0,"delta":{"content":"a"}}]}`), Content},
		"a false error":                 {chat, data(`{"error":false,"choices":[{"index":0,"delta":{}}]}`), Preamble},
		"an error that is a string":     {chat, data(`{"error":"overloaded"}`), ErrorEvent},
		"an error that has choices":     {chat, data(`{"choices":[],"error":{"message":"m"}}`), ErrorEvent},
		"an error by name":              {chat, "event: error\ndata: {\"message\":\"m\",\"code\":\"server_error\"}\n\n", ErrorEvent},
		"an error by type":              {chat, data(`{"type":"error","message":"m"}`), ErrorEvent},
		"an error cut short":            {chat, `data: {"error":{"message":"m`, ErrorEvent},
		"a tool call":                   {chat, data(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}`), Content},
		"members that hold null alone":  {chat, data(`{"choices":[{"index":0,"delta":{"role":"","content":"","provider_specific_fields":{"refusal":null},"audio":{}},"finish_reason":null}],"usage":{"total_tokens":0}}`), Preamble},
		"a call without arguments":      {chat, data(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}`), Content},
		"an annotation":                 {chat, data(`{"choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{}}]}`), Preamble},
		"annotations of the prompt":     {chat, data(`{"prompt_annotations":[],"choices":[]}`), Preamble},
		"another dialect's event":       {other, data(`{"type":"image_generation.partial_image","b64_json":"AA"}`), Content},
		"another dialect's error":       {other, data(`{"type":"error","error":{"code":"server_error"}}`), ErrorEvent},
		"created":                       {responses, "event: response.created\n" + data(`{"type":"response.created","response":{"id":"r"}}`), Preamble},
		"created, by type alone":        {responses, data(`{"type":"response.created","response":{"id":"r"}}`), Preamble},
		"queued":                        {responses, "event: response.queued\n" + data(`{"type":"response.queued","response":{"id":"r"}}`), Preamble},
		"a delta, by type alone":        {responses, data(`{"type":"response.output_text.delta","delta":"a"}`), Content},
		"a delta with an error as text": {responses, "event: response.output_text.delta\n" + data(`{"type":"response.output_text.delta","delta":"{\"error\":{\"code\":\"429\"}}"}`), Content},
		"created without a response":    {responses, "event: response.created\n" + data(`{"type":"response.created"}`), Preamble},
		"failed, not JSON":              {responses, "event: response.failed\n" + data(`{`), Preamble},
		"nested error":                  {responses, "event: error\n" + data(`{"type":"error","error":{"code":"429"}}`), ErrorEvent},
		"flat error without a type":     {responses, "event: error\n" + data(`{"code":"rate_limit_exceeded","message":"m"}`), ErrorEvent},
		"chat's error":                  {responses, data(`{"error":{"message":"m"}}`), ErrorEvent},
		"[DONE] in the Responses API":   {responses, "data: [DONE]\n\n", Preamble},
		"a keepalive of Azure's":        {responses, "event: keepalive\n" + data(`{"type":"keepalive","sequence_number":3}`), Preamble},
		"a keepalive in a chat":         {chat, data(`{"type":"keepalive","sequence_number":3}`), Preamble},
		"a keepalive of audio":          {other, data(`{"type":"keepalive"}`), Preamble},
		"OpenRouter's keepalive":        {responses, "event: response.keep_alive\n" + data(`{"type":"response.keep_alive"}`), Preamble},
		"a ping with its cost":          {responses, data(`{"type":"ping","cost":"0.001"}`), Preamble},
		"limits of the caller":          {responses, "event: codex.rate_limits\n" + data(`{"type":"codex.rate_limits","rate_limits":{"allowed":true}}`), Preamble},
		"an unknown event with a delta": {responses, "event: response.new.delta\n" + data(`{"type":"response.new.delta","delta":{"x":1}}`), Content},
		"an empty delta":                {responses, "event: response.output_text.delta\n" + data(`{"type":"response.output_text.delta","delta":""}`), Preamble},
		"the end of an empty text":      {responses, "event: response.output_text.done\n" + data(`{"type":"response.output_text.done","text":""}`), Content},
		"an empty message":              {responses, "event: response.output_item.added\n" + data(`{"type":"response.output_item.added","item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}`), Preamble},
		"a whole message":               {responses, "event: response.output_item.added\n" + data(`{"type":"response.output_item.added","item":{"id":"msg_1","type":"message","content":[{"type":"output_text","text":"a"}]}}`), Content},
		"a call of a tool":              {responses, "event: response.output_item.added\n" + data(`{"type":"response.output_item.added","item":{"id":"fc_1","type":"function_call","name":"f","arguments":""}}`), Content},
		"reasoning":                     {responses, "event: response.output_item.added\n" + data(`{"type":"response.output_item.added","item":{"id":"rs_1","type":"reasoning","summary":[]}}`), Preamble},
		"the end of empty reasoning":    {responses, "event: response.output_item.done\n" + data(`{"type":"response.output_item.done","item":{"id":"rs_1","type":"reasoning","summary":[]}}`), Preamble},
		"reasoning with a summary":      {responses, "event: response.output_item.done\n" + data(`{"type":"response.output_item.done","item":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"a"}]}}`), Content},
		"an empty part":                 {responses, "event: response.content_part.added\n" + data(`{"type":"response.content_part.added","part":{"type":"output_text","text":"","annotations":[]}}`), Preamble},
		"an image":                      {responses, "event: response.image_generation_call.partial_image\n" + data(`{"type":"response.image_generation_call.partial_image","partial_image_b64":"AA"}`), Content},
		"a role":                        {chat, data(`{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null,"tool_calls":[]},"finish_reason":null}]}`), Preamble},
		"a role alone":                  {chat, data(`{"choices":[{"index":0,"delta":{"role":"assistant"}}]}`), Preamble},
		"an empty text":                 {chat, data(`{"choices":[{"index":0,"text":"","finish_reason":null}]}`), Preamble},
		"hidden reasoning":              {chat, data(`{"choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":"a"}}]}`), Content},
		"an end without a text":         {chat, data(`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`), Content},
		"the end of silent audio":       {other, data(`{"type":"transcript.text.done","text":""}`), Content},
		"cancelled":                     {responses, "event: response.cancelled\n" + data(`{"type":"response.cancelled","response":{"status":"cancelled"}}`), Done},
	}
	for name, tt := range tests {
		s := Stream{Dialect: tt.dialect}
		if got := read(&s, tt.event).Kind; got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestErrorsInStreams(t *testing.T) {
	tests := map[string]struct {
		object string
		hint   bool
		want   health.OutcomeClass
		why    string
	}{
		"a limit by code":                   {`{"code":"rate_limit_exceeded","message":"m"}`, false, health.Throttled, "in-stream 429"},
		"a limit by type":                   {`{"type":"too_many_requests","message":"m"}`, false, health.Throttled, "in-stream 429"},
		"a limit by number":                 {`{"code":429,"message":"m"}`, false, health.Throttled, "in-stream 429"},
		"a limit by text":                   {`{"message":"Too Many Requests"}`, false, health.Throttled, "in-stream 429"},
		"capacity":                          {`{"code":"NoCapacity"}`, false, health.Throttled, "in-stream 429"},
		"a server error":                    {`{"code":"InternalServerError"}`, false, health.Failed, "in-stream error"},
		"a server error, with a hint":       {`{"type":"server_error"}`, true, health.Failed, "in-stream error"},
		"a server error by number":          {`{"code":"503"}`, false, health.Failed, "in-stream error"},
		"an unknown code":                   {`{"code":"teapot","message":"short and stout"}`, false, health.Failed, "in-stream error"},
		"no code, with a hint":              {`{"message":"m"}`, true, health.Throttled, "in-stream 429"},
		"an invalid request":                {`{"type":"invalid_request_error","message":"m"}`, true, health.Served, "in-stream client error"},
		"an invalid image":                  {`{"code":"image_too_large"}`, false, health.Served, "in-stream client error"},
		"an invalid prompt":                 {`{"code":"invalid_prompt"}`, false, health.Served, "in-stream client error"},
		"the content filter":                {`{"code":"content_filter"}`, false, health.Served, "content filter"},
		"the content filter of DALL-E":      {`{"code":"contentFilter"}`, false, health.Served, "content filter"},
		"the filter of reasoning models":    {`{"code":"invalid_prompt","message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy."}`, false, health.Served, "content filter"},
		"another invalid prompt":            {`{"code":"invalid_prompt","message":"Invalid prompt: it is empty. your prompt was flagged as"}`, false, health.Served, "in-stream client error"},
		"the content filter of GPT Image":   {`{"code":"moderation_blocked","type":"image_generation_user_error"}`, false, health.Served, "content filter"},
		"the content filter, as inner code": {`{"code":"BadRequest","inner_error":{"code":"ResponsibleAIPolicyViolation"}}`, false, health.Served, "content filter"},
		"a prompt that is too long":         {`{"type":"invalid_request_error","code":"context_length_exceeded"}`, false, health.Served, "context length"},
		"a missing role":                    {`{"code":"PermissionDenied"}`, false, health.Misconfigured, "in-stream misconfigured"},
		"a missing deployment":              {`{"code":"DeploymentNotFound"}`, false, health.Misconfigured, "in-stream misconfigured"},
		"a code and another type":           {`{"code":"429","type":"server_error"}`, false, health.Throttled, "in-stream 429"},
	}
	for name, tt := range tests {
		s := Stream{Dialect: operations.Chat}
		if tt.hint {
			s.Header = map[string][]string{"Retry-After": {"9"}}
		}
		got := read(&s, data(`{"error":`+tt.object+`}`)).Outcome
		if got.Class != tt.want || got.Reason != tt.why {
			t.Errorf("%s: %v, %q; want %v, %q", name, got.Class, got.Reason, tt.want, tt.why)
		}
		if tt.hint && got.Class == health.Throttled && got.Wait != 9*time.Second {
			t.Errorf("%s: a wait of %v, want the 9 s of the headers", name, got.Wait)
		}
	}
}

func TestInStreamErrorOfTheCallersCredential(t *testing.T) {
	s := Stream{Dialect: operations.Chat, Policy: Policy{CallerAuth: true}}
	if got := read(&s, data(`{"error":{"code":"PermissionDenied"}}`)).Outcome; got.Class != health.Served {
		t.Errorf("the caller's credential: %+v", got)
	}
	if got := read(&s, data(`{"error":{"code":"DeploymentNotFound"}}`)).Outcome; got.Class != health.Misconfigured {
		t.Errorf("our deployment: %+v", got)
	}
}

func TestStreamIsCompleteWhenAllChoicesAre(t *testing.T) {
	finish := func(index string) string {
		return data(`{"choices":[{"index":` + index + `,"delta":{},"finish_reason":"stop"}]}`)
	}
	delta := func(index string) string {
		return data(`{"choices":[{"index":` + index + `,"delta":{"content":"a"},"finish_reason":null}]}`)
	}
	s := Stream{Dialect: operations.Chat}
	if s.Complete() {
		t.Error("a stream without events is complete")
	}
	read(&s, delta("0"))
	read(&s, delta("127"))
	if r := read(&s, finish("0")); r.FinishedChoices != 1 || s.Complete() {
		t.Errorf("one of two: %d finished, complete %t", r.FinishedChoices, s.Complete())
	}
	if r := read(&s, finish("0")); r.FinishedChoices != 0 {
		t.Errorf("the same again: %d finished", r.FinishedChoices)
	}
	if r := read(&s, finish("127")); r.FinishedChoices != 1 || !s.Complete() || s.EndOutcome().Class != health.Served {
		t.Errorf("both: %d finished, complete %t, end %+v", r.FinishedChoices, s.Complete(), s.EndOutcome())
	}
	both := Stream{Dialect: operations.Chat}
	if r := read(&both, data(`{"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"length"}]}`)); r.FinishedChoices != 2 || !both.Complete() {
		t.Errorf("two at once: %d finished", r.FinishedChoices)
	}
}

func TestUsageOnlyChunks(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":3,"completion_tokens":4}`
	tests := map[string]struct {
		chunk string
		want  bool
	}{
		"the usage chunk":          {`{"choices":[],` + usage + `}`, true},
		"usage in every chunk":     {`{"choices":[{"index":0,"delta":{"content":"a"}}],` + usage + `}`, false},
		"usage without choices":    {`{` + usage + `}`, false},
		"the prompt's annotations": {`{"choices":[],"prompt_filter_results":[{}],` + usage + `}`, false},
		"the first chunk":          {`{"choices":[],"prompt_filter_results":[{}],"usage":null}`, false},
		"empty, without usage":     {`{"choices":[],"usage":null}`, false},
	}
	for name, tt := range tests {
		s := Stream{Dialect: operations.Chat}
		if got := read(&s, data(tt.chunk)).UsageOnly; got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
		if strings.Contains(tt.chunk, usage) && (!s.Info.HasUsage || s.Info.Usage.Completion != 4) {
			t.Errorf("%s: the usage was not recorded: %+v", name, s.Info)
		}
	}
}

func TestFormatErrorEvent(t *testing.T) {
	const message = "The answer broke off: \"quote\"\nnew line"
	chat := string(FormatErrorEvent(operations.Chat, message, "upstream_stream_interrupted"))
	for _, dialect := range []operations.Dialect{operations.Chat, operations.Plain} {
		if got := string(FormatErrorEvent(dialect, message, "upstream_stream_interrupted")); got != chat {
			t.Errorf("dialect %d: %q", dialect, got)
		}
	}
	want := `data: {"error":{"message":"The answer broke off: \"quote\"\nnew line","type":"server_error","param":null,"code":"upstream_stream_interrupted"}}` + "\n\n"
	if chat != want {
		t.Errorf("chat: %q, want %q", chat, want)
	}
	s := Stream{Dialect: operations.Responses}
	read(&s, "event: response.created\n"+data(`{"type":"response.created","sequence_number":40,"response":{"id":"r"}}`))
	read(&s, "event: response.output_text.delta\n"+data(`{"type":"response.output_text.delta","sequence_number":41}`))
	want = `event: error` + "\n" + `data: {"type":"error","code":"c","message":"m","param":null,"sequence_number":42,"error":{"message":"m","type":"server_error","param":null,"code":"c"}}` + "\n\n"
	if got := string(s.FormatErrorEvent("m", "c")); got != want {
		t.Errorf("responses: %q, want %q", got, want)
	}
}

// Another gateway must read our error events as errors.
func TestFormattedErrorEventsAreReadAsErrors(t *testing.T) {
	for _, dialect := range []operations.Dialect{operations.Plain, operations.Chat, operations.Responses} {
		s := Stream{Dialect: dialect}
		event := FormatErrorEvent(dialect, "m", "upstream_stream_interrupted")
		if r := s.Read(event, time.Time{}); r.Kind != ErrorEvent || r.Outcome.Class != health.Failed {
			t.Errorf("dialect %d: %+v", dialect, r)
		}
		var object map[string]any
		err := json.Unmarshal(sse.Parse(event).Data, &object)
		if value, ok := object["error"]; err != nil || ok && value == nil {
			t.Errorf("dialect %d: %v with error %v: %v", dialect, object, value, err)
		}
	}
}

func TestLooksComplete(t *testing.T) {
	tests := []struct {
		head, tail string
		want       bool
	}{
		{`{"a"`, `1}`, true},
		{" \n[", "] \n", true},
		{`{"a":[1]}`, `{"a":[1]}`, true},
		{`{`, `]`, false},
		{`<html>`, `</html>`, false},
		{``, `}`, false},
		{`{`, ``, false},
		{`{`, `"text`, false},
		{` `, ` `, false},
	}
	for _, tt := range tests {
		if got := LooksComplete([]byte(tt.head), []byte(tt.tail)); got != tt.want {
			t.Errorf("LooksComplete(%q, %q) = %t", tt.head, tt.tail, got)
		}
	}
}

func TestBodyOfAFailedResponseIsClassifiedByItsError(t *testing.T) {
	tests := map[string]struct {
		body string
		want health.Outcome
	}{
		"throttled":         {`{"object":"response","status":"failed","error":{"code":"rate_limit_exceeded","message":"m"}}`, health.Outcome{Class: health.Throttled, Wait: 10 * time.Second, Reason: "in-body 429"}},
		"an invalid prompt": {`{"object":"response","status":"failed","error":{"code":"invalid_prompt","message":"m"}}`, servedWith("in-body client error")},
		"not failed":        {`{"object":"response","status":"completed","error":{"code":"server_error"}}`, servedWith("")},
		"an array":          {`[{"error":{"code":"429"}}]`, servedWith("")},
		"text after it":     {`{"a":1} x`, failedWith("not JSON")},
		"a broken middle":   {`{"a":tru}`, failedWith("not JSON")},
	}
	for name, tt := range tests {
		if _, got := Body([]byte(tt.body), nil, time.Time{}, Policy{}, ""); plain(got) != tt.want {
			t.Errorf("%s: %+v, want %+v", name, plain(got), tt.want)
		}
	}
}

// FuzzStream checks that no event panics, that errors have a fitting outcome,
// and that a stream read with the template has the same results as one whose
// chunks are all parsed.
func FuzzStream(f *testing.F) {
	for _, name := range []string{"stream-chat", "stream-responses", "stream-responses-429-failed-error", "stream-chat-429", "stream-responses-incomplete", "stream-completions"} {
		_, body := recorded(f, name)
		f.Add(string(body), byte(1), "7")
		f.Add(string(body), byte(2), "")
	}
	chunk := func(content string) string {
		return data(`{"choices":[{"index":0,"delta":{"content":` + content + `}}]}`)
	}
	f.Add(chunk(`"a"`)+chunk(`"b"`)+chunk(`"c","role":"x"`)+chunk(`"\\"`)+chunk(`""`)+chunk(`"a"}}],"error":{"a":"b"`), byte(1), "")
	f.Fuzz(func(t *testing.T, body string, dialect byte, after string) {
		header := map[string][]string{"Retry-After": {after}}
		s := Stream{Dialect: operations.Dialect(dialect % 3), Header: header}
		slow := Stream{Dialect: s.Dialect, Header: header, template: eventTemplate{misses: maxMisses}}
		var split sse.Splitter
		rest := []byte(body)
		for {
			event, left, ok := split.Next(rest)
			if !ok {
				break
			}
			rest = left
			r := s.Read(event, time.Time{})
			if want := slow.Read(event, time.Time{}); r != want {
				t.Fatalf("%q is %+v with the template, %+v without", event, r, want)
			}
			checkReading(t, event, r)
		}
		if !reflect.DeepEqual(s.Info, slow.Info) || s.Complete() != slow.Complete() || s.EndOutcome() != slow.EndOutcome() {
			t.Fatalf("with the template: %+v, %+v; without: %+v, %+v", s.Info, s.EndOutcome(), slow.Info, slow.EndOutcome())
		}
		if u := s.Info.Usage; u.Prompt < 0 || u.Completion < 0 || u.Cached > u.Prompt || len(s.Info.FinishReason)+len(s.Info.ID)+len(s.Info.ServiceTier) > 3*256 {
			t.Fatalf("%+v", s.Info)
		}
	})
}

func checkReading(t *testing.T, event []byte, r EventResult) {
	t.Helper()
	if r.Kind != ErrorEvent && r.Outcome != (health.Outcome{}) || r.Outcome.Class == health.Abandoned {
		t.Fatalf("%q: %+v", event, r)
	}
	if r.Outcome.Class == health.Throttled && (r.Outcome.Wait <= 0 || r.Outcome.Wait > 5*time.Minute) {
		t.Fatalf("%q: a wait of %v", event, r.Outcome.Wait)
	}
}

func BenchmarkRead(b *testing.B) {
	_, chat := recorded(b, "stream-chat")
	_, responses := recorded(b, "stream-responses")
	nth := func(body []byte, n int) []byte {
		var split sse.Splitter
		for {
			event, rest, ok := split.Next(body)
			if !ok {
				b.Fatal("no such event")
			}
			if n == 0 {
				return event
			}
			body = rest
			n--
		}
	}
	for name, bb := range map[string]struct {
		dialect operations.Dialect
		event   []byte
	}{
		"chat-delta":      {operations.Chat, nth(chat, 2)},
		"chat-usage":      {operations.Chat, nth(chat, 4)},
		"responses-delta": {operations.Responses, nth(responses, 3)},
		"responses-done":  {operations.Responses, nth(responses, 4)},
	} {
		b.Run(name, func(b *testing.B) {
			s := Stream{Dialect: bb.dialect}
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.event)))
			for b.Loop() {
				s.Read(bb.event, time.Time{})
			}
		})
	}
}
