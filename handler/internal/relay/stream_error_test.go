package relay_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
)

func TestErrorEventAfterFirstTokenIsRelayedAndBreaksStream(t *testing.T) {
	x := newFixture(operations.Chat, "text/event-stream", strings.NewReader(role+content+refused+content))
	d := x.deliver()
	if !d.Broken || d.Outcome.Class != health.Throttled {
		t.Errorf("delivery %+v", d)
	}
	if got := x.caller.got(); got != role+content+refused {
		t.Errorf("the caller got %q", got)
	}
}

// Behind an error that clients take for a part of the answer, one follows that they raise.
func TestErrorThatClientsOverlookIsFollowedByOneThatTheyRaise(t *testing.T) {
	for event, dialect := range map[string]operations.Dialect{
		`data: {"object":"error","message":"m","code":500}` + "\n\n":                                                 operations.Chat,
		`data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"network_error"}]}` + "\n\n":              operations.Chat,
		"event: error\n" + `data: {"type":"error","code":"server_error","message":"m","sequence_number":3}` + "\n\n": operations.Responses,
	} {
		began, own := role, `data: {"error":{`
		if dialect == operations.Responses {
			began, own = delta, "event: error\ndata: {"
		}
		x := newFixture(dialect, "text/event-stream", strings.NewReader(began+event+done))
		d := x.deliver()
		rest, ok := strings.CutPrefix(x.caller.got(), began+event)
		if !d.Broken || !ok || !strings.HasPrefix(rest, own) || !strings.Contains(rest, `"error":{"message":`) {
			t.Errorf("the caller got %q, %+v", x.caller.got(), d)
		}
	}
}

// Azure sends the events of a throttled stream in several orders
// (docs/azure-openai.md#429-inside-a-stream).
func TestThrottleInResponsesStreamSendsNothing(t *testing.T) {
	for name, events := range map[string]string{
		"error first":     limited + failedAs(`{"code":"rate_limit_exceeded","message":"x"}`),
		"failed first":    failedAs("null") + limited,
		"created first":   created + limited + failedAs(`{"code":"rate_limit_exceeded","message":"x"}`),
		"flat":            created + "event: error\ndata: " + `{"type":"error","code":"too_many_requests","message":"Too Many Requests","param":null,"sequence_number":2}` + "\n\n",
		"a large created": strings.Replace(created, `"id"`, `"instructions":"`+strings.Repeat("x", 40<<10)+`","id"`, 1) + limited,
	} {
		x := newFixture(operations.Responses, "text/event-stream", strings.NewReader(events))
		x.response.Response.Header.Set("Retry-After", "7")
		if d := x.deliver(); d.Committed || d.Outcome.Class != health.Throttled || d.Outcome.Wait != 7*time.Second {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestResponseFailedEndsStreamNormally(t *testing.T) {
	delta := "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n"
	failed := failedAs(`{"code":"server_error","message":"x"}`)
	x := newFixture(operations.Responses, "text/event-stream", strings.NewReader(created+delta+failed))
	if d := x.deliver(); d.Broken || d.Outcome.Class != health.Failed || x.caller.got() != created+delta+failed {
		t.Errorf("%+v, the caller got %q", d, x.caller.got())
	}
}

// An error of the caller's, or about the backend, ahead of any content is a response
// of its own, whatever it came in.
func TestErrorInsideASuccessIsARefusal(t *testing.T) {
	chat, responses := *operations.ByName("chat"), *operations.ByName("responses")
	for name, c := range map[string]struct {
		operation operations.Operation
		stream    bool
		body      string
		class     health.OutcomeClass
		status    int
		want      string
	}{
		"a failed response":    {responses, true, created + failedAs(`{"code":"invalid_prompt","message":"x"}`), health.Served, 400, `{"error":{"code":"invalid_prompt","message":"x"}}`},
		"a filtered prompt":    {chat, true, filters + empty + `data: {"error":{"code":"content_filter","message":"x"}}` + "\n\n", health.Served, 400, `{"error":{"code":"content_filter","message":"x"}}`},
		"a missing deployment": {chat, true, `data: {"error":{"code":"DeploymentNotFound","message":"x"}}` + "\n\n", health.Misconfigured, 404, `{"error":{"code":"DeploymentNotFound","message":"x"}}`},
		"a body":               {chat, false, `{"error":{"code":"invalid_value","message":"x","param":"n"}}`, health.Served, 400, `{"error":{"code":"invalid_value","message":"x","param":"n"}}`},
		"a body of a stream":   {chat, true, `{"error":{"code":"invalid_value","message":"x"}}`, health.Served, 400, `{"error":{"code":"invalid_value","message":"x"}}`},
		"an unknown operation": {responses, false, `{"error":{"code":"OperationNotSupported","message":"x"}}`, health.Misconfigured, 400, `{"error":{"code":"OperationNotSupported","message":"x"}}`},
	} {
		media := "application/json"
		if strings.HasPrefix(c.body, "data:") || strings.HasPrefix(c.body, "event:") {
			media = "text/event-stream"
		}
		x := newFixture(operations.Chat, media, strings.NewReader(c.body))
		x.request.Operation, x.request.Parsed.Stream = c.operation, c.stream
		d := x.deliver()
		if d.Committed || d.Outcome.Class != c.class || d.Refusal == nil || x.caller.answered() {
			t.Errorf("%s: %+v, the caller got %q", name, d, x.caller.all())
			continue
		}
		body, _ := io.ReadAll(d.Refusal.Body)
		if d.Refusal.StatusCode != c.status || string(body) != c.want || d.Refusal.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v %s", name, d.Refusal.StatusCode, d.Refusal.Header, body)
		}
	}
}
