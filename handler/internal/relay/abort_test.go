package relay_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/relay"
)

// abort runs Abort and returns how long it took.
func abort(ctx context.Context, t *testing.T, r *relay.Relay) (took time.Duration) {
	t.Helper()
	began := time.Now()
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("Abort panicked with %v, want http.ErrAbortHandler", err)
		}
		took = time.Since(began)
	}()
	r.Abort(ctx)
	return 0
}

func TestAbortFollowsTheLastByteAfterADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if took := abort(t.Context(), t, new(relay.Relay)); took < 100*time.Millisecond || took > 200*time.Millisecond {
			t.Errorf("aborted after %v, want 100 to 200 ms", took)
		}
		if took := abort(t.Context(), t, &relay.Relay{AbortDelay: -1}); took != 0 {
			t.Errorf("aborted after %v without a delay", took)
		}
	})
}

func TestAbortDelayEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if took := abort(ctx, t, new(relay.Relay)); took != 30*time.Millisecond {
			t.Errorf("aborted after %v, want when the context ended, 30 ms", took)
		}
		if took := abort(ctx, t, new(relay.Relay)); took != 0 {
			t.Errorf("aborted after %v, want at once: the context has ended", took)
		}
	})
}

// The delay is an hour, so the error event can only arrive before the abort,
// and the handler can only end because the caller left or the process stopped.
func TestErrorEventArrivesBeforeTheAbort(t *testing.T) {
	for _, end := range []string{"caller leaves", "process stops"} {
		t.Run(end, func(t *testing.T) {
			at := serveScripted(t, func(conn net.Conn, _ *bufio.Reader) {
				_, _ = io.WriteString(conn, streamHead+chunk(role))
			})
			g := newGateway(t, at)
			g.relay.AbortDelay = time.Hour
			ended := make(chan struct{})
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				g.ServeHTTP(w, r)
			}))
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
			s.Start()
			defer s.Close()
			res := post(t, s.URL)
			body := bufio.NewReader(res.Body)
			if _, err := io.ReadFull(body, make([]byte, len(role))); err != nil {
				t.Fatal(err)
			}
			event, err := body.ReadString('\n')
			if err != nil || !strings.HasPrefix(event, `data: {"error":{`) {
				t.Fatalf("the caller got %q, %v, want an error event", event, err)
			}
			if end == "process stops" {
				stop()
			} else {
				_ = res.Body.Close()
			}
			<-ended
		})
	}
}
