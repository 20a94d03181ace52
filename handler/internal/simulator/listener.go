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

// TB is what Start needs of a *testing.T.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start builds a service and gives each resource a loopback listener of its
// own until the test ends.
func Start(t TB, cfg Config) *Service {
	t.Helper()
	return start(t, cfg, false)
}

// StartTLS is Start with TLS and HTTP/2. Clients trust CAPool.
func StartTLS(t TB, cfg Config) *Service {
	t.Helper()
	return start(t, cfg, true)
}

func start(t TB, cfg Config, secure bool) *Service {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("aoaitest: %v", err)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	if secure {
		if err := s.secure(); err != nil {
			t.Fatalf("aoaitest: %v", err)
		}
	}
	for _, name := range s.order {
		if err := s.Listen(name, "127.0.0.1:0"); err != nil {
			t.Fatalf("aoaitest: %v", err)
		}
	}
	return s
}

// listeners are the open doors of a service.
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

// Listen opens a listener for one resource, or with resource "" the shared
// door. Port 0 chooses one; URL tells which.
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

// URL is the address of a resource, without a slash at its end: that of its
// own listener, else of its prefix on the shared one. "" is the shared one.
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

// CAPool trusts the certificates of StartTLS; nil without TLS.
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

// connState is what a door knows of a connection.
type connState struct {
	idle          bool
	closeWhenIdle bool // to be closed as soon as it is idle
}

// listener is one listener; it can be shut and opened again on the same port.
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
	d := &listener{name: name, addr: addr, conns: map[net.Conn]*connState{}}
	d.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          quietLog(),
		ConnState:         d.track,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	return d
}

func (d *listener) track(conn net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(d.conns, conn)
		return
	}
	known := d.conns[conn]
	if known == nil {
		known = &connState{}
		d.conns[conn] = known
	}
	known.idle = state == http.StateIdle
	if known.idle && known.closeWhenIdle {
		closeConn(conn, false)
	}
}

// listen opens the door; again on the same port after shut.
func (d *listener) listen() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tcp != nil {
		return nil
	}
	open, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", d.addr)
	if err != nil {
		return fmt.Errorf("listen for resource %q: %w", d.name, err)
	}
	d.tcp, d.addr = open, open.Addr().String()
	d.serving.Go(func() {
		if d.secure {
			_ = d.server.ServeTLS(open, "", "") // ends when the door is shut
			return
		}
		_ = d.server.Serve(open)
	})
	return nil
}

// close closes the listener, cuts every connection with a reset and waits for
// the listener to end.
func (d *listener) close() {
	d.mu.Lock()
	if d.tcp != nil {
		_ = d.tcp.Close()
		d.tcp = nil
	}
	for conn := range d.conns {
		closeConn(conn, true)
	}
	d.mu.Unlock()
	d.serving.Wait()
	d.resetAll()
}

// resetAll cuts connections that were accepted while the listener closed.
func (d *listener) resetAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.conns {
		closeConn(conn, true)
	}
}

// closeIdle closes connections that wait for a request, and those that answer
// one as soon as they wait again.
func (d *listener) closeIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn, state := range d.conns {
		state.closeWhenIdle = true
		if state.idle {
			closeConn(conn, false)
		}
	}
}

// address is where the door is, and stays.
func (d *listener) address() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

// closeRequestConn closes the caller's connection without announcing it.
func closeRequestConn(ctx context.Context) {
	if conn, ok := ctx.Value(connKey{}).(net.Conn); ok {
		_ = conn.Close()
	}
}

// Down takes a resource off the network: its listener refuses connections and
// those that are open are cut. Without a listener of its own, the resource
// resets every connection that names it instead.
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

// Up brings a resource back on the same port, and clears its faults.
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

// CloseIdle closes all connections of a resource that wait for a request, and
// those now busy once they wait. It says nothing to the callers, as a front end
// that rotates.
func (s *Service) CloseIdle(resource string) {
	s.mustFind(resource)
	s.listeners.mu.Lock()
	d := s.listeners.byResource[resource]
	s.listeners.mu.Unlock()
	if d != nil {
		d.closeIdle()
	}
}

// Close ends all listeners and connections and waits for requests under way.
// Callers cut off by it are not counted as having left.
func (s *Service) Close() {
	s.listeners.mu.Lock()
	s.listeners.done = true
	doors := s.listeners.byResource
	s.listeners.byResource = map[string]*listener{}
	s.listeners.mu.Unlock()
	for _, d := range doors {
		d.close()
	}
	s.active.Wait()
}

// quietLog drops what net/http says of aborted handlers: faults abort.
func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
