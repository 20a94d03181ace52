package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/relay"
)

// gateway sends every request to one backend and relays its response.
type gateway struct {
	client *backend.Client
	relay  *relay.Relay
	ends   func(proxy.Delivery)
	bodies sync.Pool
}

func newGateway(t testing.TB, endpoint string) *gateway {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := backend.NewTransport(backend.TransportOptions{})
	t.Cleanup(transport.CloseIdleConnections)
	return &gateway{
		client: &backend.Client{RequestUsage: true, Targets: []*backend.Target{{Name: "b", Endpoint: u, Credential: backend.APIKey{Key: "k"}, Transport: transport}}},
		relay:  &relay.Relay{CommitAfter: 10 * time.Second, Heartbeat: 15 * time.Second},
		ends:   func(proxy.Delivery) {},
	}
}

func (f *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	held, _ := f.bodies.Get().(*bytes.Buffer)
	if held == nil {
		held = new(bytes.Buffer)
	}
	held.Reset()
	held.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	if _, err := held.ReadFrom(r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	body := held.Bytes()
	req := &proxy.Request{
		ID: "req-1", Operation: operations.Operation{Name: "chat", Path: "chat/completions", Dialect: operations.Chat}, Method: r.Method,
		Header: r.Header, Body: body, Query: "api-version=2024-10-21", Parsed: request.ParsedRequest{Stream: true},
	}
	defer func() {
		if req.ActiveWrites.Load() == 0 {
			f.bodies.Put(held)
		}
	}()
	ctx := r.Context()
	began := time.Now()
	b := &balancer.Backend{Name: "b", Deployment: "gpt-4o"}
	res, o := f.client.Send(ctx, b, req, nil)
	if res == nil {
		f.ends(proxy.Delivery{Outcome: o})
		http.Error(w, o.Reason, http.StatusBadGateway)
		return
	}
	d := f.relay.Open(w, req).Deliver(ctx, &proxy.BackendResponse{
		Backend: b, Response: res, Start: began, Cancel: func(error) { _ = res.Body.Close() }, Hooks: proxy.CommitHooks{MayStart: func() bool { return true }, MayCommit: func() bool { return true }, Committed: func() {}},
	})
	_ = res.Body.Close()
	f.ends(d)
	switch {
	case d.Broken:
		f.relay.Abort(ctx)
	case !d.Committed:
		http.Error(w, d.Outcome.Reason, http.StatusBadGateway)
	}
}

// serveScripted lets script answer the first request of every connection.
func serveScripted(t testing.TB, script func(conn net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				r := bufio.NewReader(conn)
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				script(conn, r)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func chunk(s string) string {
	const hex = "0123456789abcdef"
	n, size := len(s), ""
	for ; n > 0; n /= 16 {
		size = string(hex[n%16]) + size
	}
	return size + "\r\n" + s + "\r\n"
}

func post(t testing.TB, at string) *http.Response {
	t.Helper()
	res, err := http.Post(at, "application/json", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestBrokenStreamEndsWithErrorEventAndAbort(t *testing.T) {
	for name, end := range map[string]func(net.Conn){
		"reset": func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
		"cut":   func(c net.Conn) { _ = c.Close() },
		"end":   func(c net.Conn) { _, _ = io.WriteString(c, "0\r\n\r\n") },
		"noise": func(c net.Conn) { _, _ = io.WriteString(c, "not a chunk\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			read := make(chan struct{})
			at := serveScripted(t, func(conn net.Conn, _ *bufio.Reader) {
				_, _ = io.WriteString(conn, streamHead+chunk(role)+chunk(content))
				<-read // a reset discards what was not read yet
				end(conn)
			})
			s := httptest.NewServer(newGateway(t, at))
			defer s.Close()
			res := post(t, s.URL)
			got := make([]byte, len(role+content))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != role+content {
				t.Fatalf("%q, %v", got, err)
			}
			close(read)
			rest, err := io.ReadAll(res.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the connection ended with %v after %q, want an abort", err, rest)
			}
			if !strings.HasPrefix(string(rest), `data: {"error":{`) || !strings.HasSuffix(string(rest), "\n\n") {
				t.Errorf("the caller got %q", rest)
			}
		})
	}
}

func TestCompleteStreamKeepsBackendConnection(t *testing.T) {
	conns := make(chan net.Conn, 8)
	at := serveScripted(t, func(conn net.Conn, r *bufio.Reader) {
		conns <- conn
		for {
			_, _ = io.WriteString(conn, streamHead+chunk(role)+chunk(stop)+chunk(done)+"0\r\n\r\n")
			if req, err := http.ReadRequest(r); err != nil {
				return
			} else if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
		}
	})
	s := httptest.NewServer(newGateway(t, at))
	defer s.Close()
	for range 5 {
		res := post(t, s.URL)
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != role+stop+done {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if len(conns) != 1 {
		t.Errorf("%d connections for 5 streams", len(conns))
	}
}

func TestCallerDisconnectCancelsBackendRequest(t *testing.T) {
	closed := make(chan struct{})
	at := serveScripted(t, func(conn net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(conn, streamHead+chunk(role))
		_, _ = r.ReadByte()
		close(closed)
	})
	f := newGateway(t, at)
	ended := make(chan proxy.Delivery, 1)
	f.ends = func(d proxy.Delivery) { ended <- d }
	s := httptest.NewServer(f)
	defer s.Close()
	res := post(t, s.URL)
	if _, err := io.ReadFull(res.Body, make([]byte, len(role))); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	<-closed
	if d := <-ended; d.Outcome.Class.String() != "abandoned" {
		t.Errorf("delivery %+v", d)
	}
}

// A process that stops cancels its requests while their callers are connected.
func TestStreamEndsWithErrorEventWhenProcessStops(t *testing.T) {
	at := serveScripted(t, func(conn net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(conn, streamHead+chunk(role))
		_, _ = r.ReadByte()
	})
	life, end := context.WithCancel(context.Background())
	s := httptest.NewUnstartedServer(newGateway(t, at))
	s.Config.BaseContext = func(net.Listener) context.Context { return life }
	s.Start()
	defer s.Close()
	res := post(t, s.URL)
	if _, err := io.ReadFull(res.Body, make([]byte, len(role))); err != nil {
		t.Fatal(err)
	}
	end()
	rest, err := io.ReadAll(res.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(string(rest), `data: {"error":{`) {
		t.Errorf("the caller got %q, %v", rest, err)
	}
}

func TestStalledCallerIsCutOff(t *testing.T) {
	at := serveScripted(t, func(conn net.Conn, _ *bufio.Reader) {
		_, _ = io.WriteString(conn, streamHead)
		big := chunk(strings.Replace(content, "Hi", strings.Repeat("x", 64<<10), 1))
		for {
			if _, err := io.WriteString(conn, big); err != nil {
				return
			}
		}
	})
	f := newGateway(t, at)
	f.relay.WriteTimeout, f.relay.Heartbeat = 50*time.Millisecond, 20*time.Millisecond
	ended := make(chan proxy.Delivery, 1)
	f.ends = func(d proxy.Delivery) { ended <- d }
	s := httptest.NewServer(f)
	defer s.Close()
	post(t, s.URL)
	if d := <-ended; d.Outcome.Class.String() != "abandoned" || !d.Broken {
		t.Errorf("delivery %+v", d)
	}
}
