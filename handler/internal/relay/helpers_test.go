package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/relay"
)

// caller is a response writer that records what is written and when it is
// flushed.
type caller struct {
	mu      sync.Mutex
	header  http.Header
	status  int
	body    bytes.Buffer
	flushes []int // length of body at each flush
	refuses error // of every write
}

func newCaller() *caller { return &caller{header: http.Header{}} }

func (c *caller) Header() http.Header { return c.header }

func (c *caller) WriteHeader(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != 0 {
		panic("the status was sent twice")
	}
	c.status = status
}

func (c *caller) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 {
		panic("a byte was sent before the status")
	}
	if c.refuses != nil {
		return 0, c.refuses
	}
	return c.body.Write(p)
}

func (c *caller) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushes = append(c.flushes, c.body.Len())
}

// got is what was written and flushed.
func (c *caller) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.flushes) == 0 {
		return ""
	}
	return c.body.String()[:c.flushes[len(c.flushes)-1]]
}

func (c *caller) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status != 0
}

func (c *caller) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.String()
}

// fixture is one response to be delivered, with what the proxy knows of it.
type fixture struct {
	relay    relay.Relay
	request  *proxy.Request
	response *proxy.BackendResponse
	caller   *caller
	ctx      context.Context
	cancel   context.CancelCauseFunc
	commits  int
	answer   proxy.Answer
}

func newFixture(dialect operations.Dialect, media string, body io.Reader) *fixture {
	ctx, cancel := context.WithCancelCause(context.Background())
	x := &fixture{ctx: ctx, cancel: cancel, caller: newCaller()}
	x.request = &proxy.Request{ID: "req-1", Method: http.MethodPost, Operation: operations.Operation{Name: "test", Dialect: dialect}}
	x.response = &proxy.BackendResponse{
		Response: &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {media}}, ContentLength: -1,
			Body: &cancelled{ctx: ctx, Reader: body},
		},
		Start: time.Now(), Cancel: cancel,
		Hooks: proxy.CommitHooks{MayStart: func() bool { return true }, MayCommit: func() bool { return true }, Committed: func() { x.commits++ }},
	}
	return x
}

func (x *fixture) deliver() proxy.Delivery {
	x.answer = x.relay.Open(x.caller, x.request)
	return x.answer.Deliver(x.ctx, x.response)
}

// cancelled is a body whose reads end with its context, like a transport's.
type cancelled struct {
	io.Reader
	ctx context.Context
}

func (c *cancelled) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.Reader.Read(p)
	if err != nil && c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	return n, err
}

func (c *cancelled) Close() error { return nil }

// piped is a body that is written while it is read, and ends with its context.
func piped(x *fixture) *io.PipeWriter {
	r, w := io.Pipe()
	x.response.Response.Body = &cancelled{ctx: x.ctx, Reader: r}
	context.AfterFunc(x.ctx, func() { _ = r.CloseWithError(context.Cause(x.ctx)) })
	return w
}

// breaking is a reader that fails after these bytes.
func breaking(b []byte, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(b), failing{err})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

var errReset = errors.New("connection reset by peer")

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
