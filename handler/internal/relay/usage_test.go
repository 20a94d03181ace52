package relay_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

const (
	textChunk   = `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hello there"},"finish_reason":null}],"usage":null,"obfuscation":"abcdefgh"}` + "\n\n"
	finishChunk = `data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n"
	usageChunk  = `data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":20}}` + "\n\n"
)

// A caller that leaves once it has its answer still pays for it.
func TestUsageIsReadAfterTheCallerLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		w := piped(x)
		finished := 0
		x.response.Hooks.Finished = func() { finished++ }
		go func() {
			_, _ = w.Write([]byte(textChunk))
			time.Sleep(time.Second)
			x.caller.mu.Lock()
			x.caller.refuses = errors.New("the caller left")
			x.caller.mu.Unlock()
			_, _ = w.Write([]byte(finishChunk))
			time.Sleep(time.Second)
			_, _ = w.Write([]byte(usageChunk + "data: [DONE]\n\n"))
		}()
		d := x.deliver()
		if want := (usage.Tokens{Prompt: 12, Completion: 20}); d.Usage != want || !d.CallerLeft || finished != 1 || x.ctx.Err() != nil {
			t.Errorf("usage %+v, broken %t, finished %d times, %v; want %+v", d.Usage, d.Broken, finished, x.ctx.Err(), want)
		}
	})
}

// Before its finish reason, a stream ends with its caller: what the backend would
// generate costs more than its usage would tell.
func TestStreamEndsWithItsCallerBeforeTheFinishReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		w := piped(x)
		x.caller.refuses = errors.New("the caller left")
		var backend sync.WaitGroup
		defer backend.Wait()
		backend.Go(func() {
			_, _ = w.Write([]byte(textChunk))
			time.Sleep(time.Second)
			_, _ = w.Write([]byte(finishChunk + usageChunk))
		})
		began := time.Now()
		d := x.deliver()
		if d.Usage != (usage.Tokens{}) || !d.Broken || time.Since(began) != 0 || x.ctx.Err() == nil {
			t.Errorf("usage %+v, broken %t after %v, %v", d.Usage, d.Broken, time.Since(began), x.ctx.Err())
		}
	})
}

func TestUsageIsAwaitedForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		w := piped(x)
		x.caller.refuses = errors.New("the caller left")
		go func() { _, _ = w.Write([]byte(textChunk + finishChunk)) }()
		began := time.Now()
		d := x.deliver()
		if took := time.Since(began); took != 2*time.Second || d.Usage != (usage.Tokens{}) || d.TextBytes != int64(len("Hello there")) {
			t.Errorf("after %v: usage %+v, %d bytes of text", took, d.Usage, d.TextBytes)
		}
	})
}

// Text is counted without the padding that hides its length.
func TestTextIsCountedWhileItIsRelayed(t *testing.T) {
	for name, c := range map[string]struct {
		dialect operations.Dialect
		body    string
		want    int64
	}{
		"chat":      {operations.Chat, textChunk + textChunk + textChunk + finishChunk + "data: [DONE]\n\n", 33},
		"tools":     {operations.Chat, `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":"{\"a\""}}]}}]}` + "\n\n" + finishChunk + "data: [DONE]\n\n", int64(len(`{\"a\"`))},
		"responses": {operations.Responses, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\",\"obfuscation\":\"xyz\"}\n\n" + "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\"}}\n\n", 5},
		"audio":     {operations.Responses, "event: response.output_audio.delta\ndata: {\"type\":\"response.output_audio.delta\",\"delta\":\"AAAAAAAA\"}\n\n" + "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\"}}\n\n", 0},
	} {
		x := newFixture(c.dialect, "text/event-stream", breaking([]byte(c.body), errReset))
		if d := x.deliver(); d.TextBytes != c.want {
			t.Errorf("%s: %d bytes of text, want %d", name, d.TextBytes, c.want)
		}
	}
}

// The usage of a stored response is that of the request that made it, not of the one
// that reads it.
func TestStoredResponseReportsItsState(t *testing.T) {
	object := func(status, more string) string {
		return `{"id":"resp_1","object":"response","status":"` + status + `","background":true,"output":[]` + more + `}`
	}
	const reported = `,"usage":{"input_tokens":12,"output_tokens":20},"service_tier":"default"`
	state := func(ended, reported bool) proxy.Stored {
		s := proxy.Stored{ID: "resp_1", Background: true, Ended: ended, Reported: reported}
		if reported {
			s.Usage = usage.Tokens{Prompt: 12, Completion: 20}
		}
		return s
	}
	event := func(name, response string) string {
		return "event: " + name + "\ndata: {\"type\":\"" + name + "\",\"sequence_number\":7,\"response\":" + response + "}\n\n"
	}
	for name, c := range map[string]struct {
		media, body string
		want        proxy.Stored
	}{
		"queued":              {"application/json", object("queued", `,"usage":null`), state(false, false)},
		"in progress":         {"application/json", object("in_progress", ""), state(false, false)},
		"completed":           {"application/json", object("completed", reported), state(true, true)},
		"incomplete":          {"application/json", object("incomplete", reported), state(true, true)},
		"failed":              {"application/json", object("failed", `,"error":{"code":"server_error","message":"x"},"usage":null`), state(true, false)},
		"cancelled":           {"application/json", object("cancelled", ""), state(true, false)},
		"a list":              {"application/json", `{"object":"list","data":[` + object("completed", reported) + `]}`, proxy.Stored{}},
		"resumed":             {"text/event-stream", event("response.output_text.delta", `{}`) + event("response.completed", object("completed", reported)), state(true, true)},
		"resumed, incomplete": {"text/event-stream", event("response.incomplete", object("incomplete", reported)), state(true, true)},
	} {
		x := newFixture(operations.Responses, c.media, strings.NewReader(c.body))
		x.request.Operation, x.request.Method = *operations.ByName("response"), "GET"
		if d := x.deliver(); d.Stored != c.want || d.Usage != (usage.Tokens{}) {
			t.Errorf("%s: %+v and usage %+v, want %+v and none", name, d.Stored, d.Usage, c.want)
		}
	}
}
