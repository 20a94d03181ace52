package e2e_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A backend that costs as little as a backend can: hand-written HTTP/1.1, one
// write a reply or chunk. It answers chat, plain or as a stream.
type bareBackend struct {
	net.Listener
	scheme   string
	chunks   int
	interval time.Duration
	open     atomic.Int64
}

func newBareBackend(tb testing.TB) *bareBackend {
	tb.Helper()
	l, err := net.Listen("tcp", cmp.Or(os.Getenv("SPILLWAY_BENCH_BACKEND"), "127.0.0.1:0"))
	if err != nil {
		tb.Fatal(err)
	}
	return serveBare(tb, l, "http://")
}

// newTLSBackend is a bare backend with TLS, and the variable that has Go's programs trust it.
func newTLSBackend(tb testing.TB) (b *bareBackend, variable string) {
	tb.Helper()
	of := httptest.NewTLSServer(nil)
	of.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: of.TLS.Certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: of.Certificate().Raw}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return serveBare(tb, l, "https://"), "SSL_CERT_FILE=" + file
}

func serveBare(tb testing.TB, l net.Listener, scheme string) *bareBackend {
	tb.Helper()
	b := &bareBackend{Listener: l, scheme: scheme, chunks: 100, interval: 20 * time.Millisecond}
	tb.Cleanup(func() { _ = l.Close() })
	go b.accept()
	return b
}

func (b *bareBackend) url() string { return b.scheme + b.Addr().String() }

func (b *bareBackend) accept() {
	for {
		conn, err := b.Accept()
		if err != nil {
			return
		}
		go b.serve(conn)
	}
}

func (b *bareBackend) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	for {
		length, err := head(in)
		if err != nil {
			return
		}
		peek, _ := in.Peek(min(length, 256))
		stream := bytes.Contains(peek, []byte(`"stream":true`))
		if _, err := io.CopyN(io.Discard, in, int64(length)); err != nil {
			return
		}
		if stream {
			err = b.stream(conn)
		} else {
			_, err = conn.Write(bareReply)
		}
		if err != nil {
			return
		}
	}
}

// head reads to the end of the headers and returns the body's length.
func head(in *bufio.Reader) (int, error) {
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			return length, nil
		}
		if name, value, ok := bytes.Cut(line, []byte(": ")); ok && strings.EqualFold(string(name), "content-length") {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
}

func (b *bareBackend) stream(conn net.Conn) error {
	b.open.Add(1)
	defer b.open.Add(-1)
	if _, err := conn.Write(bareStreamHead); err != nil {
		return err
	}
	tick := time.NewTicker(b.interval)
	defer tick.Stop()
	for range b.chunks {
		<-tick.C
		if _, err := conn.Write(bareChunk); err != nil {
			return err
		}
	}
	_, err := conn.Write(bareStreamEnd)
	return err
}

func chunked(data string) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data) }

const bareHeaders = "cache-control: no-cache, must-revalidate\r\napim-request-id: 0b2f9f1e-8d2e-4d0f-9a53-2f3c5a0e9d11\r\nx-ms-region: UK South\r\n" +
	"x-ratelimit-remaining-requests: 79\r\nx-ratelimit-remaining-tokens: 61353\r\nx-content-type-options: nosniff\r\nx-request-id: 5d0e9d11-8d2e-4d0f-9a53-2f3c5a0e9d11\r\n"

func bareAnswer() []byte {
	body := `{"id":"chatcmpl-1","object":"chat.completion","created":1735689600,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("word ", 130) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":130,"total_tokens":380}}`
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s", len(body), bareHeaders, body)
}

func bareEvent(choice string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1735689600,"model":"gpt-4o-2024-11-20","choices":[` + choice + `],"usage":null}` + "\n\n"
}

var (
	bareReply      = bareAnswer()
	bareStreamHead = []byte("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n" + bareHeaders + "\r\n")
	bareChunk      = chunked(bareEvent(`{"index":0,"delta":{"content":" word"},"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}`))
	bareStreamEnd  = append(append(chunked(bareEvent(`{"index":0,"delta":{},"finish_reason":"stop"}`)), chunked("data: [DONE]\n\n")...), "0\r\n\r\n"...)
)
