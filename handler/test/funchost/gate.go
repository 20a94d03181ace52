package funchost

import (
	"context"
	"sync"
)

// gate is where calls wait until the handler is ready (D 7). The zero gate is
// shut.
type gate struct {
	mu  sync.Mutex
	now *passage
}

type passage struct {
	opened chan struct{}
	isOpen bool
	port   int
}

func (g *gate) current() *passage {
	if g.now == nil {
		g.now = &passage{opened: make(chan struct{})}
	}
	return g.now
}

// open lets everyone pass to port who waits or comes.
func (g *gate) open(port int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if through := g.current(); !through.isOpen {
		through.isOpen, through.port = true, port
		close(through.opened)
	}
}

// shut makes those wait who come from now on.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current().isOpen {
		g.now = nil
	}
}

// pass waits for the gate to open and returns the handler's port, or the cause
// of ctx's end.
func (g *gate) pass(ctx context.Context) (int, error) {
	g.mu.Lock()
	through := g.current()
	g.mu.Unlock()
	select {
	case <-through.opened:
		return through.port, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
