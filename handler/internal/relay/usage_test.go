package relay_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
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
