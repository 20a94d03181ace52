//go:build unix

package backend

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// socket reads from a TCP connection and can tell whether bytes were received
// that nobody asked for. http.Transport closes an idle connection on which
// something arrives, but not before its own goroutine has read it: a request
// that takes the connection in that moment would be answered with what was left
// over from the one before. The zero socket belongs to a connection that is not
// of the operating system.
type socket struct {
	raw    syscall.RawConn
	onRead func(fd uintptr) bool // of raw.Read
	p      []byte                // where the read under way puts its bytes
	n      int
	err    error
	onPeek func(fd uintptr) // of raw.Control
	peeked error

	mu      sync.Mutex
	change  sync.Cond
	drained bool // the read under way found nothing and waits
	closed  bool
}

func (s *socket) init(conn net.Conn) {
	s.change.L = &s.mu
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			s.raw, s.onRead, s.onPeek = raw, s.tryRead, s.peek
		}
	}
}

func (s *socket) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.p = p
	err := s.raw.Read(s.onRead)
	s.p = nil
	switch {
	case err != nil: // closed
		return 0, err
	case s.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: s.err}
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// tryRead reads what was received. It returns false to wait for more. Bytes
// leave the socket only under the lock, so that quiet misses none.
func (s *socket) tryRead(fd uintptr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n, s.err = syscall.Read(int(fd), s.p)
	for errors.Is(s.err, syscall.EINTR) {
		s.n, s.err = syscall.Read(int(fd), s.p)
	}
	s.drained = errors.Is(s.err, syscall.EAGAIN)
	if s.drained {
		s.change.Broadcast()
	}
	return !s.drained
}

// quiet reports whether the connection is open, and all that it received was
// read and belonged to a response. It waits until the transport, which has put
// the connection into its pool, reads from it again or closes it: it closes one
// on which a response left bytes in a buffer.
func (s *socket) quiet() bool {
	if s.raw == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.drained && !s.closed {
		s.change.Wait()
	}
	return !s.closed && s.empty()
}

// empty reports whether nothing was received since the last read.
func (s *socket) empty() bool {
	return s.raw.Control(s.onPeek) == nil && errors.Is(s.peeked, syscall.EAGAIN)
}

func (s *socket) peek(fd uintptr) {
	var b [1]byte
	_, _, s.peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.change.Broadcast()
}
