package simulator

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// TB is the part of *testing.T that Start needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start makes a service with a loopback listener for each resource, until the test
// ends.
func Start(t TB, cfg Config) *Service {
	t.Helper()
	return start(t, cfg, false)
}

// StartTLS is Start with TLS and HTTP/2. Clients must trust CAPool.
func StartTLS(t TB, cfg Config) *Service {
	t.Helper()
	return start(t, cfg, true)
}

func start(t TB, cfg Config, secure bool) *Service {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("simulator: %v", err)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	if secure {
		if err := s.secure(); err != nil {
			t.Fatalf("simulator: %v", err)
		}
	}
	for _, name := range s.order {
		if err := s.Listen(name, "127.0.0.1:0"); err != nil {
			t.Fatalf("simulator: %v", err)
		}
	}
	return s
}

// listeners are the open listeners of a service.
type listeners struct {
	mu         sync.Mutex
	byResource map[string]*listener
	ca         *authority
	done       bool
}

func newListeners() *listeners { return &listeners{byResource: map[string]*listener{}} }

func (l *listeners) closing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// Listen opens the listener of one resource, or the shared one when resource is
// "". Port 0 takes a free one; see URL.
func (s *Service) Listen(resource, addr string) error {
	handler := http.Handler(s)
	mode := TLSGood
	if resource != "" {
		res := s.mustFind(resource)
		handler, mode = s.handlerOf(res), res.TLS
	}
	d := newListener(resource, addr, handler)
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	if s.listeners.ca != nil {
		config, err := s.listeners.ca.config(mode)
		if err != nil {
			return err
		}
		d.server.TLSConfig, d.secure = config, true
	}
	if err := d.listen(); err != nil {
		return err
	}
	s.listeners.byResource[resource] = d
	return nil
}

// URL is the address of a resource without a trailing slash: that of its own
// listener, else its prefix on the shared one. "" is the shared one.
func (s *Service) URL(resource string) string {
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	scheme := "http://"
	if s.listeners.ca != nil {
		scheme = "https://"
	}
	if d := s.listeners.byResource[resource]; d != nil {
		return scheme + d.address()
	}
	if d := s.listeners.byResource[""]; d != nil {
		return scheme + d.address() + "/" + resource
	}
	return ""
}

// CAPool is the authority of StartTLS; nil without TLS.
func (s *Service) CAPool() *x509.CertPool {
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	if s.listeners.ca == nil {
		return nil
	}
	return s.listeners.ca.pool
}

func (s *Service) secure() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	s.listeners.ca = ca
	return nil
}

// connState is the state of one connection.
type connState struct {
	idle          bool
	closeWhenIdle bool // to be closed as soon as it is idle
}

// listener accepts connections; it can be closed and opened again on the same
// port.
type listener struct {
	name   string
	addr   string
	secure bool
	server *http.Server

	mu      sync.Mutex
	tcp     net.Listener // nil while it is down
	conns   map[net.Conn]*connState
	serving sync.WaitGroup
}

type connKey struct{}

func newListener(name, addr string, handler http.Handler) *listener {
	l := &listener{name: name, addr: addr, conns: map[net.Conn]*connState{}}
	l.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          quietLog(),
		ConnState:         l.track,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	return l
}

func (l *listener) track(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(l.conns, conn)
		return
	}
	known := l.conns[conn]
	if known == nil {
		known = &connState{}
		l.conns[conn] = known
	}
	known.idle = state == http.StateIdle
	if known.idle && known.closeWhenIdle {
		closeConn(conn, false)
	}
}

// listen opens the listener, on the same port after close.
func (l *listener) listen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tcp != nil {
		return nil
	}
	open, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", l.addr)
	if err != nil {
		return fmt.Errorf("listen for resource %q: %w", l.name, err)
	}
	l.tcp, l.addr = open, open.Addr().String()
	l.serving.Go(func() {
		if l.secure {
			_ = l.server.ServeTLS(open, "", "") // ends when the listener is closed
			return
		}
		_ = l.server.Serve(open)
	})
	return nil
}

// close closes the listener, resets every connection and waits for the listener to
// end.
func (l *listener) close() {
	l.mu.Lock()
	if l.tcp != nil {
		_ = l.tcp.Close()
		l.tcp = nil
	}
	for conn := range l.conns {
		closeConn(conn, true)
	}
	l.mu.Unlock()
	l.serving.Wait()
	l.resetAll()
}

// resetAll resets connections that were accepted while the listener closed.
func (l *listener) resetAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		closeConn(conn, true)
	}
}

// closeIdle closes idle connections, and busy ones as soon as they are idle.
func (l *listener) closeIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn, state := range l.conns {
		state.closeWhenIdle = true
		if state.idle {
			closeConn(conn, false)
		}
	}
}

// address is the listener's address; it does not change.
func (l *listener) address() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// closeRequestConn closes the request's connection without Connection: close.
func closeRequestConn(ctx context.Context) {
	if conn, ok := ctx.Value(connKey{}).(net.Conn); ok {
		_ = conn.Close()
	}
}

// Down takes a resource off the network: its listener refuses connections, open
// ones are reset. Without a listener of its own every connection to the resource is
// reset instead.
func (s *Service) Down(resource string) {
	s.mustFind(resource)
	s.listeners.mu.Lock()
	d := s.listeners.byResource[resource]
	s.listeners.mu.Unlock()
	if d == nil {
		s.Fault(resource, Fault{Action: "refuse"})
		return
	}
	d.close()
}

// Up opens a resource's listener on the same port again, and clears its faults.
func (s *Service) Up(resource string) error {
	s.mustFind(resource)
	s.faults.clear(resource)
	s.listeners.mu.Lock()
	d := s.listeners.byResource[resource]
	s.listeners.mu.Unlock()
	if d == nil {
		return nil
	}
	return d.listen()
}

// CloseIdle closes all idle connections of a resource, and busy ones once they are
// idle, without Connection: close, as a front end does that is replaced.
func (s *Service) CloseIdle(resource string) {
	s.mustFind(resource)
	s.listeners.mu.Lock()
	d := s.listeners.byResource[resource]
	s.listeners.mu.Unlock()
	if d != nil {
		d.closeIdle()
	}
}

// Close closes all listeners and connections and waits for unfinished requests.
// Clients that it disconnects do not count as having left.
func (s *Service) Close() {
	s.listeners.mu.Lock()
	s.listeners.done = true
	open := s.listeners.byResource
	s.listeners.byResource = map[string]*listener{}
	s.listeners.mu.Unlock()
	for _, d := range open {
		d.close()
	}
	s.active.Wait()
}

// quietLog drops net/http's messages about aborted handlers, which faults cause.
func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
