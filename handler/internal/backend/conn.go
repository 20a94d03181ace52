package backend

import (
	"io"
	"net"
	"sync/atomic"
)

// trackedConn is a connection to a backend that knows which attempt uses it.
type trackedConn struct {
	net.Conn
	socket     socket
	owner      atomic.Pointer[attempt]
	firstWrite atomic.Bool // the owner has written nothing yet
}

func newTrackedConn(conn net.Conn) *trackedConn {
	c := &trackedConn{Conn: conn}
	c.socket.init(conn)
	return c
}

// assign makes the attempt the owner.
func (c *trackedConn) assign(a *attempt) {
	c.owner.Store(a)
	c.firstWrite.Store(true)
}

// unassign removes the attempt, so that an idle connection keeps no request in
// memory.
func (c *trackedConn) unassign(a *attempt) { c.owner.CompareAndSwap(a, nil) }

// closeFor closes the connection if the attempt still owns it: it may be idle
// by now, or serve another request.
func (c *trackedConn) closeFor(a *attempt) {
	if c.owner.CompareAndSwap(a, nil) {
		_ = c.Close()
	}
}

// Read is called by one goroutine at a time.
func (c *trackedConn) Read(p []byte) (int, error) {
	if c.socket.raw == nil {
		return c.Conn.Read(p)
	}
	return c.socket.read(p)
}

// Write calls beforeSend of the owner before its first byte.
func (c *trackedConn) Write(p []byte) (int, error) {
	if c.firstWrite.Load() && c.firstWrite.Swap(false) {
		if a := c.owner.Load(); a != nil {
			if err := a.runBeforeSend(); err != nil {
				return 0, err
			}
			a.sends.Add(1)
		}
	}
	return c.Conn.Write(p)
}

// ReadFrom writes a body that is in memory without copying it: the transport
// hands it over as a LimitedReader of exactly its length. Otherwise io.Copy
// would make a write of each 32 KiB.
func (c *trackedConn) ReadFrom(r io.Reader) (int64, error) {
	if body, ok := r.(*io.LimitedReader); ok {
		if w, ok := body.R.(io.WriterTo); ok {
			n, err := w.WriteTo(writer{c})
			body.N -= n
			return n, err
		}
	}
	return io.Copy(writer{c}, r)
}

// writer hides ReadFrom.
type writer struct{ c *trackedConn }

func (w writer) Write(p []byte) (int, error) { return w.c.Write(p) }

// Close ends reads and writes at once.
func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	c.socket.close()
	return err
}
