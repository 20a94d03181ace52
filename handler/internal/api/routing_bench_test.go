package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
)

type discardObserver struct{}

func (discardObserver) RequestDone(*api.RequestRecord) {}

// BenchmarkChatCompletion is a request through the router and the middleware,
// with a forwarder that answers at once.
func BenchmarkChatCompletion(b *testing.B) {
	g := &gateway{}
	s := &api.Server{
		Forwarder: g, Models: g, Authenticator: g, Readiness: g, Relay: g, Observer: discardObserver{},
		Now: func() time.Time { return instant }, Rand: func() float64 { return 0 }, NewID: func() string { return "req-1" }, MaxBody: 1 << 20,
	}
	h := s.Handler()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), "POST", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", strings.NewReader(hello))
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
