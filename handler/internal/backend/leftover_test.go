package backend_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/backend"
)

const (
	honest   = `{"answer":"honest"}`
	leftover = `{"answer":"leftover"}`
)

// leftoverShapes are responses after which bytes remain on the connection: the
// response, and what follows it.
func leftoverShapes() map[string][2]string {
	evil := rawResponse("200 OK", "", leftover)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(honest), honest)
	chunked := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
	short := strings.Replace(rawResponse("200 OK", "", honest), fmt.Sprintf("Content-Length: %d", len(honest)), fmt.Sprintf("Content-Length: %d", len(honest)-7), 1)
	return map[string][2]string{
		"response after the body":       {rawResponse("200 OK", "", honest), evil},
		"short content-length":          {short, evil},
		"204 with a body":               {"HTTP/1.1 204 No Content\r\n\r\n", evil},
		"304 with a body":               {"HTTP/1.1 304 Not Modified\r\n\r\n", evil},
		"response after a 400":          {rawResponse("400 Bad Request", "", `{"error":{"code":"x","type":"invalid_request_error"}}`), evil},
		"response after the last chunk": {chunked + "\r\n" + chunk + "0\r\n\r\n", evil},
		"response after a trailer":      {chunked + "\r\n" + chunk + "0\r\nX-Trailer: 1\r\n\r\n", evil},
		"late 100":                      {rawResponse("200 OK", "", honest), "HTTP/1.1 100 Continue\r\n\r\n" + evil},
		"content-length and chunked":    {chunked + "Content-Length: 5\r\n\r\n" + chunk + "0\r\n\r\n", evil},
		// Longer than any read buffer: the leftover is in the TLS record that ends the body.
		"large body": {rawResponse("200 OK", "", strings.Repeat("x", 40000)), evil},
	}
}

// leftoverServer answers requests that contain "first" with a shape, its second
// part after the delay, and all others with the honest answer. Written gets a
// value when a leftover was written.
func leftoverServer(t *testing.T, shape [2]string, delay time.Duration, config *tls.Config) (address string, written <-chan bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool, 64)
	answer := func(conn net.Conn) {
		for r := bufio.NewReader(conn); ; {
			body, err := readRequest(r)
			if err != nil {
				return
			}
			switch {
			case !strings.Contains(body, "first"):
				_, _ = io.WriteString(conn, rawResponse("200 OK", "", honest))
			case delay == 0:
				_, _ = io.WriteString(conn, shape[0]+shape[1])
				done <- true
			default:
				_, _ = io.WriteString(conn, shape[0])
				time.Sleep(delay) // the stimulus
				_, _ = io.WriteString(conn, shape[1])
				done <- true
			}
		}
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if config != nil {
				conn = tls.Server(conn, config)
			}
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				answer(conn)
			})
		}
	})
	return l.Addr().String(), done
}

// ask sends one request and returns the body of its answer.
func ask(t *testing.T, c *backend.Client, content string) string {
	t.Helper()
	r := newRequest()
	r.Body = []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"` + content + `"}]}`)
	res, o := c.Send(context.Background(), newBackend(), r, nil)
	if res == nil {
		return o.Reason
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// testCertificate is a server's certificate, and the roots that verify it.
func testCertificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}, s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

// leftoverClient is a client of a leftoverServer.
func leftoverClient(t *testing.T, shape [2]string, delay time.Duration, encrypted bool) (*backend.Client, <-chan bool) {
	t.Helper()
	scheme, config, roots := "http", (*tls.Config)(nil), (*x509.CertPool)(nil)
	if encrypted {
		scheme = "https"
		config, roots = testCertificate(t)
	}
	address, written := leftoverServer(t, shape, delay, config)
	c := newClient(t, scheme+"://"+address)
	connect(t, c.Targets[0], backend.TransportOptions{RootCAs: roots})
	return c, written
}

// Bytes that a backend sends after one response must never become the response
// to another request.
func TestLeftoverBytesReachNoOtherRequest(t *testing.T) {
	var reached, served atomic.Int32
	var cases sync.WaitGroup
	for name, shape := range leftoverShapes() {
		for i := range 8 {
			encrypted, delay, gap := i&1 > 0, time.Duration(i>>1&1)*10*time.Millisecond, 20*time.Millisecond
			if i&4 > 0 {
				gap = 200 * time.Millisecond
			}
			c, written := leftoverClient(t, shape, delay, encrypted)
			cases.Go(func() {
				_ = ask(t, c, "first")
				time.Sleep(gap) // the stimulus
				<-written
				switch got := ask(t, c, "next"); {
				case strings.Contains(got, "leftover"):
					reached.Add(1)
					t.Errorf("%s, encrypted %v, leftover after %s, next request after %s: it was answered with the leftover", name, encrypted, delay, gap)
				case got == honest:
					served.Add(1)
				default:
					t.Errorf("%s, encrypted %v, leftover after %s, next request after %s: %s", name, encrypted, delay, gap, got)
				}
			})
		}
	}
	cases.Wait()
	if reached.Load() != 0 || served.Load() != 80 {
		t.Errorf("of 80 next requests %d were served and %d answered with a leftover", served.Load(), reached.Load())
	}
}

// The next request may take the connection before the transport has looked at
// what arrived on it.
func TestLeftoverBytesReachNoConcurrentRequest(t *testing.T) {
	const workers, requests = 16, 40
	for _, name := range []string{"response after the body", "response after the last chunk", "late 100", "large body"} {
		for _, encrypted := range []bool{false, true} {
			c, written := leftoverClient(t, leftoverShapes()[name], 0, encrypted)
			var all sync.WaitGroup
			for w := range workers {
				all.Go(func() {
					for i := range requests {
						content := "next"
						if (i+w)%3 == 0 {
							content = "first"
						}
						got := ask(t, c, content)
						if strings.Contains(got, "leftover") || content == "next" && got != honest {
							t.Errorf("%s, encrypted %v: the %s request was answered with %.80s", name, encrypted, content, got)
						}
					}
				})
			}
			finished := make(chan bool)
			go func() { all.Wait(); close(finished) }()
			for open := true; open; {
				select {
				case <-written:
				case <-finished:
					open = false
				}
			}
		}
	}
}
