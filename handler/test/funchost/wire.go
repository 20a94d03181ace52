package funchost

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strconv"
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
