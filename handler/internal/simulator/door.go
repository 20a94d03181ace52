package simulator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

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
