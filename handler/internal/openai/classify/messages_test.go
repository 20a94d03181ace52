package classify

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
	"spillway/handler/internal/openai/usage"
)

func named(name, members string) string {
	return "event: " + name + "\n" + data(`{"type":"`+name+`"`+members+`}`)
}

func TestMessagesEventKinds(t *testing.T) {
	for name, tt := range map[string]struct {
		event string
		want  EventKind
	}{
		"start":                   {named("message_start", `,"message":{"id":"msg_1","content":[],"usage":{"input_tokens":3,"output_tokens":1}}`), Preamble},
		"ping":                    {named("ping", ""), Preamble},
		"ping by type alone":      {data(`{"type":"ping"}`), Preamble},
		"a comment":               {": keep-alive\n", Preamble},
		"a block of text begins":  {named("content_block_start", `,"index":0,"content_block":{"type":"text","text":"","citations":null}`), Preamble},
		"a thought begins":        {named("content_block_start", `,"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}`), Preamble},
		"a call begins":           {named("content_block_start", `,"index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}`), Content},
		"a redacted thought":      {named("content_block_start", `,"index":0,"content_block":{"type":"redacted_thinking","data":"xyz"}`), Content},
		"text":                    {named("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"a"}`), Content},
		"no text":                 {named("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":""}`), Preamble},
		"no arguments":            {named("content_block_delta", `,"index":0,"delta":{"type":"input_json_delta","partial_json":""}`), Preamble},
		"a thought":               {named("content_block_delta", `,"index":0,"delta":{"type":"thinking_delta","thinking":"hm"}`), Content},
		"a signature":             {named("content_block_delta", `,"index":0,"delta":{"type":"signature_delta","signature":"x"}`), Content},
		"a citation":              {named("content_block_delta", `,"index":0,"delta":{"type":"citations_delta","citation":{"type":"page"}}`), Content},
		"text, by type alone":     {data(`{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}`), Content},
		"an error written by it":  {named("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"{\"error\":{\"type\":\"x\"}}"}`), Content},
		"a block ends":            {named("content_block_stop", `,"index":0`), Preamble},
		"the reason":              {named("message_delta", `,"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}`), Preamble},
		"the end":                 {named("message_stop", ""), Done},
		"an error":                {named("error", `,"error":{"type":"overloaded_error","message":"Overloaded"}`), ErrorEvent},
		"an error by type alone":  {data(`{"type":"error","error":{"type":"api_error","message":"m"}}`), ErrorEvent},
		"an error of Azure's":     {data(`{"error":{"code":"429","message":"m"}}`), ErrorEvent},
		"an event of another day": {named("message_metadata", `,"x":{}`), Preamble},
		"not JSON":                {"event: content_block_delta\ndata: {\"delta\":\n\n", Preamble},
	} {
		s := Stream{Dialect: operations.Messages}
		if got := read(&s, tt.event); got.Kind != tt.want {
			t.Errorf("%s: %+v, want kind %d", name, got, tt.want)
		}
	}
}

func TestErrorsOfMessages(t *testing.T) {
	for kind, want := range map[string]health.OutcomeClass{
		"overloaded_error": health.Failed, "api_error": health.Failed, "timeout_error": health.Failed, "rate_limit_error": health.Throttled,
		"authentication_error": health.Misconfigured, "permission_error": health.Misconfigured, "billing_error": health.Misconfigured,
		"invalid_request_error": health.Served, "request_too_large": health.Served, "not_found_error": health.Served,
	} {
		body := `{"type":"error","error":{"type":"` + kind + `","message":"m"}}`
		s := Stream{Dialect: operations.Messages}
		if r := read(&s, "event: error\n"+data(body)); r.Outcome.Class != want {
			t.Errorf("%s in a stream: %+v, want %v", kind, r.Outcome, want)
		}
		if _, o := Message([]byte(body), nil, time.Time{}, Policy{}); o.Class != want {
			t.Errorf("%s in a body: %+v, want %v", kind, o, want)
		}
	}
	if o := Status(529, http.Header{"Retry-After": {"7"}}, []byte(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`), time.Time{}, Policy{}); o.Class != health.Failed || o.RawWait != 7*time.Second {
		t.Errorf("529: %+v", o)
	}
	if o := Status(429, http.Header{"Retry-After": {"7"}}, []byte(`{"type":"error","error":{"type":"rate_limit_error","message":"m"}}`), time.Time{}, Policy{}); o.Class != health.Throttled || o.Wait != 7*time.Second {
		t.Errorf("429: %+v", o)
	}
}

func TestMessageBodies(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"msg_1","type":"message","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}`: "",
		`{"id":"msg_1","type":"message","content":[],"stop_reason":"refusal","usage":{"input_tokens":3,"output_tokens":0}}`:                            "",
		`{}`: "no answer", `[]`: "no answer", `{"content":"a"}`: "no answer", `{"choices":[]}`: "no answer", ``: "empty body", `{"content":[`: "truncated body",
	} {
		info, o := Message([]byte(body), nil, time.Time{}, Policy{})
		if o.Reason != want || (o.Class == health.Served) != (want == "") {
			t.Errorf("%s: %+v, want %q", body, o, want)
		}
		if want == "" && info.Usage.Prompt != 3 {
			t.Errorf("%s: %+v", body, info)
		}
	}
}

// recordedMessage is a stream with cached tokens, a thought, text and a call.
var recordedMessage = []string{
	named("message_start", `,"message":{"id":"msg_1","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"cache_creation":{"ephemeral_5m_input_tokens":50,"ephemeral_1h_input_tokens":150},"output_tokens":1,"service_tier":"standard"}}`),
	named("ping", ""),
	named("content_block_start", `,"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}`),
	named("content_block_delta", `,"index":0,"delta":{"type":"thinking_delta","thinking":"hm"}`),
	named("content_block_stop", `,"index":0`),
	named("content_block_start", `,"index":1,"content_block":{"type":"text","text":""}`),
	named("content_block_delta", `,"index":1,"delta":{"type":"text_delta","text":"Hello"}`),
	named("content_block_stop", `,"index":1`),
	named("content_block_start", `,"index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}`),
	named("content_block_delta", `,"index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}`),
	named("content_block_stop", `,"index":2`),
	named("message_delta", `,"delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":50,"output_tokens_details":{"thinking_tokens":7}}`),
	named("message_stop", ""),
}

// The usage comes twice, and the second one is that of the whole message. Cached
// tokens are not a part of input_tokens, and are one of the prompt.
func TestUsageOfAMessagesStream(t *testing.T) {
	s := Stream{Dialect: operations.Messages}
	for _, event := range recordedMessage {
		read(&s, event)
	}
	want := usage.Tokens{Prompt: 3210, Cached: 3000, CacheWrite: 200, CacheWriteHour: 150, Completion: 50, Reasoning: 7}
	if s.Info.Usage != want || s.Info.FinishReason != "tool_use" || s.Info.ID != "msg_1" || s.Info.ServiceTier != "standard" || !s.Complete() || s.Info.TextBytes != 9 {
		t.Errorf("%+v, complete: %v", s.Info, s.Complete())
	}
	price := usage.Price{Input: 3, CachedInput: 0.3, CacheWrite: 3.75, CacheWriteHour: 6, Output: 15}
	if got, want := price.Cost(s.Info.Usage), (10*3+3000*0.3+50*3.75+150*6+50*15)/1e6; got < want-1e-12 || got > want+1e-12 {
		t.Errorf("it costs %v, want %v", got, want)
	}
}

// A recorded stream that is cut at any byte is incomplete until the event with its
// stop reason has come.
func TestMessagesStreamCutAtEveryByte(t *testing.T) {
	whole := strings.Join(recordedMessage, "")
	reason := strings.Index(whole, recordedMessage[11]) + len(recordedMessage[11])
	for end := range len(whole) + 1 {
		s, splitter, rest := Stream{Dialect: operations.Messages}, sse.Splitter{}, []byte(whole[:end])
		for {
			event, more, ok := splitter.Next(rest)
			if !ok {
				break
			}
			s.Read(event, time.Time{})
			rest = more
		}
		if s.Complete() != (end >= reason) {
			t.Fatalf("cut at %d of %d: complete is %v", end, len(whole), s.Complete())
		}
	}
}

func TestErrorEventOfMessages(t *testing.T) {
	const want = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"broke\"}}\n\n"
	if got := string(FormatErrorEvent(operations.Messages, "broke", "code")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCompleteError(t *testing.T) {
	for _, c := range []struct {
		anthropic  bool
		status     int
		body, want string
	}{
		{false, 400, `{"error":{"message":"m","type":null,"param":"prompt","code":"content_filter"}}`, `{"error":{"message":"m","type":null,"param":"prompt","code":"content_filter"}}`},
		{false, 404, `{ "error": { "code": "404", "message": "Resource not found" } }`, `{ "error": {"type":"invalid_request_error","param":null, "code": "404", "message": "Resource not found" } }`},
		{false, 429, `{"error":{"message":"m"}}`, `{"error":{"type":"too_many_requests","param":null,"code":null,"message":"m"}}`},
		{false, 422, `{"error":{}}`, `{"error":{"type":"invalid_request_error","param":null,"code":null,"message":"The backend gave no reason."}}`},
		{false, 422, `{"detail":"Extra inputs"}`, `{"error":{"message":"Extra inputs","type":"invalid_request_error","param":null,"code":"422"}}`},
		{false, 400, `{"error":"bad"}`, `{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":"400"}}`},
		{false, 400, `{"object":"error","message":"bad","type":"BadRequestError","code":400}`, `{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":"400"}}`},
		{false, 422, `{"detail":[{"type":"missing","loc":["body","messages",0,"role"],"msg":"Field required"},{"loc":["body","n"],"msg":"Input should be 1"}]}`, `{"error":{"message":"Field required (body.messages.0.role); Input should be 1 (body.n)","type":"invalid_request_error","param":null,"code":"422"}}`},
		{false, 422, `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","foo"],"msg":"Extra inputs are not permitted","input":1}]},"type":"invalid_request_error","param":null,"code":null}`, `{"error":{"message":"Extra inputs are not permitted (body.foo)","type":"invalid_request_error","param":null,"code":"422"}}`},
		{false, 400, `[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]`, `{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":"400"}}`},
		{false, 413, `<html><h1>413</h1></html>`, `{"error":{"message":"The backend refused this request with the status 413 and gave no reason.","type":"invalid_request_error","param":null,"code":"413"}}`},
		{false, 499, ``, `{"error":{"message":"The backend refused this request with the status 499 and gave no reason.","type":"invalid_request_error","param":null,"code":"499"}}`},
		{false, 400, `{"error":{"message":"cut`, `{"error":{"message":"The backend refused this request with the status 400 and gave no reason.","type":"invalid_request_error","param":null,"code":"400"}}`},
		{true, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"m"},"request_id":"req_1"}`, `{"type":"error","error":{"type":"invalid_request_error","message":"m"},"request_id":"req_1"}`},
		{true, 404, `{"error":{"code":"DeploymentNotFound","message":"m"}}`, `{"type":"error","error":{"type":"not_found_error","message":"m"}}`},
		{true, 413, `<html>`, `{"type":"error","error":{"type":"request_too_large","message":"The backend refused this request with the status 413 and gave no reason."}}`},
	} {
		if got := string(CompleteError(c.anthropic, c.status, []byte(c.body))); got != c.want {
			t.Errorf("%d %s became\n%s, want\n%s", c.status, c.body, got, c.want)
		}
	}
}

// The container of a message is made by the answer, in a stream too; what a caller
// wrote is not.
func TestContainerOfAMessageIsCreated(t *testing.T) {
	o := operations.ByName("messages")
	for text, want := range map[string]int{
		`{"id":"msg_1","type":"message","content":[],"container":{"id":"container_1","expires_at":"x"}}`:                              1,
		`{"type":"message_start","message":{"id":"msg_1","container":{"id":"container_1"}}}`:                                          1,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn","container":{"id":"container_1"}}}`:                                1,
		`{"id":"msg_1","type":"message","content":[{"type":"tool_use","input":{"container":{"id":"container_2"}}}],"container":null}`: 0,
		`{"id":"msg_1","type":"message","content":[{"type":"text","text":"{\"container\":{\"id\":\"container_2\"}}"}],"usage":{}}`:    0,
	} {
		got := slices.DeleteFunc(Created(o, "", []byte(text)), func(o operations.Object) bool { return o.Kind == operations.KindMessage })
		if len(got) != want || want == 1 && (got[0].ID != "container_1" || got[0].Kind != operations.KindContainer) {
			t.Errorf("%s: %+v, want %d", text, got, want)
		}
	}
}
