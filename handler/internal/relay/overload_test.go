package relay_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/overload"
)

// What is held of an answer counts, and is given back. An answer for which there is no
// memory ends the request, unless its caller has a part of it: another backend's would
// need as much. It is no failure of the backend.
func TestHeldAnswersCount(t *testing.T) {
	preamble := strings.Repeat(": keep-alive\n\n", 1<<20)
	long := `data: {"id":"c1","choices":[{"index":0,"delta":{"content":"` + strings.Repeat("a", 8<<20) + `"},"finish_reason":null}]}` + "\n\n"
	plain := `{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"` + strings.Repeat("a", 8<<20) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`
	for name, c := range map[string]struct {
		media, body string
		stream      bool
		committed   bool
	}{
		"preamble":           {"text/event-stream", preamble + content + stop + done, true, false},
		"first event":        {"text/event-stream", long + stop + done, true, false},
		"a later event":      {"text/event-stream", content + long + stop + done, true, true},
		"to become a stream": {"application/json", plain, true, false},
	} {
		for limit, enough := range map[int64]bool{2 << 20: false, 80 << 20: true} {
			x := newFixture(operations.Chat, c.media, io.NopCloser(strings.NewReader(c.body)))
			x.request.Operation, x.request.Parsed = *operations.ByName("chat"), request.ParsedRequest{Stream: c.stream}
			b := &overload.Budget{Limit: limit}
			x.request.Memory = new(overload.Memory)
			if err := b.Open(x.request.Memory, "a"); err != nil {
				t.Fatal(err)
			}
			var cause error
			x.request.Cancel = func(err error) { cause = err }
			d := x.deliver()
			if b.Used() != overload.RequestSize {
				t.Errorf("%s of %d: %d bytes are held afterwards", name, limit, b.Used()-overload.RequestSize)
			}
			if enough {
				if !d.Committed || d.Broken || d.Outcome.Class != health.Served || cause != nil {
					t.Errorf("%s, with memory: %+v, %v", name, d, cause)
				}
				continue
			}
			if d.Committed != c.committed || d.Broken != c.committed || d.Outcome.Class != health.Abandoned || errors.Is(cause, overload.ErrOverloaded) == c.committed {
				t.Errorf("%s, without memory: committed %v, broken %v, %+v, %v", name, d.Committed, d.Broken, d.Outcome, cause)
			}
			if c.committed && !strings.Contains(x.caller.all(), `"overloaded"`) {
				t.Errorf("%s: the caller is not told why it broke off", name)
			}
		}
	}
}
