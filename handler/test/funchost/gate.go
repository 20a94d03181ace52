package funchost

import (
	"context"
	"sync"
)

// readiness is where calls wait until the handler is ready (D 7). The zero readiness is
// shut.
type readiness struct {
	mu  sync.Mutex
	now *readyState
}

type readyState struct {
	done  chan struct{}
	ready bool
	port  int
}

func (g *readiness) current() *readyState {
	if g.now == nil {
		g.now = &readyState{done: make(chan struct{})}
	}
	return g.now
}

// set lets everyone pass to port who waits or comes.
func (g *readiness) set(port int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if through := g.current(); !through.ready {
		through.ready, through.port = true, port
		close(through.done)
	}
}

// clear makes those wait who come from now on.
func (g *readiness) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current().ready {
		g.now = nil
	}
}

// wait waits for the gate to open and returns the handler's port, or the cause
// of ctx's end.
func (g *readiness) wait(ctx context.Context) (int, error) {
	g.mu.Lock()
	through := g.current()
	g.mu.Unlock()
	select {
	case <-through.done:
		return through.port, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
