package backend_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

var (
	chat      = operations.Operation{Name: "chat", Path: "chat/completions", Dialect: operations.Chat}
	responses = operations.Operation{Name: "responses", Path: "responses", Dialect: operations.Responses, State: operations.Stateful}
)

const requestBody = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`

// newRequest is a request as package api builds it.
func newRequest() *proxy.Request {
	return &proxy.Request{
		ID: "req-1", Operation: chat, Family: operations.Deployments, Method: http.MethodPost, Query: "api-version=2024-10-21",
		Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(requestBody), Model: "gpt-4o",
	}
}

func newBackend() *balancer.Backend { return &balancer.Backend{Name: "b", Deployment: "gpt-4o-ptu"} }

// newClient has one target with a key.
func newClient(t testing.TB, endpoint string) *backend.Client {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := &backend.Client{Targets: []*backend.Target{{Name: "b", Endpoint: u, Credential: backend.APIKey{Key: "secret"}}}}
	connect(t, c.Targets[0], backend.TransportOptions{})
	return c
}

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // where net/http reports unsolicited responses
	os.Exit(m.Run())
}

// connect gives the target its connections.
func connect(t testing.TB, target *backend.Target, o backend.TransportOptions) {
	t.Helper()
	target.Transport = backend.NewTransport(o)
	t.Cleanup(target.Transport.CloseIdleConnections)
}

// receivedRequest is a request as a backend received it.
type receivedRequest struct {
	uri    string
	header http.Header
	body   string
	length int64
	host   string
}

// recordingServer is a backend that records requests and answers 200 {}.
func recordingServer(t testing.TB) (*backend.Client, func() receivedRequest) {
	t.Helper()
	got := make(chan receivedRequest, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- receivedRequest{uri: r.RequestURI, header: r.Header, body: string(body), length: r.ContentLength, host: r.Host}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	return newClient(t, s.URL), func() receivedRequest { return <-got }
}

// rawServer is a backend on TCP: script gets each connection with its number.
func rawServer(t testing.TB, script func(conn net.Conn, r *bufio.Reader, n int)) *backend.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	conns.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				script(conn, bufio.NewReader(conn), n)
			})
		}
	})
	return newClient(t, "http://"+l.Addr().String())
}

// readRequest reads one request with its body.
func readRequest(r *bufio.Reader) (string, error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(req.Body)
	return string(body), err
}

func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// send makes one attempt; the end of the test closes its response.
func send(t testing.TB, c *backend.Client, b *balancer.Backend, r *proxy.Request) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	res, o := c.Send(ctx, b, r, nil)
	if res != nil {
		t.Cleanup(func() { _ = res.Body.Close() })
	}
	return res, strings.TrimSpace(o.Class.String() + " " + o.Reason)
}
