package api_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/consumer"
)

func compress(t *testing.T, coding, plain string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	default:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	_, _ = io.WriteString(w, plain)
	_ = w.Close()
	return b.String()
}

// Agents send compressed bodies. They are decoded within the limit of a body and
// within a ratio; the backend gets them plain.
func TestCompressedBodies(t *testing.T) {
	d := newGateway(t)
	for _, coding := range []string{"gzip", "zstd", "br"} {
		res, text := d.send(t, "POST", chat, compress(t, coding, hello), "Content-Encoding", coding)
		if res.StatusCode != http.StatusOK || string(d.received.Body) != hello {
			t.Errorf("%s: %d %s, forwarded %q", coding, res.StatusCode, text, d.received.Body)
		}
		for name, c := range map[string]struct {
			body   string
			status int
			code   string
		}{
			"too large":     {compress(t, coding, `{"model":"gpt-4o","x":"`+strings.Repeat("abcdefghij", 110<<10)+`"}`), 413, "request_too_large"},
			"a bomb":        {compress(t, coding, strings.Repeat(" ", 64<<20)), 413, "request_too_large"},
			"another":       {"this is plain text and nothing else", 400, "invalid_encoding"},
			"cut":           {compress(t, coding, hello)[:12], 400, "invalid_encoding"},
			"not JSON then": {compress(t, coding, "hello"), 400, "invalid_json"},
		} {
			res, text := d.send(t, "POST", chat, c.body, "Content-Encoding", coding)
			if res.StatusCode != c.status || !strings.Contains(text, c.code) {
				t.Errorf("%s, %s: %d %s, want %d %s", coding, name, res.StatusCode, text, c.status, c.code)
			}
		}
	}
}

// raw writes to the gateway and returns the first line of its answer.
func (d *gateway) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 17)
	_, _ = io.ReadFull(conn, line)
	return string(line)
}

func TestStalledBodyEnds(t *testing.T) {
	d := newGateway(t)
	d.BodyTimeout = 50 * time.Millisecond
	for name, framing := range map[string]string{"length": "Content-Length: 100\r\n\r\n{", "chunked": "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		if line := d.raw(t, "POST "+chat+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+framing); line != "HTTP/1.1 408 Requ" {
			t.Errorf("%s: %q, want a 408", name, line)
		}
	}
}

// A body whose length is over the limit is refused before it has arrived.
func TestDeclaredLengthOverTheLimitIsRefusedAtOnce(t *testing.T) {
	d := newGateway(t)
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		line := d.raw(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", chat, expect, 2<<20))
		if line != "HTTP/1.1 413 Requ" {
			t.Errorf("%q: %q, want a 413", expect, line)
		}
	}
}

// A refused credential is told what is wrong with it, and how to authenticate.
func TestRefusedCredentialsSayWhatIsWrong(t *testing.T) {
	d := newGateway(t)
	for cause, want := range map[auth.Error]string{
		auth.ErrMissing: "has no key", auth.ErrUnknown: "key of this request is not valid", auth.ErrAudience: "audience", auth.ErrExpired: "lifetime",
		auth.ErrNotYetValid: "lifetime", auth.ErrUnmapped: "application", auth.ErrNoApplication: "application", auth.ErrIssuer: "issuer",
		auth.ErrSignature: "signature", auth.ErrConflicting: "more than one", auth.ErrInQuery: "query",
	} {
		d.authenticate = func() (*consumer.Consumer, error) { return nil, cause }
		res, text := d.send(t, "POST", chat, hello)
		challenge := res.Header.Get("WWW-Authenticate")
		if res.StatusCode != 401 || !strings.Contains(text, want) || !strings.HasPrefix(challenge, "Bearer realm=") || strings.Contains(challenge, "error=") == (cause == auth.ErrMissing) {
			t.Errorf("%s: %d %s, %q", cause, res.StatusCode, text, challenge)
		}
	}
}

func TestUnknownDeploymentOfTheClassicAddress(t *testing.T) {
	d := newGateway(t)
	for path, code := range map[string]string{"/openai/deployments/unknown/chat/completions?api-version=2024-10-21": "DeploymentNotFound", "/openai/v1/chat/completions": "model_not_found"} {
		if res, text := d.send(t, "POST", path, `{"model":"unknown","messages":[]}`); res.StatusCode != 404 || !strings.Contains(text, `"code":"`+code+`"`) {
			t.Errorf("%s: %d %s, want %s", path, res.StatusCode, text, code)
		}
	}
}
