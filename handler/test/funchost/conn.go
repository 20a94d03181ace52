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
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// connPool keeps the open connections to the handler, for use one after another.
type connPool struct {
	mu     sync.Mutex
	idle   map[int][]*conn // by port; the last parked is taken first
	closed bool
}

// conn is one connection to the handler. It belongs to one call at a time.
type conn struct {
	net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	port    int
	unbind  func() bool   // ends the tie to the call's context
	peeked  chan struct{} // closed when the watch over a parked conn ends
	peekErr error         // how it ended
}

// bind ties the connection to a call: it is closed when ctx ends first.
func (c *conn) bind(ctx context.Context) *conn {
	c.unbind = context.AfterFunc(ctx, func() { c.Close() })
	return c
}

// discard ends a connection that serves no other call.
func (c *conn) discard() {
	c.unbind()
	c.Close()
}

// get gives a call its connection, bound to ctx: a parked one that still
// stands, or a new one.
func (w *connPool) get(ctx context.Context, port int) (*conn, error) {
	for {
		c := w.pop(port)
		if c == nil {
			break
		}
		if c.reuse() {
			return c.bind(ctx), nil
		}
		c.Close()
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	// 4 KiB is the write buffer of .NET's client: small writes of a streaming
	// upload stay in it (facts/azure-functions-host.md §1.3).
	c := &conn{Conn: raw, in: bufio.NewReader(raw), out: bufio.NewWriterSize(raw, 4096), port: port}
	return c.bind(ctx), nil
}

func (w *connPool) pop(port int) *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	idle := w.idle[port]
	if len(idle) == 0 {
		return nil
	}
	w.idle[port] = idle[:len(idle)-1]
	return idle[len(idle)-1]
}

// put keeps a connection whose answer was read to its end, and watches that
// the handler neither closes it nor says anything unasked.
func (w *connPool) put(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.unbind() || w.closed {
		c.Close()
		return
	}
	c.peeked, c.peekErr = make(chan struct{}), nil
	if w.idle == nil {
		w.idle = map[int][]*conn{}
	}
	w.idle[c.port] = append(w.idle[c.port], c)
	go func() {
		defer close(c.peeked)
		_, c.peekErr = c.in.Peek(1)
	}()
}

// reuse ends the watch over a parked connection and tells whether it stands.
func (c *conn) reuse() bool {
	_ = c.SetReadDeadline(time.Unix(1, 0))
	<-c.peeked
	if !errors.Is(c.peekErr, os.ErrDeadlineExceeded) {
		return false
	}
	return c.SetReadDeadline(time.Time{}) == nil
}

// close closes every parked connection, waits for their watches, and keeps
// none from now on.
func (w *connPool) close() {
	w.mu.Lock()
	w.closed = true
	parked := w.idle
	w.idle = nil
	w.mu.Unlock()
	for _, idle := range parked {
		for _, c := range idle {
			c.Close()
			<-c.peeked
		}
	}
}

// handlerRequest is one request as the handler will get it.
type handlerRequest struct {
	method string
	target string // path and query, escaped
	host   string // "" for the handler's own address
	header http.Header
	body   io.Reader // nil: none
	length int64     // of body; -1 sends it chunked; with no body 0 says so and -1 does not
}

// What can go wrong with a call, in the words of the host's log.
var (
	errConnect     = errors.New("Request")
	errHandlerBody = errors.New("RequestBodyDestination")
	errClientBody  = errors.New("RequestBodyClient")
)

// continueTimeout is how long .NET's client holds a body back for a 100.
const continueTimeout = time.Second

// exchange sends the request and reads the answer's head. The body is written
// to its end before the answer is looked at (D 22); only with Expect:
// 100-continue may a refusal come first. progress is called at every step.
func (c *conn) exchange(a handlerRequest, progress func()) (*http.Response, error) {
	if err := a.writeHead(c); err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	if a.body != nil && strings.EqualFold(a.header.Get("Expect"), "100-continue") {
		early, err := c.awaitContinue(a)
		if early != nil || err != nil {
			return early, err
		}
	}
	if err := a.writeBody(c.out, progress); err != nil {
		return nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandlerBody, err)
	}
	return c.readResponse(a)
}

func (a handlerRequest) writeHead(c *conn) error {
	host := a.host
	if host == "" {
		host = c.RemoteAddr().String()
	}
	fmt.Fprintf(c.out, "%s %s HTTP/1.1\r\nHost: %s\r\n", a.method, a.target, host)
	switch {
	case a.body != nil && a.length < 0:
		fmt.Fprint(c.out, "Transfer-Encoding: chunked\r\n")
	case a.length >= 0:
		fmt.Fprintf(c.out, "Content-Length: %d\r\n", a.length)
	}
	if err := a.header.WriteSubset(c.out, map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Host": true}); err != nil {
		return err
	}
	_, err := c.out.WriteString("\r\n")
	return err
}

// writeBody copies the caller's body and tells whose fault an error is.
func (a handlerRequest) writeBody(out io.Writer, progress func()) error {
	if a.body == nil {
		return nil
	}
	to := out
	if a.length < 0 {
		to = httputil.NewChunkedWriter(out)
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := a.body.Read(buffer)
		progress()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return fmt.Errorf("%w: %w", errHandlerBody, err)
			}
			progress()
		}
		if errors.Is(err, io.EOF) {
			return a.endBody(out)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
	}
}

// endBody marks the end of a chunked body. A body that broke is never marked,
// so that the handler sees it broken.
func (a handlerRequest) endBody(out io.Writer) error {
	if a.length >= 0 {
		return nil
	}
	if _, err := io.WriteString(out, "0\r\n\r\n"); err != nil {
		return fmt.Errorf("%w: %w", errHandlerBody, err)
	}
	return nil
}

// awaitContinue waits a while for the handler to ask for the body. A refusal
// is returned, and the body of a large request is then never sent.
func (c *conn) awaitContinue(a handlerRequest) (*http.Response, error) {
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(continueTimeout))
	_, err := c.in.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil //nolint:nilnil // no answer yet, and no fault
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	response, err := http.ReadResponse(c.in, &http.Request{Method: a.method})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	if response.StatusCode == http.StatusContinue {
		return nil, nil //nolint:nilnil // no answer yet, and no fault
	}
	response.Close = true // the body that was announced never comes
	return response, nil
}

// readResponse reads the head of the answer; what comes before it (100, 103) is
// not passed on.
func (c *conn) readResponse(a handlerRequest) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(c.in, &http.Request{Method: a.method})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errConnect, err)
		}
		if response.StatusCode >= http.StatusOK || response.StatusCode == http.StatusSwitchingProtocols {
			return response, nil
		}
	}
}

// The host's rule of retrying (D 31).
const (
	maxAttempts  = 10
	firstPause   = 50 * time.Millisecond
	longestPause = 250 * time.Millisecond
)

// send gets a request to the handler and returns the head of the answer, with
// the connection that its body is to be read from. A request without a body is
// sent again after any failure, one with a body only while the handler cannot
// be connected to: a body is never sent twice.
func (h *Host) send(ctx context.Context, port int, a handlerRequest, progress func()) (*http.Response, *conn, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		response, c, err := h.try(ctx, port, a, progress)
		if err == nil {
			return response, c, nil
		}
		connected := c != nil
		if attempt == maxAttempts || ctx.Err() != nil || (connected && a.body != nil) {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// try is one attempt of send. After a failure the connection is closed, and nil
// when there never was one.
func (h *Host) try(ctx context.Context, port int, a handlerRequest, progress func()) (*http.Response, *conn, error) {
	c, err := h.conns.get(ctx, port)
	if err != nil {
		return nil, nil, err
	}
	progress()
	response, err := c.exchange(a, progress)
	if err != nil {
		c.discard()
		return nil, c, err
	}
	progress()
	return response, c, nil
}
