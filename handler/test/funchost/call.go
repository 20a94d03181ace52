package funchost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// call is one request through the host.
type call struct {
	host           *Host
	w              http.ResponseWriter
	r              *http.Request
	ctx            context.Context // its cause is why the call must end
	cancel         context.CancelCauseFunc
	idle           *time.Timer // runs during the exchange with the handler
	started        bool        // the response has begun, as the host sees it
	stopWriteWatch func() bool // set by start; stops the watch over writes to the client
	clientGone     bool        // the client has left and HideDisconnects is on
}

// Why a call ends early, apart from its client's disconnect.
var (
	errIdle            = errors.New("no progress within the idle timeout")
	errFunctionTimeout = errors.New("function timeout exceeded")
	errBodyTooLarge    = errors.New("request body too large")
	errNeverReady      = errors.New("initialization timed out and host is shutting down")
)

// invoke sends a request to the handler and its response to the client.
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
	request := &handlerRequest{method: r.Method, target: path + query, body: body, length: length}
	if h.forwards {
		c.forward(port, request, path, query)
		return
	}
	c.proxy(port, request)
}

// begin bounds a call by its client, the host and the function timeout.
func (h *Host) begin(w http.ResponseWriter, r *http.Request) (*call, func()) {
	base := r.Context()
	if h.options.HideDisconnects || h.forwards {
		base = context.WithoutCancel(base)
	}
	c := &call{host: h, w: w, r: r, stopWriteWatch: func() bool { return true }}
	c.ctx, c.cancel = context.WithCancelCause(base)
	unbind := context.AfterFunc(h.ctx, func() { c.cancel(context.Cause(h.ctx)) })
	stopTimeout := c.startFunctionTimeout()
	return c, func() {
		c.stopWriteWatch()
		unbind()
		stopTimeout()
		c.cancel(nil)
	}
}

// startFunctionTimeout ends the call, and the handler's process with it, when
// it outlasts the function timeout and the grace after it
// (docs/functions-host.md#body-and-time-limits).
func (c *call) startFunctionTimeout() (stop func()) {
	h := c.host
	if h.options.FunctionTimeout < 0 {
		return func() {}
	}
	timer := time.AfterFunc(h.options.FunctionTimeout, func() {
		h.emit(Event{Kind: FunctionTimedOut, PID: h.HandlerPID(), Detail: c.r.Method + " " + c.r.URL.Path})
		if h.options.sleep(c.ctx, h.options.TimeoutGrace) == nil {
			c.cancel(errFunctionTimeout)
			h.Restart()
		}
	})
	return func() { timer.Stop() }
}

// readBody is the body as the handler gets it: one with a length is read to
// its end first, as the HTTP trigger does; a chunked one streams. One that is
// too large is not read, or breaks where it exceeds the limit.
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

// limitedBody fails once more than left bytes were read.
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

// handlerPort waits until the handler is ready. After as long as the host
// waits, the host ends itself (docs/functions-host.md#start-and-readiness).
func (c *call) handlerPort() (int, error) {
	limit := (faultsToStop + 1) * c.host.options.ReadyTimeout
	ctx, cancel := context.WithTimeoutCause(c.ctx, limit, errNeverReady)
	defer cancel()
	port, err := c.host.readiness.wait(ctx)
	if errors.Is(err, errNeverReady) {
		defer c.host.shutDown(err.Error())
	}
	return port, err
}

// fail ends a call that failed: nothing for a client that left, a 500 with no
// body before the response has begun, a reset connection after it.
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
		c.reset()
		return
	}
	if errors.Is(err, errBodyTooLarge) {
		c.w.Header().Set("Connection", "close") // the rest of the body is not awaited
	}
	what, why, _ := strings.Cut(err.Error(), ": ")
	c.host.internalError(c.w, c.r, what, why)
}

// reset closes the client's connection by RST. What was flushed before stays
// readable.
func (c *call) reset() {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if client, ok := conn.(*clientConn); ok {
		conn = client.Conn
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// readiness holds calls until the handler is ready. The zero value is not
// ready.
type readiness struct {
	mu  sync.Mutex
	now *readyState
}

type readyState struct {
	done  chan struct{} // closed when ready
	ready bool
	port  int
}

func (r *readiness) current() *readyState {
	if r.now == nil {
		r.now = &readyState{done: make(chan struct{})}
	}
	return r.now
}

// set releases the calls that wait, and those to come, to port.
func (r *readiness) set(port int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if state := r.current(); !state.ready {
		state.ready, state.port = true, port
		close(state.done)
	}
}

// clear makes calls wait again.
func (r *readiness) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current().ready {
		r.now = nil
	}
}

// wait blocks until the handler is ready and returns its port, or the cause of
// ctx's end.
func (r *readiness) wait(ctx context.Context) (int, error) {
	r.mu.Lock()
	state := r.current()
	r.mu.Unlock()
	select {
	case <-state.done:
		return state.port, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
