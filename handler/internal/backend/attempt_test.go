package backend_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/health"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

// readAll reads a response that must be there to its end.
func readAll(t testing.TB, res *http.Response, outcome string) string {
	t.Helper()
	if res == nil {
		t.Fatalf("no response: %s", outcome)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestBodyIsSentUnchanged(t *testing.T) {
	client, received := recordingServer(t)
	for _, body := range []string{requestBody, "", strings.Repeat("x", 1<<20)} {
		r := newRequest()
		r.Body = []byte(body)
		res, outcome := send(t, client, newBackend(), r)
		if got := received(); got.body != body || got.length != int64(len(body)) {
			t.Errorf("%d bytes arrived as %d with length %d", len(body), len(got.body), got.length)
		}
		readAll(t, res, outcome)
		if n := r.ActiveWrites.Load(); n != 0 {
			t.Errorf("%d active writes after the end", n)
		}
	}
}

func TestHeadersAndBodyLeaveInOneWrite(t *testing.T) {
	first := make(chan string, 1)
	client := rawServer(t, func(conn net.Conn, _ *bufio.Reader, _ int) {
		b := make([]byte, 64<<10)
		n, _ := conn.Read(b)
		first <- string(b[:n])
		_, _ = io.WriteString(conn, ok)
	})
	if res, outcome := send(t, client, newBackend(), newRequest()); res == nil {
		t.Fatal(outcome)
	}
	if got := <-first; !strings.HasSuffix(got, requestBody) {
		t.Errorf("the first read is %q, without the body", got)
	}
}

func TestTransportErrorKinds(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	answers := func(answer string, end func(net.Conn)) *backend.Client {
		return rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
			_, _ = readRequest(r)
			_, _ = io.WriteString(conn, answer)
			end(conn)
		})
	}
	shut := func(conn net.Conn) { _ = conn.Close() }
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(untrusted.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct {
		client *backend.Client
		want   string
	}{
		"nobody listens":        {newClient(t, "http://"+closed.Addr().String()), "failed refused"},
		"no such name":          {newClient(t, "http://nowhere.invalid"), "failed dns"},
		"reset before headers":  {answers("", reset), "failed connection reset"},
		"closed before headers": {answers("", shut), "failed eof"},
		"reset in headers":      {answers("HTTP/1.1 200 OK\r\nContent-Type: te", reset), "failed eof"},
		"closed in headers":     {answers("HTTP/1.1 200 OK\r\nContent-Type: te", shut), "failed eof"},
		"not HTTP":              {answers("SSH-2.0-OpenSSH_9.6\r\n\r\n", shut), "failed protocol"},
		"status out of range":   {answers("HTTP/1.1 99999 What\r\n\r\n", shut), "failed protocol"},
		"headers without end":   {answers("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 80<<10)+"\r\n\r\n", shut), "failed headers too large"},
		"unknown authority":     {newClient(t, untrusted.URL), "failed tls"},
		"no TLS there":          {newClient(t, strings.Replace(plain.URL, "http:", "https:", 1)), "failed tls"},
	} {
		t.Run(name, func(t *testing.T) {
			if res, outcome := send(t, c.client, newBackend(), newRequest()); res != nil || outcome != c.want {
				t.Errorf("%q, want %q", outcome, c.want)
			}
		})
	}
}

// idleConns makes n connections idle at once: requests that are all answered
// when the last one has arrived.
func idleConns(t *testing.T, client *backend.Client, n int, arrived <-chan bool, answer chan bool) {
	t.Helper()
	finished := make(chan string, n)
	for range n {
		go func() {
			res, o := client.Send(context.Background(), newBackend(), newRequest(), nil)
			if res != nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			finished <- o.Reason
		}()
	}
	for range n {
		<-arrived
	}
	close(answer)
	for range n {
		<-finished
	}
}

func TestCallerWhoLeavesEndsTheConnection(t *testing.T) {
	for name, answer := range map[string]string{
		"before the response": "",
		"in the response":     "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			answered, ended := make(chan bool), make(chan bool)
			client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
				_, _ = readRequest(r)
				_, _ = io.WriteString(conn, answer)
				close(answered)
				_, _ = r.ReadByte()
				close(ended)
			})
			ctx, leave := context.WithCancel(context.Background())
			defer leave()
			go func() {
				<-answered
				if answer == "" {
					leave()
				}
			}()
			res, o := client.Send(ctx, newBackend(), newRequest(), nil)
			if answer == "" && (res != nil || o.Class != health.Abandoned || o.Reason != "caller left") {
				t.Fatalf("%v %+v", res, o)
			}
			if answer != "" {
				if res == nil {
					t.Fatal(o.Reason)
				}
				leave()
				if _, err := io.ReadAll(res.Body); err == nil {
					t.Error("the body ended without an error")
				}
				_ = res.Body.Close()
			}
			<-ended
		})
	}
}

func TestCancelledAttemptIsAbandoned(t *testing.T) {
	arrived := make(chan bool)
	client := rawServer(t, func(_ net.Conn, r *bufio.Reader, _ int) {
		_, _ = readRequest(r)
		arrived <- true
		_, _ = r.ReadByte()
	})
	for cause, want := range map[error]string{context.DeadlineExceeded: "caller's deadline", errors.New("another attempt won"): "given up"} {
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() { <-arrived; cancel(cause) }()
		if _, o := client.Send(ctx, newBackend(), newRequest(), nil); o.Class != health.Abandoned || o.Reason != want {
			t.Errorf("%v: %+v", cause, o)
		}
	}
}

func TestProbeWithoutItsLeaseSendsNothing(t *testing.T) {
	var requests atomic.Int32
	client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			requests.Add(1)
			_, _ = io.WriteString(conn, ok)
		}
	})
	r := newRequest()
	res, o := client.Send(context.Background(), newBackend(), r, func() error { return errors.New("the lease ended") })
	if res != nil || o.Class != health.Abandoned || o.Reason != "probe lost" || r.ActiveWrites.Load() != 0 {
		t.Errorf("%v %+v, %d active writes", res, o, r.ActiveWrites.Load())
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the backend received %d requests", n)
	}
}

func TestBeforeSendIsCalledOncePerConnection(t *testing.T) {
	client, received := recordingServer(t)
	calls := 0
	for range 2 {
		res, o := client.Send(context.Background(), newBackend(), newRequest(), func() error { calls++; return nil })
		received()
		readAll(t, res, o.Reason)
	}
	if calls != 2 {
		t.Errorf("%d calls for 2 attempts", calls)
	}
}

func TestIdleConnectionKeepsNoRequestInMemory(t *testing.T) {
	client, received := recordingServer(t)
	collected := make(chan bool)
	func() {
		r := newRequest()
		runtime.AddCleanup(r, func(c chan bool) { close(c) }, collected)
		res, o := client.Send(context.Background(), newBackend(), r, func() error { return nil })
		received()
		readAll(t, res, o.Reason)
	}()
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the request is still in memory")
}

func TestBodyIsInUseUntilItsWriteEnds(t *testing.T) {
	release := make(chan bool)
	client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
		<-release // the body is not read
	})
	r := newRequest()
	r.Body = make([]byte, 32<<20)
	_, o := client.Send(context.Background(), newBackend(), r, nil)
	if o.Class != health.Throttled {
		t.Errorf("outcome %+v", o)
	}
	for deadline := time.Now().Add(time.Minute); r.ActiveWrites.Load() != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the write of the body never ends")
		}
		time.Sleep(time.Millisecond) // net/http has no event for it
	}
	close(release)
}
