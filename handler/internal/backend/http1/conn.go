package http1

import (
	"bufio"
	"errors"
	"math"
	"net"
	"net/http"
	"syscall"
	"time"
)

// ErrHead is an answer whose head is longer than Origin.MaxHeader.
var ErrHead = errors.New("http1: response headers exceeded the limit")

// conn is one connection. One exchange has it at a time.
type conn struct {
	net.Conn // to read and write: raw, or TLS over it
	origin   *Origin
	raw      net.Conn
	in       *bufio.Reader // nil while it rests
	left     int64         // bytes that may still be read
	since    time.Time     // when it was kept
	asked    http.Request  // what the answer is read for: its method alone

	control syscall.RawConn // of raw; nil = cannot be looked at
	look    func(fd uintptr) bool
	open    bool // what look saw
}

// readerSize is what an exchange holds for reading.
const readerSize = 4 << 10

// prepare makes it possible to look at the connection while it rests.
func (c *conn) prepare() {
	if s, ok := c.raw.(syscall.Conn); ok {
		if control, err := s.SyscallConn(); err == nil {
			c.control = control
			c.look = func(fd uintptr) bool {
				c.open = quiet(fd)
				return true
			}
		}
	}
}

// shortRest is for how long a connection is taken without a look: backends
// close those that rest for seconds, and under load a look at each would be one
// more call of the system for each request.
const shortRest = 50 * time.Millisecond

// alive reports whether the backend has kept the connection, and said nothing
// on it: what it says unasked is not to be taken for an answer.
func (c *conn) alive() bool {
	if c.control == nil || time.Since(c.since) < shortRest {
		return true
	}
	return c.control.Read(c.look) == nil && c.open
}

// reader is where the answer is read from.
func (c *conn) reader() *bufio.Reader {
	if c.in == nil {
		if c.in, _ = c.origin.readers.Get().(*bufio.Reader); c.in == nil {
			c.in = bufio.NewReaderSize(nil, readerSize)
		}
		c.in.Reset(bounded{c})
	}
	return c.in
}

// rest gives the reader's memory to whoever needs it next.
func (c *conn) rest() {
	if c.in != nil {
		c.in.Reset(nil)
		c.origin.readers.Put(c.in)
		c.in = nil
	}
}

// final is the first answer that is not just informational. The limit of the
// head is of them all.
func (c *conn) final(in *bufio.Reader, method string) (*http.Response, error) {
	c.asked.Method = method
	for {
		res, err := http.ReadResponse(in, &c.asked)
		if err != nil || res.StatusCode/100 != 1 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, err //nolint:wrapcheck // it says what is malformed
		}
	}
}

// close ends the connection at once. It may be called at any time: under a
// read or write it ends that, without TLS's farewell, which could take long.
func (c *conn) close() { _ = c.raw.Close() }

// bounded reads no more than the connection's bound.
type bounded struct{ *conn }

func (b bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, ErrHead
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.conn.Read(p)
	b.left -= int64(n)
	return n, err //nolint:wrapcheck // as the connection has it
}

// bound limits what is read from now on; 0 takes the limit away.
func (c *conn) bound(n int64) {
	if c.left = n; n == 0 {
		c.left = math.MaxInt64
	}
}
