package http1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

// backend runs a script for each connection, with its number.
func backend(t testing.TB, script func(conn net.Conn, in *bufio.Reader, n int)) *Origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	o := &Origin{Address: l.Addr().String(), Dial: new(net.Dialer).DialContext}
	t.Cleanup(func() { o.CloseIdleConnections(); _ = l.Close(); conns.Wait() })
	conns.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				script(conn, bufio.NewReader(conn), n)
			})
		}
	})
	return o
}

func post(body string) *Message {
	return &Message{Method: http.MethodPost, URI: "/chat?a=b", Host: "backend", Header: http.Header{"X-Id": {"1"}}, Body: []byte(body), Length: int64(len(body))}
}

// swallow reads one request.
func swallow(in *bufio.Reader) error {
	r, err := http.ReadRequest(in)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return err
}

// talk makes one whole exchange.
func talk(o *Origin, m *Message) (string, *Exchange, error) {
	e := new(Exchange)
	res, err := e.Do(context.Background(), o, m, false)
	if err != nil {
		return "", e, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return string(answer), e, err
}

func mustTalk(t *testing.T, o *Origin) *Exchange {
	t.Helper()
	answer, e, err := talk(o, post("{}"))
	if err != nil || answer != "{}" {
		t.Fatalf("%q, %v", answer, err)
	}
	return e
}

// silently waits until the backend's end of a kept connection shows.
func silently(t *testing.T, o *Origin, closed <-chan bool) {
	t.Helper()
	<-closed
	for deadline := time.Now().Add(5 * time.Second); ; {
		o.mu.Lock()
		o.kept[len(o.kept)-1].since = time.Time{} // long ago
		alive := o.kept[len(o.kept)-1].alive()
		o.mu.Unlock()
		if !alive {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a closed connection looks alive")
		}
	}
}

func TestConnectionIsKeptForTheNextExchange(t *testing.T) {
	var conns atomic.Int32
	o := backend(t, func(conn net.Conn, in *bufio.Reader, n int) {
		conns.Add(1)
		for swallow(in) == nil {
			_, _ = io.WriteString(conn, ok)
		}
	})
	for i := range 5 {
		if e := mustTalk(t, o); e.Reused != (i > 0) {
			t.Errorf("exchange %d: reused %v", i, e.Reused)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for 5 exchanges", conns.Load())
	}
}

func TestConnectionThatIsNoLongerGoodIsNotUsed(t *testing.T) {
	for name, end := range map[string]func(net.Conn){
		"closed":          func(c net.Conn) { _ = c.Close() },
		"reset":           func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
		"answers unasked": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			over, done := make(chan bool), make(chan bool)
			o := backend(t, func(conn net.Conn, in *bufio.Reader, n int) {
				_ = swallow(in)
				_, _ = io.WriteString(conn, ok)
				if n == 0 {
					<-done
					end(conn)
					close(over)
					_ = swallow(in)
				}
			})
			mustTalk(t, o)
			close(done)
			silently(t, o, over)
			if e := mustTalk(t, o); e.Reused {
				t.Error("it was used")
			}
		})
	}
}

// What is left on a connection behind an answer must not become the next one.
func TestAnswersThatEndOddlyEndTheConnection(t *testing.T) {
	for name, answer := range map[string]string{
		"more than it said":  ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"close":              "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
		"until the end":      "HTTP/1.1 200 OK\r\n\r\n{}",
		"of an old protocol": "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			o := backend(t, func(conn net.Conn, in *bufio.Reader, n int) {
				for swallow(in) == nil {
					_, _ = io.WriteString(conn, answer)
					if name == "until the end" {
						return
					}
				}
			})
			for range 3 {
				if e := mustTalk(t, o); e.Reused {
					t.Error("the connection was used again")
				}
			}
		})
	}
}

func TestRestOfAnAnswerIsNotWaitedFor(t *testing.T) {
	gone := make(chan error, 1)
	o := backend(t, func(conn net.Conn, in *bufio.Reader, _ int) {
		_ = swallow(in)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
		_, err := in.ReadByte()
		gone <- err
	})
	var e Exchange
	res, err := e.Do(context.Background(), o, post("{}"), false)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if err := <-gone; err == nil {
		t.Error("the backend is still listened to")
	}
	if _, err := res.Body.Read(make([]byte, 8)); err == nil {
		_, err = res.Body.Read(make([]byte, 200))
		if err == nil {
			t.Error("a body that was closed goes on")
		}
	}
}

func TestLongMessageMayBeAnsweredEarly(t *testing.T) {
	release := make(chan bool)
	o := backend(t, func(conn net.Conn, in *bufio.Reader, _ int) {
		if _, err := http.ReadRequest(in); err == nil {
			_, _ = io.WriteString(conn, ok)
			<-release
		}
	})
	defer close(release)
	written := make(chan bool)
	e := &Exchange{Written: func() { close(written) }}
	res, err := e.Do(context.Background(), o, post(strings.Repeat("x", 32<<20)), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Error(err)
	}
	if len(o.kept) != 0 {
		t.Fatal("half a message is left on a kept connection")
	}
	<-written // the end of the answer is the end of the writing
}

func TestLateHangUpSparesTheNextExchange(t *testing.T) {
	asked, answer := make(chan bool), make(chan bool)
	o := backend(t, func(conn net.Conn, in *bufio.Reader, _ int) {
		for n := 0; swallow(in) == nil; n++ {
			if n > 0 {
				close(asked)
				<-answer
			}
			_, _ = io.WriteString(conn, ok)
		}
	})
	first := mustTalk(t, o)
	go func() {
		<-asked
		first.HangUp()
		close(answer)
	}()
	if second := mustTalk(t, o); !second.Reused {
		t.Error("the connection was not kept")
	}
}

func TestLongMessageLeavesItsConnectionGood(t *testing.T) {
	o := backend(t, func(conn net.Conn, in *bufio.Reader, _ int) {
		for swallow(in) == nil {
			_, _ = io.WriteString(conn, ok)
		}
	})
	for i := range 3 {
		body := strings.Repeat("x", 1<<20)
		answer, e, err := talk(o, post(body))
		if err != nil || answer != "{}" {
			t.Fatalf("%q %v", answer, err)
		}
		// The writer may not have said yet that it is done when the answer ends;
		// then another connection is made, and nothing else.
		t.Logf("exchange %d: reused %v", i, e.Reused)
	}
}

func TestAskedAheadOfTheFirstByte(t *testing.T) {
	heard := make(chan error, 1)
	o := backend(t, func(_ net.Conn, in *bufio.Reader, _ int) {
		_, err := in.ReadByte()
		heard <- err
	})
	no := errors.New("no")
	for _, body := range []string{"{}", strings.Repeat("x", 1<<20)} {
		writes := 0
		e := &Exchange{Ask: func() error { return no }, Written: func() { writes++ }}
		if _, err := e.Do(context.Background(), o, post(body), false); !errors.Is(err, no) || writes != 1 {
			t.Errorf("%v, said %d times that the writing is over", err, writes)
		}
		if err := <-heard; err == nil {
			t.Error("a byte left")
		}
	}
}

func TestEndOfTheContextIsTheEnd(t *testing.T) {
	asked := make(chan bool, 2)
	o := backend(t, func(conn net.Conn, in *bufio.Reader, n int) {
		_ = swallow(in)
		if n == 1 {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
		}
		asked <- true
		_, _ = in.ReadByte()
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-asked; cancel() }()
	if _, err := new(Exchange).Do(ctx, o, post("{}"), false); err == nil {
		t.Fatal("answered")
	}
	ctx, cancel = context.WithCancel(context.Background())
	res, err := new(Exchange).Do(ctx, o, post("{}"), false)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the answer ended as if it were whole")
	}
}

func TestHungUpBeforeThereWasAConnection(t *testing.T) {
	o := backend(t, func(_ net.Conn, in *bufio.Reader, _ int) { _ = swallow(in); _, _ = in.ReadByte() })
	var e Exchange
	e.HangUp()
	if _, err := e.Do(context.Background(), o, post("{}"), false); err == nil {
		t.Error("it was sent")
	}
}

func TestConnectionsAreKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Origin{MaxIdle: 2, Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				for in := bufio.NewReader(far); swallow(in) == nil; {
					_, _ = io.WriteString(far, ok)
				}
			}()
			return near, nil
		}}
		open := func(n int) {
			for range n {
				res, err := new(Exchange).Do(t.Context(), o, post("{}"), false)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _, _ = io.ReadAll(res.Body) }()
			}
		}
		open(3)
		if len(o.kept) != 2 {
			t.Fatalf("%d kept, want 2", len(o.kept))
		}
		time.Sleep(40 * time.Second)
		mustTalk(t, o) // the last one lives on
		time.Sleep(30 * time.Second)
		synctest.Wait()
		o.mu.Lock()
		n := len(o.kept)
		o.mu.Unlock()
		if n != 1 {
			t.Errorf("%d kept after 70 s, want the one that was used at 40 s", n)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if len(o.kept) != 0 || o.tidying {
			t.Errorf("%d kept in the end", len(o.kept))
		}
	})
}

func TestEncryptedConnectionsAreKept(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	o := &Origin{
		Address: s.Listener.Addr().String(), Dial: new(net.Dialer).DialContext,
		TLS: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", MinVersion: tls.VersionTLS12},
	}
	defer o.CloseIdleConnections()
	for i, size := range []int{2, 100, 5 << 20, 3} {
		answer, e, err := talk(o, post(strings.Repeat("x", size)))
		if err != nil || answer != strconv.Itoa(size) || i == 1 && !e.Reused {
			t.Errorf("%d bytes: %q, %v, reused %v", size, answer, err, e.Reused)
		}
	}
	o.TLS.RootCAs = nil
	o.CloseIdleConnections()
	if _, _, err := talk(o, post("{}")); err == nil {
		t.Error("an unknown authority was believed")
	}
}

// Whatever is broken off, and when: no answer is ever another request's.
func TestAnswersAreNeverMixed(t *testing.T) {
	o := backend(t, func(conn net.Conn, in *bufio.Reader, _ int) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			half := len(body) / 2
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", half, body[:half])
			if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n0\r\n\r\n", len(body)-half, body[half:]); err != nil {
				return
			}
		}
	})
	var whole, broken atomic.Int32
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			chance := rand.New(rand.NewPCG(1, uint64(worker)))
			for i := range 300 {
				body := strings.Repeat(fmt.Sprintf("%d-%d ", worker, i), 2+chance.IntN(6000))
				ctx, cancel := context.WithCancel(context.Background())
				var e Exchange
				switch chance.IntN(4) {
				case 0:
					time.AfterFunc(time.Duration(chance.IntN(400))*time.Microsecond, e.HangUp)
				case 1:
					time.AfterFunc(time.Duration(chance.IntN(400))*time.Microsecond, cancel)
				}
				res, err := e.Do(ctx, o, post(body), false)
				if err != nil {
					broken.Add(1)
					cancel()
					continue
				}
				answer, err := io.ReadAll(res.Body)
				if err == nil && string(answer) != body || !strings.HasPrefix(body, string(answer)) {
					t.Errorf("%.20q was answered with %.20q", body, answer)
				}
				_ = res.Body.Close()
				if err == nil {
					whole.Add(1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	t.Logf("%d whole, %d broken off ahead of the answer", whole.Load(), broken.Load())
	if whole.Load() < 1000 {
		t.Errorf("only %d whole answers", whole.Load())
	}
}

func TestWhatIsOursGoesOutInsteadOfTheCallers(t *testing.T) {
	m := post("{}")
	m.Header = http.Header{"Keep": {"1", "2"}, "Drop": {"x"}, "Replace": {"x"}, "Remove": {"x"}}
	m.Passes = func(name string) bool { return name != "Drop" }
	m.Over = http.Header{"Replace": {"ours"}, "Remove": nil, "Add": {"ours"}}
	head, err := m.head(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Del("Content-Length")
	want := http.Header{"Keep": {"1", "2"}, "Replace": {"ours"}, "Add": {"ours"}}
	if fmt.Sprint(r.Header) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", r.Header, want)
	}
}

// FuzzMessage: what is written is what a server reads, or is not written.
func FuzzMessage(f *testing.F) {
	f.Add("/chat/completions?api-version=1", "X-A", "b", "{}", false)
	f.Add("/a b", "X-A: c\r\nEvil", "b\r\n\r\nGET / HTTP/1.1", strings.Repeat("x", 40<<10), true)
	f.Add("/", "X", "\tv ", "", true)
	f.Fuzz(func(t *testing.T, uri, name, value, body string, chunked bool) {
		name = http.CanonicalHeaderKey(name)
		m := &Message{Method: http.MethodPost, URI: uri, Host: "backend", Header: http.Header{name: {value}}, Body: []byte(body), Length: int64(len(body))}
		if chunked {
			m.Length = -1
		}
		head, err := m.head(nil)
		if err != nil {
			return
		}
		var wire bytes.Buffer
		if err := m.write(&wire, head); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(&wire)
		r, err := http.ReadRequest(in)
		if err != nil {
			return // a server refuses it, whole
		}
		read, err := io.ReadAll(r.Body)
		if err != nil || string(read) != body || in.Buffered() != 0 || r.RequestURI != uri {
			t.Errorf("%q became %q, %q, %v, %d left", uri, r.RequestURI, read, err, in.Buffered())
		}
		for got := range r.Header {
			if got != name && got != "Content-Length" {
				t.Errorf("header %q came out of %q: %q", got, name, value)
			}
		}
	})
}

// FuzzAnswer: a backend's bytes mean what they mean to http.Transport.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		ok, "", "HTTP/1.1 200 OK\r\n\r\nx", "HTTP/1.1 103 Hints\r\n\r\n" + ok, "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: 1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n{}",
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9) + ok, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 70<<10) + "\r\n\r\n", "HTTP/1.1 101 Up\r\n\r\n", "HTTP/0.0 000 0\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				if swallow(bufio.NewReader(far)) == nil {
					_, _ = io.WriteString(far, answer)
				}
			}()
			return near, nil
		}
		o := &Origin{Address: "backend:80", Dial: dial}
		ours, ourErr := new(Exchange).Do(context.Background(), o, post("{}"), false)
		transport := &http.Transport{DialContext: dial, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
		r, _ := http.NewRequest(http.MethodPost, "http://backend/chat?a=b", strings.NewReader("{}"))
		theirs, theirErr := transport.RoundTrip(r)
		if (ourErr == nil) != (theirErr == nil) {
			t.Fatalf("%v, and http.Transport has %v", ourErr, theirErr)
		}
		if ourErr != nil {
			return
		}
		defer ours.Body.Close()
		defer theirs.Body.Close()
		if ours.StatusCode == http.StatusSwitchingProtocols {
			return // nobody's body
		}
		mine, mineErr := io.ReadAll(ours.Body)
		yours, yourErr := io.ReadAll(theirs.Body)
		if ours.StatusCode != theirs.StatusCode || fmt.Sprint(ours.Header) != fmt.Sprint(theirs.Header) || !bytes.Equal(mine, yours) || (mineErr == nil) != (yourErr == nil) {
			t.Errorf("%d %v %q %v, and http.Transport has %d %v %q %v", ours.StatusCode, ours.Header, mine, mineErr, theirs.StatusCode, theirs.Header, yours, yourErr)
		}
	})
}
