package relay_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
)

// BenchmarkEvent is what one event of a stream costs besides the system calls.
func BenchmarkEvent(b *testing.B) {
	event := strings.Replace(truncatedHeader, "Hi", strings.Repeat("word ", 40), 1)
	left := b.N
	x := newExchange(operations.Chat, "text/event-stream", nil)
	x.answer.Response.Body = io.NopCloser(reading(func(p []byte) (int, error) {
		if left == 0 {
			return 0, io.EOF
		}
		left--
		return copy(p, event), nil
	}))
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	b.ResetTimer()
	x.relay.Deliver(x.ctx, nowhere{http.Header{}}, x.request, x.answer)
}

type reading func(p []byte) (int, error)

func (r reading) Read(p []byte) (int, error) { return r(p) }

// nowhere is a caller that takes everything.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Flush()                      {}
