package funchost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// connPool keeps open connections to the handler for the next calls.
type connPool struct {
	mu     sync.Mutex
	idle   map[int][]*conn // by port; the last one is taken first
	closed bool
}

// conn is one connection to the handler. It belongs to one call at a time.
type conn struct {
	net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	port    int
	unbind  func() bool   // ends the tie to the call's context
	peeked  chan struct{} // closed when the watch over an idle connection ends
	peekErr error         // valid once peeked is closed
}

// bind ties the connection to a call: it is closed when ctx ends first.
func (c *conn) bind(ctx context.Context) *conn {
	c.unbind = context.AfterFunc(ctx, func() { c.Close() })
	return c
}

// discard closes a connection that serves no other call.
func (c *conn) discard() {
	c.unbind()
	c.Close()
}

// get gives a call a connection bound to ctx: an idle one that is still open,
// or a new one.
func (p *connPool) get(ctx context.Context, port int) (*conn, error) {
	for {
		c := p.pop(port)
		if c == nil {
			break
		}
		if c.reuse() {
			return c.bind(ctx), nil
		}
		c.Close()
	}
	return dialHandler(ctx, port)
}

// dialHandler makes a new connection. 4 KiB is the write buffer of .NET's client:
// small writes of a streaming upload stay in it.
func dialHandler(ctx context.Context, port int) (*conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, in: bufio.NewReader(raw), out: bufio.NewWriterSize(raw, 4096), port: port}
	return c.bind(ctx), nil
}

func (p *connPool) pop(port int) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle[port]
	if len(idle) == 0 {
		return nil
	}
	p.idle[port] = idle[:len(idle)-1]
	return idle[len(idle)-1]
}

// put keeps a connection whose response was read to its end, and watches for
// the handler's close and for bytes that answer no request.
func (p *connPool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.unbind() || p.closed {
		c.Close()
		return
	}
	c.peeked, c.peekErr = make(chan struct{}), nil
	if p.idle == nil {
		p.idle = map[int][]*conn{}
	}
	p.idle[c.port] = append(p.idle[c.port], c)
	go func() {
		defer close(c.peeked)
		_, c.peekErr = c.in.Peek(1)
	}()
}

// reuse ends the watch over an idle connection and reports whether it can
// serve.
func (c *conn) reuse() bool {
	_ = c.SetReadDeadline(time.Unix(1, 0))
	<-c.peeked
	if !errors.Is(c.peekErr, os.ErrDeadlineExceeded) {
		return false
	}
	return c.SetReadDeadline(time.Time{}) == nil
}

// close closes every idle connection, waits for their watches, and keeps none
// from now on.
func (p *connPool) close() {
	p.mu.Lock()
	p.closed = true
	all := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, idle := range all {
		for _, c := range idle {
			c.Close()
			<-c.peeked
		}
	}
}

// handlerRequest is one request as the handler gets it.
type handlerRequest struct {
	method string
	target string // path and query, escaped
	host   string // "" for the handler's own address
	header http.Header
	body   io.Reader // nil: none
	length int64     // of body; -1 sends it chunked; without a body 0 sends a length of 0 and -1 none
	sent   bool      // the body was sent, at least in part: it cannot be sent again
}

// What can go wrong before the response, as the host's log names it.
var (
	errExchange    = errors.New("Request")
	errHandlerBody = errors.New("RequestBodyDestination")
	errClientBody  = errors.New("RequestBodyClient")
)

// Why .NET's client refuses a request or a response.
var (
	errNotASCII      = errors.New("request headers must contain only ASCII characters")
	errBodySent      = errors.New("the body was already sent")
	errResponseLarge = errors.New("the response headers exceed 64 KiB")
)

// maxResponseHeader is the most bytes of response headers that .NET's client
// reads.
const maxResponseHeader = 64 << 10

// How the host retries (docs/functions-host.md#proxying).
const (
	maxAttempts     = 10
	firstDelay      = 50 * time.Millisecond
	longestDelay    = 250 * time.Millisecond
	bodylessRepeats = 3 // of .NET's client, inside each attempt
)

// continueTimeout is how long .NET's client holds a body back for a 100.
const continueTimeout = time.Second

// send gets a request to the handler and returns the head of the response, with
// the connection that its body is read from. A request without a body is
// delivered again after any failure; a body is sent once, and further attempts
// only connect.
func (h *Host) send(ctx context.Context, port int, request *handlerRequest, progress func()) (*http.Response, *conn, error) {
	delay := firstDelay
	var failed error // of the newest attempt that sent something
	for attempt := 1; ; attempt++ {
		response, c, err := h.attempt(ctx, port, request, progress)
		if err == nil {
			return response, c, nil
		}
		if failed == nil || !errors.Is(err, errBodySent) {
			failed = err
		}
		if attempt == maxAttempts || ctx.Err() != nil || errors.Is(err, errClientBody) || errors.Is(err, errResponseHeader) {
			return nil, nil, failed
		}
		if err := h.options.sleep(ctx, delay); err != nil {
			return nil, nil, err
		}
		delay = min(2*delay, longestDelay)
	}
}

// attempt is one attempt of send. A connection that the handler drops before it
// responds is replaced by another, unless there is a body.
func (h *Host) attempt(ctx context.Context, port int, request *handlerRequest, progress func()) (*http.Response, *conn, error) {
	for repeat := 0; ; repeat++ {
		c, err := h.conns.get(ctx, port)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errExchange, err)
		}
		progress()
		response, err := c.exchange(request, progress)
		if err == nil {
			progress()
			return response, c, nil
		}
		c.discard()
		if request.body != nil || repeat == bodylessRepeats || ctx.Err() != nil || !isDrop(err) {
			return nil, nil, err
		}
	}
}

// isDrop reports whether an exchange failed because the connection ended.
func isDrop(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// sleep waits for d or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exchange sends the request and reads the response's head. The body is written
// to its end before the response is read; only with Expect: 100-continue may an
// error response come first. progress is called at every step.
func (c *conn) exchange(request *handlerRequest, progress func()) (*http.Response, error) {
	if request.sent {
		return nil, fmt.Errorf("%w: %w", errExchange, errBodySent)
	}
	if !validHeader(request.header) {
		return nil, fmt.Errorf("%w: %w", errExchange, errNotASCII)
	}
	request.sent = request.body != nil
	if err := request.writeHead(c); err != nil {
		return nil, fmt.Errorf("%w: %w", errExchange, err)
	}
	if request.body != nil && strings.EqualFold(request.header.Get("Expect"), "100-continue") {
		early, err := c.awaitContinue(request)
		if early != nil || err != nil {
			return early, err
		}
	}
	if err := request.writeBody(c.out, progress); err != nil {
		return nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandlerBody, err)
	}
	return c.readResponse(request)
}

func (r *handlerRequest) writeHead(c *conn) error {
	host := r.host
	if host == "" {
		host = c.RemoteAddr().String()
	}
	fmt.Fprintf(c.out, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.target, host)
	switch {
	case r.body != nil && r.length < 0:
		fmt.Fprint(c.out, "Transfer-Encoding: chunked\r\n")
	case r.length >= 0:
		fmt.Fprintf(c.out, "Content-Length: %d\r\n", r.length)
	}
	if err := r.header.WriteSubset(c.out, map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Host": true}); err != nil {
		return err
	}
	_, err := c.out.WriteString("\r\n")
	return err
}

// writeBody copies the client's body. Its error names the side that broke.
func (r *handlerRequest) writeBody(out io.Writer, progress func()) error {
	if r.body == nil {
		return nil
	}
	to := out
	if r.length < 0 {
		to = httputil.NewChunkedWriter(out)
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.body.Read(buffer)
		progress()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return fmt.Errorf("%w: %w", errHandlerBody, err)
			}
			progress()
		}
		if errors.Is(err, io.EOF) {
			return r.endBody(out)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
	}
}

// endBody marks the end of a chunked body. A body that broke is not marked, so
// that it is broken for the handler too.
func (r *handlerRequest) endBody(out io.Writer) error {
	if r.length >= 0 {
		return nil
	}
	if _, err := io.WriteString(out, "0\r\n\r\n"); err != nil {
		return fmt.Errorf("%w: %w", errHandlerBody, err)
	}
	return nil
}

// awaitContinue waits for the handler to ask for the body. An early response is
// returned, and the body of a large request is then never sent; nil and no error
// mean to send it.
func (c *conn) awaitContinue(request *handlerRequest) (*http.Response, error) {
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("%w: %w", errExchange, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(continueTimeout))
	_, err := c.in.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errExchange, err)
	}
	response, err := http.ReadResponse(c.in, &http.Request{Method: request.method})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errExchange, err)
	}
	if response.StatusCode == http.StatusContinue {
		return nil, nil
	}
	response.Close = true // the body that was announced never comes
	return response, nil
}

// readResponse reads the head of the response; an earlier 100 or 103 is not
// passed on.
func (c *conn) readResponse(request *handlerRequest) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(c.in, &http.Request{Method: request.method})
		if malformed := textproto.ProtocolError(""); errors.As(err, &malformed) {
			return nil, fmt.Errorf("%w: %w", errResponseHeader, err)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errExchange, err)
		}
		if responseHeaderSize(response) > maxResponseHeader {
			return nil, fmt.Errorf("%w: %w", errExchange, errResponseLarge)
		}
		if response.StatusCode >= http.StatusOK || response.StatusCode == http.StatusSwitchingProtocols {
			return response, nil
		}
	}
}

func responseHeaderSize(response *http.Response) int {
	size := 0
	for name, values := range response.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return size
}
