package backend_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

func TestIdleConnectionThatIsClosedOnUseIsNoFailure(t *testing.T) {
	for name, end := range map[string]func(net.Conn){"closed": func(c net.Conn) { _ = c.Close() }, "reset": reset} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			client := rawServer(t, func(conn net.Conn, r *bufio.Reader, n int) {
				for i := 0; ; i++ {
					if _, err := readRequest(r); err != nil {
						return
					}
					requests.Add(1)
					if n == 0 && i == 1 {
						end(conn)
						return
					}
					_, _ = io.WriteString(conn, ok)
				}
			})
			for i := range 3 {
				res, outcome := client.Send(t.Context(), newBackend(), newRequest(), nil)
				if outcome.Resent != (i == 1) {
					t.Errorf("request %d: %+v", i, outcome)
				}
				readAll(t, res, outcome.Class.String())
			}
			if n := requests.Load(); n != 4 {
				t.Errorf("the backend received %d requests, want 4", n)
			}
		})
	}
}

func TestRequestIsSentAgainOnceAndOnANewConnection(t *testing.T) {
	var reused atomic.Int32
	arrived, answer := make(chan bool, 16), make(chan bool)
	client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
		if _, err := readRequest(r); err != nil {
			return
		}
		arrived <- true
		<-answer
		_, _ = io.WriteString(conn, ok)
		if _, err := readRequest(r); err == nil {
			reused.Add(1)
		}
		reset(conn)
	})
	idleConns(t, client, 8, arrived, answer)
	if _, outcome := send(t, client, newBackend(), newRequest()); outcome != "served" {
		t.Errorf("outcome %q", outcome)
	}
	if n := reused.Load(); n != 1 {
		t.Errorf("%d requests on reused connections, want 1", n)
	}
}

func TestWhatActsIsNotSentTwice(t *testing.T) {
	for name, change := range map[string]func(r *proxy.Request){
		"a file": func(r *proxy.Request) {
			r.Operation = operations.Operation{Name: "files", Path: "files", State: operations.Pinned}
		},
		"a response in the background": func(r *proxy.Request) { r.Operation, r.Parsed.Background = *operations.ByName("responses"), true },
		"a tool that acts": func(r *proxy.Request) {
			r.Operation, r.Body = *operations.ByName("responses"), []byte(`{"tools":[{"type":"mcp"}]}`)
		},
		"a deletion": func(r *proxy.Request) { r.Operation, r.Method = *operations.ByName("response"), http.MethodDelete },
	} {
		client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
			_, _ = readRequest(r)
			_, _ = io.WriteString(conn, ok)
			_, _ = readRequest(r)
		})
		r := newRequest()
		change(r)
		res, outcome := send(t, client, newBackend(), r)
		readAll(t, res, outcome)
		if res, outcome := send(t, client, newBackend(), r); res != nil || outcome != "failed eof" {
			t.Errorf("%s: outcome %q, want a failure", name, outcome)
		}
	}
}

// Thirty idle connections that answer nothing must not keep a backend out of
// service whose new connections work.
func TestSpentRequestOnAReusedConnectionDropsTheIdleOnes(t *testing.T) {
	for _, cause := range []error{context.DeadlineExceeded, fmt.Errorf("no first byte: %w", context.DeadlineExceeded)} {
		arrived, answer, silent := make(chan bool, 64), make(chan bool), make(chan bool)
		client := rawServer(t, func(conn net.Conn, r *bufio.Reader, n int) {
			for i := 0; ; i++ {
				if _, err := readRequest(r); err != nil {
					return
				}
				if n < 4 && i > 0 {
					silent <- true
					continue
				}
				arrived <- true
				<-answer
				_, _ = io.WriteString(conn, ok)
			}
		})
		idleConns(t, client, 4, arrived, answer)
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() { <-silent; cancel(cause) }()
		if _, o := client.Send(ctx, newBackend(), newRequest(), nil); o.Class != health.Abandoned {
			t.Fatalf("outcome %+v", o)
		}
		res, outcome := send(t, client, newBackend(), newRequest())
		readAll(t, res, outcome)
	}
}

func TestProbeIsSentOnANewConnection(t *testing.T) {
	conns := make(chan int, 8)
	client := rawServer(t, func(conn net.Conn, r *bufio.Reader, n int) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			conns <- n
			_, _ = io.WriteString(conn, ok)
		}
	})
	var on []int
	for _, beforeSend := range []func() error{nil, nil, func() error { return nil }, nil} {
		res, o := client.Send(context.Background(), newBackend(), newRequest(), beforeSend)
		readAll(t, res, o.Reason)
		on = append(on, <-conns)
	}
	if want := []int{0, 0, 1, 1}; fmt.Sprint(on) != fmt.Sprint(want) {
		t.Errorf("requests on connections %v, want %v", on, want)
	}
}
