package backend_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

func TestBytesOfTheBodyPassUnchanged(t *testing.T) {
	client, saw := recordingServer(t)
	for _, body := range []string{requestBody, "", strings.Repeat("x", 1<<20)} {
		r := newRequest()
		r.Body = []byte(body)
		res, said := send(t, client, newBackend(), r)
		if res == nil {
			t.Fatal(said)
		}
		if got := saw(); got.body != body || got.length != int64(len(body)) {
			t.Errorf("%d bytes came as %d, length %d", len(body), len(got.body), got.length)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if n := r.ActiveWrites.Load(); n != 0 {
			t.Errorf("%d transports are said to be writing after the end", n)
		}
	}
}

func TestHeadersAndBodyLeaveInOneWrite(t *testing.T) {
	first := make(chan int, 1)
	client := rawServer(t, func(conn net.Conn, _ *bufio.Reader, _ int) {
		b := make([]byte, 64<<10)
		n, _ := conn.Read(b)
		if !strings.HasSuffix(string(b[:n]), requestBody) {
			n = 0
		}
		first <- n
		_, _ = io.WriteString(conn, ok)
	})
	if res, said := send(t, client, newBackend(), newRequest()); res == nil {
		t.Fatal(said)
	}
	if <-first == 0 {
		t.Error("the body came behind the headers")
	}
}

func TestWhatCanGoWrongOnTheWireIsNamed(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	says := func(answer string, end func(net.Conn)) *backend.Client {
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
		"reset before headers":  {says("", reset), "failed reset"},
		"closed before headers": {says("", shut), "failed eof"},
		"reset in headers":      {says("HTTP/1.1 200 OK\r\nContent-Type: te", reset), "failed eof"},
		"closed in headers":     {says("HTTP/1.1 200 OK\r\nContent-Type: te", shut), "failed eof"},
		"not HTTP":              {says("SSH-2.0-OpenSSH_9.6\r\n\r\n", shut), "failed protocol"},
		"status out of range":   {says("HTTP/1.1 99999 What\r\n\r\n", shut), "failed protocol"},
		"headers without end":   {says("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 80<<10)+"\r\n\r\n", shut), "failed headers too large"},
		"unknown authority":     {newClient(t, untrusted.URL), "failed tls"},
		"no TLS there":          {newClient(t, strings.Replace(plain.URL, "http:", "https:", 1)), "failed tls"},
	} {
		t.Run(name, func(t *testing.T) {
			if res, said := send(t, c.client, newBackend(), newRequest()); res != nil || said != c.want {
				t.Errorf("%q, want %q", said, c.want)
			}
		})
	}
}

func TestKeptConnectionThatTurnsOutClosedIsNoFailure(t *testing.T) {
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
						end(conn) // it had been about to, when the request came
						return
					}
					_, _ = io.WriteString(conn, ok)
				}
			})
			for range 3 {
				res, said := send(t, client, newBackend(), newRequest())
				if res == nil {
					t.Fatal(said)
				}
				_, _ = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if n := requests.Load(); n != 4 {
				t.Errorf("the backend saw %d requests, want 4", n)
			}
		})
	}
}

// One repeat is for the race; more would be an attack on a backend that breaks
// every connection it has. On the target's own connections it is on a new one;
// a transport may have another kept one for it.
func TestBackendThatClosesEveryKeptConnectionIsCalledTwiceAtMost(t *testing.T) {
	var requests atomic.Int32
	arrived, answer := make(chan bool, 8), make(chan bool)
	client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
		if _, err := readRequest(r); err != nil {
			return
		}
		arrived <- true
		<-answer
		_, _ = io.WriteString(conn, ok)
		if _, err := readRequest(r); err == nil {
			requests.Add(1)
		}
		reset(conn)
	})
	finished := make(chan bool, 8)
	for range 8 {
		go func() {
			res, _ := client.Send(context.Background(), newBackend(), newRequest(), nil)
			if res != nil {
				_, _ = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			finished <- true
		}()
	}
	for range 8 {
		<-arrived
	}
	close(answer)
	for range 8 {
		<-finished
	}
	says, kept := "served", int32(1)
	if byTransport {
		says, kept = "failed reset", 2
	}
	if _, said := send(t, client, newBackend(), newRequest()); said != says {
		t.Errorf("said %q, want %q", said, says)
	}
	if n := requests.Load(); n != kept {
		t.Errorf("%d requests on kept connections, want %d", n, kept)
	}
}

func TestWhatWouldBeMadeTwiceIsNotRepeated(t *testing.T) {
	client := rawServer(t, func(conn net.Conn, r *bufio.Reader, n int) {
		_, _ = readRequest(r)
		_, _ = io.WriteString(conn, ok)
		_, _ = readRequest(r)
	})
	r := newRequest()
	r.Operation = files
	res, said := send(t, client, newBackend(), r)
	if res == nil {
		t.Fatal(said)
	}
	_, _ = io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res, said := send(t, client, newBackend(), r); res != nil || said != "failed eof" {
		t.Errorf("an upload was repeated: %s", said)
	}
}

func TestLimitsOfAnAttempt(t *testing.T) {
	client := rawServer(t, func(_ net.Conn, r *bufio.Reader, _ int) {
		_, _ = readRequest(r)
		_, _ = r.ReadByte()
	})
	client.Timeouts = backend.Timeouts{Response: 20 * time.Millisecond, FirstToken: 30 * time.Millisecond, FirstTokenByModel: map[string]time.Duration{"gpt-5": 40 * time.Millisecond}}
	stream, own := newRequest(), newRequest()
	stream.Parsed.Stream, own.Parsed.Stream, own.Model = true, true, "gpt-5"
	for want, r := range map[string]struct {
		limit time.Duration
		r     string
	}{"failed response timeout": {20 * time.Millisecond, "plain"}, "failed first token timeout": {30 * time.Millisecond, "stream"}} {
		req := newRequest()
		if r.r == "stream" {
			req = stream
		}
		began := time.Now()
		if _, said := send(t, client, newBackend(), req); said != want || time.Since(began) < r.limit {
			t.Errorf("%q after %s, want %q", said, time.Since(began), want)
		}
	}
	began := time.Now()
	if _, said := send(t, client, newBackend(), own); said != "failed first token timeout" || time.Since(began) < 40*time.Millisecond {
		t.Errorf("%q after %s", said, time.Since(began))
	}
}

func TestCallerWhoLeavesIsSeenByTheBackendAtOnce(t *testing.T) {
	for name, answer := range map[string]string{
		"ahead of the answer": "",
		"in the answer":       "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			asked, gone := make(chan bool), make(chan time.Time, 1)
			client := rawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
				_, _ = readRequest(r)
				_, _ = io.WriteString(conn, answer)
				close(asked)
				_, _ = r.ReadByte()
				gone <- time.Now()
			})
			ctx, leave := context.WithCancel(context.Background())
			defer leave()
			var left time.Time
			go func() {
				<-asked
				if answer == "" {
					left = time.Now()
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
				left = time.Now()
				leave()
				if _, err := io.ReadAll(res.Body); err == nil {
					t.Error("the answer ended as if it were whole")
				}
				_ = res.Body.Close()
			}
			if took := (<-gone).Sub(left); took > 100*time.Millisecond {
				t.Errorf("the backend saw it after %s", took)
			}
		})
	}
}

func TestAttemptGivenUpByUsIsNotTheBackendsFault(t *testing.T) {
	client := rawServer(t, func(_ net.Conn, r *bufio.Reader, _ int) { _, _ = readRequest(r); _, _ = r.ReadByte() })
	for cause, want := range map[error]string{context.DeadlineExceeded: "caller's deadline", errors.New("another won"): "given up"} {
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
		if _, o := client.Send(ctx, newBackend(), newRequest(), nil); o.Class != health.Abandoned || o.Reason != want {
			t.Errorf("%v: %+v", cause, o)
		}
	}
}

func TestProbeThatLostItsLeaseSendsNothing(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("kept connection %v", kept), func(t *testing.T) {
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
			want := int32(0)
			if kept {
				res, said := send(t, client, newBackend(), newRequest())
				if res == nil {
					t.Fatal(said)
				}
				_, _ = io.ReadAll(res.Body)
				_ = res.Body.Close()
				want = 1
			}
			lost := errors.New("the lease is gone")
			r := newRequest()
			res, o := client.Send(context.Background(), newBackend(), r, func() error { return lost })
			if res != nil || o.Class != health.Abandoned || o.Reason != "probe lost" || r.ActiveWrites.Load() != 0 {
				t.Errorf("%v %+v, %d writing", res, o, r.ActiveWrites.Load())
			}
			if n := requests.Load(); n != want {
				t.Errorf("the backend saw %d requests, want %d", n, want)
			}
		})
	}
}

func TestProbeIsAskedForOncePerConnectionTaken(t *testing.T) {
	client, saw := recordingServer(t)
	asks := 0
	for range 2 {
		res, o := client.Send(context.Background(), newBackend(), newRequest(), func() error { asks++; return nil })
		if res == nil {
			t.Fatal(o.Reason)
		}
		saw()
		_, _ = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	if asks != 2 {
		t.Errorf("asked %d times for 2 attempts", asks)
	}
}

func TestKeptConnectionKeepsNoRequest(t *testing.T) {
	client, saw := recordingServer(t)
	collected := make(chan bool)
	func() {
		r := newRequest()
		runtime.AddCleanup(r, func(c chan bool) { close(c) }, collected)
		res, o := client.Send(context.Background(), newBackend(), r, func() error { return nil })
		if res == nil {
			t.Fatal(o.Reason)
		}
		saw()
		_, _ = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}()
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the request is still held")
}

// The limit of one attempt must not end the next one on the same connection.
func TestLateLimitSparesTheConnectionsNextRequest(t *testing.T) {
	client, saw := recordingServer(t)
	client.Timeouts.Response = 30 * time.Millisecond
	for range 40 {
		res, said := send(t, client, newBackend(), newRequest())
		if res == nil {
			t.Fatal(said)
		}
		saw()
		time.Sleep(time.Millisecond) // past the limit of the first ones
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}

func TestEarlyAnswerLeavesTheBodyInUseUntilItsWriteIsOver(t *testing.T) {
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
	deadline := time.Now().Add(5 * time.Second)
	for r.ActiveWrites.Load() != 0 {
		if time.Now().After(deadline) {
			t.Fatal("the transport never let go of the body")
		}
		time.Sleep(time.Millisecond) // nothing tells when a transport lets go
	}
	close(release)
}
