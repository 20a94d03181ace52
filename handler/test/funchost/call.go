package funchost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// call is one request on its way through the host.
type call struct {
	host           *Host
	w              http.ResponseWriter
	r              *http.Request
	ctx            context.Context // ends when the call must, by the reason for it
	cancel         context.CancelCauseFunc
	idle           *time.Timer // runs while the handler is talked to
	started        bool        // the status line has gone out
	stopWriteWatch func() bool // set once started: ends the watch over writes to the caller
	clientGone     bool        // the caller has left and the handler may not know
}

// Why a call is ended from outside, besides its caller leaving.
var (
	errIdle            = errors.New("no progress within the idle timeout")
	errFunctionTimeout = errors.New("function timeout exceeded")
	errBodyTooLarge    = errors.New("request body too large")
	errNeverReady      = errors.New("initialization timed out and host is shutting down")
)

// invoke carries a request to the handler and its answer back.
func (h *Host) invoke(w http.ResponseWriter, r *http.Request, path, query string) {
	h.calls.RLock()
	defer h.calls.RUnlock()
	c, end := h.begin(w, r)
	defer end()
	body, length, err := c.readBody()
	if err != nil {
		c.fail(fmt.Errorf("%w: %w", errClientBody, err))
		return
	}
	port, err := c.handlerPort()
	if err != nil {
		c.fail(err)
		return
	}
	a := handlerRequest{method: r.Method, target: path + query, body: body, length: length}
	if h.forwards {
		c.forward(port, a, path, query)
		return
	}
	c.proxy(port, a)
}

// begin gives a call its time: as long as the caller stays, the host runs and
// the function may take.
func (h *Host) begin(w http.ResponseWriter, r *http.Request) (*call, func()) {
	base := r.Context()
	if h.options.HideDisconnects || h.forwards {
		base = context.WithoutCancel(base)
	}
	c := &call{host: h, w: w, r: r, stopWriteWatch: func() bool { return true }}
	c.ctx, c.cancel = context.WithCancelCause(base)
	unbind := context.AfterFunc(h.ctx, func() { c.cancel(context.Cause(h.ctx)) })
	limit := c.startFunctionTimeout()
	return c, func() {
		c.stopWriteWatch()
		unbind()
		limit()
		c.cancel(nil)
	}
}

// startFunctionTimeout ends the call, and the whole process with it, when the function
// timeout is over (D 43).
func (c *call) startFunctionTimeout() (stop func()) {
	h := c.host
	if h.options.FunctionTimeout < 0 {
		return func() {}
	}
	timer := time.AfterFunc(h.options.FunctionTimeout, func() {
		h.emit(Event{Kind: FunctionTimedOut, PID: h.HandlerPID(), Detail: c.r.Method + " " + c.r.URL.Path})
		c.cancel(errFunctionTimeout)
		h.Restart()
	})
	return func() { timer.Stop() }
}

// readBody is the body as it goes on: one with a length is read to its end
// first, as the HTTP trigger does; a chunked one is left to stream (D 20). One
// that is too large is not read, or breaks where it becomes so (D 21).
func (c *call) readBody() (io.Reader, int64, error) {
	limit := c.host.options.MaxBody
	switch {
	case c.r.ContentLength > limit:
		return nil, 0, errBodyTooLarge
	case c.r.ContentLength < 0:
		return &limitedBody{from: c.r.Body, left: limit}, -1, nil
	case c.r.ContentLength == 0 && c.r.Header.Get("Content-Length") == "0":
		return nil, 0, nil
	case c.r.ContentLength == 0:
		return nil, -1, nil
	}
	var whole bytes.Buffer
	if _, err := io.Copy(&whole, c.r.Body); err != nil {
		return nil, 0, err
	}
	return &whole, c.r.ContentLength, nil
}

// limitedBody reads on until left bytes have come, then fails.
type limitedBody struct {
	from io.Reader
	left int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errBodyTooLarge
	}
	return n, err
}

// handlerPort waits until the handler is ready, at most as long as the host
// does, which ends itself then (facts/azure-functions-host.md §2.2).
func (c *call) handlerPort() (int, error) {
	patience := (faultsToStop + 1) * c.host.options.ReadyTimeout
	ctx, cancel := context.WithTimeoutCause(c.ctx, patience, errNeverReady)
	defer cancel()
	port, err := c.host.readiness.wait(ctx)
	if errors.Is(err, errNeverReady) {
		defer c.host.shutDown(err.Error())
	}
	return port, err
}

// fail ends a call that went wrong: silence for a caller who left, a bare 500
// before the status line, an aborted connection after it.
func (c *call) fail(err error) {
	cause := context.Cause(c.ctx)
	if errors.Is(cause, context.Canceled) {
		c.host.emit(Event{Kind: ClientDisconnected, Detail: c.r.Method + " " + c.r.URL.Path})
		panic(http.ErrAbortHandler)
	}
	if cause != nil {
		err = cause
	}
	if c.started {
		c.host.emit(Event{Kind: CallFailed, Detail: c.r.Method + " " + c.r.URL.Path + ": aborted: " + err.Error()})
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, errBodyTooLarge) {
		c.w.Header().Set("Connection", "close") // the rest of the body is not waited for
	}
	what, why, _ := strings.Cut(err.Error(), ": ")
	c.host.internalError(c.w, c.r, what, why)
}

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
