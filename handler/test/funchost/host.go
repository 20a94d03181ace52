// Package funchost is a double of the Azure Functions host, as far as an HTTP
// custom handler can observe it: it starts the handler from a staged folder,
// sends it clients' requests, and restarts or kills it, as the host does.
//
// docs/functions-host.md says what the host does and, under "What the test
// double does", what is imitated. Where the host falls back to its JSON
// envelope, which cannot stream, the double refuses to start with a reason.
//
// It imports nothing of this module, so it cannot share its mistakes.
package funchost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// TB is the part of *testing.T that Start needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Host is a running host. Make it with Start or Open.
type Host struct {
	// URL is the address for clients: http://127.0.0.1:port.
	URL string

	options     Options
	description description
	functions   []function
	forwards    bool
	unsampled   bool // a request without traceparent gets an unsampled one

	server      *http.Server
	conns       connPool
	readiness   readiness
	recycle     chan struct{} // holds at most one request for a new process
	worker      atomic.Pointer[worker]
	terminating atomic.Bool // the handler was sent SIGTERM
	lines       eventLog[Line]
	events      eventLog[Event]

	ctx    context.Context // ends with the host; its cause is the reason
	cancel context.CancelCauseFunc
	owned  sync.WaitGroup // every goroutine of the host
	calls  sync.RWMutex   // held for reading by every call
}

// errStopped is the cause of Stop.
var errStopped = errors.New("the host was stopped")

// Start opens a host for a test and stops it when the test ends. When the test
// has failed, the host's events and the handler's last lines are logged.
func Start(t TB, options Options) *Host {
	t.Helper()
	h, err := Open(options)
	if err != nil {
		t.Fatalf("start functions host: %v", err)
		return nil
	}
	t.Cleanup(func() {
		h.Stop()
		if test, ok := t.(interface{ Failed() bool }); ok && test.Failed() {
			h.report(t)
		}
	})
	return h
}

// report logs what may explain a failed test.
func (h *Host) report(t TB) {
	for _, event := range h.Events() {
		t.Logf("host: %s pid=%d port=%d code=%d %s", event.Kind, event.PID, event.Port, event.Code, event.Detail)
	}
	lines := h.lines.all()
	for _, line := range lines[max(0, len(lines)-40):] {
		t.Logf("handler %s: %s", line.Stream, line.Text)
	}
}

// Run opens a host and blocks until ctx is done, or until the host stops by
// itself, which is its error. It is for programs; Options.OnEvent reports the
// address.
func Run(ctx context.Context, options Options) error {
	h, err := Open(options)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		h.Stop()
		return nil
	case <-h.ctx.Done():
		h.Stop()
		return context.Cause(h.ctx)
	}
}

// Open starts a host on a staged folder. It listens when Open returns, while
// the handler may still be starting. The caller must Stop it. An error is an
// app that the host would refuse, or a port that is taken.
func Open(options Options) (*Host, error) {
	file, err := readHostFile(options.Root)
	if err != nil {
		return nil, err
	}
	root, err := filepath.Abs(options.Root)
	if err != nil {
		return nil, fmt.Errorf("find staged folder %q: %w", options.Root, err)
	}
	options.Root = root
	h := &Host{options: options.withDefaults(file), description: *file.CustomHandler.Description, recycle: make(chan struct{}, 1)}
	h.forwards = options.Forward || !file.CustomHandler.Proxying
	h.unsampled = options.setting("APPLICATIONINSIGHTS_CONNECTION_STRING") != "" && file.w3cTracing()
	h.functions, err = findFunctions(root, file.routePrefix(), func(name string, reason error) {
		h.emit(Event{Kind: FunctionRefused, Detail: fmt.Sprintf("function %q: %v", name, reason)})
	})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(options.Port))) //nolint:noctx // Stop closes it
	if err != nil {
		return nil, fmt.Errorf("listen as host: %w", err)
	}
	h.serve(listener)
	return h, nil
}

// serve accepts requests and, when there are functions, starts the handler.
func (h *Host) serve(listener net.Listener) {
	h.URL = "http://" + listener.Addr().String()
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	h.server = &http.Server{
		Handler: h, DisableGeneralOptionsHandler: true, ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, clientConnKey{}, conn)
		},
	}
	h.owned.Go(func() { _ = h.server.Serve(clientListener{listener}) })
	h.owned.Go(h.shutdownServer)
	h.emit(Event{Kind: Listening, Detail: h.URL})
	if len(h.functions) > 0 {
		h.owned.Go(func() { h.supervise(h.ctx) })
	}
}

// shutdownGrace bounds how long calls under way have to fail at the host's end.
const shutdownGrace = time.Second

// shutdownServer waits for the host's end. Calls that are held get their 500,
// streams are aborted.
func (h *Host) shutdownServer() {
	<-h.ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if h.server.Shutdown(ctx) != nil {
		_ = h.server.Close() // a client that does not read is cut off
	}
}

// Stop ends the host and kills the handler, without SIGTERM
// (docs/functions-host.md#shutdown). It returns when every process and call has
// ended, and may be called twice.
func (h *Host) Stop() {
	h.cancel(errStopped)
	h.owned.Wait()
	h.calls.Lock()
	h.conns.close()
	h.calls.Unlock()
}

// Terminate sends the handler SIGTERM, as a platform may that ends the whole
// instance, and serves calls for at most grace before it stops. It returns the
// handler's exit code, 137 when it outlived grace.
func (h *Host) Terminate(grace time.Duration) int {
	h.terminating.Store(true)
	w := h.worker.Load()
	if w == nil {
		h.Stop()
		return 0
	}
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-w.exited:
	case <-time.After(grace):
	}
	h.Stop()
	<-w.exited
	return w.code
}

// Kill ends the handler's process by SIGKILL, as a crash would, and returns
// when it has ended. The host's rule for a failure follows.
func (h *Host) Kill() {
	if w := h.worker.Load(); w != nil {
		w.kill()
	}
}

// Restart replaces the handler's process, as after a change of host.json:
// SIGKILL, and a new one that does not count as a failure.
func (h *Host) Restart() {
	select {
	case h.recycle <- struct{}{}:
	default: // one is requested already
	}
}

// HandlerPID is the process id of the newest process of the handler; 0 when
// none was ever started.
func (h *Host) HandlerPID() int {
	if w := h.worker.Load(); w != nil {
		return w.cmd.Process.Pid
	}
	return 0
}

// HandlerURL is the address of the newest process of the handler, to reach it
// without the host; "" when none was ever started.
func (h *Host) HandlerURL() string {
	if w := h.worker.Load(); w != nil {
		return fmt.Sprintf("http://127.0.0.1:%d", w.port)
	}
	return ""
}

// Stdout is every line of the handler's standard output so far, over all its
// processes.
func (h *Host) Stdout() []Line { return h.linesOf("stdout") }

// Stderr is every line of the handler's standard error so far.
func (h *Host) Stderr() []Line { return h.linesOf("stderr") }

func (h *Host) linesOf(stream string) []Line {
	var own []Line
	for _, line := range h.lines.all() {
		if line.Stream == stream {
			own = append(own, line)
		}
	}
	return own
}

// WaitLine returns the first line of either stream that contains substr, as
// soon as there is one, or the error of ctx.
func (h *Host) WaitLine(ctx context.Context, substr string) (Line, error) {
	return h.lines.wait(ctx, 1, func(line Line) bool { return strings.Contains(line.Text, substr) })
}

// Events is everything that happened so far.
func (h *Host) Events() []Event { return h.events.all() }

// WaitEvent returns the nth event of a kind, counted from one, as soon as it
// has happened, or the error of ctx.
func (h *Host) WaitEvent(ctx context.Context, kind Kind, nth int) (Event, error) {
	return h.events.wait(ctx, nth, func(event Event) bool { return event.Kind == kind })
}

// emit records an event.
func (h *Host) emit(event Event) {
	event.At = time.Now()
	h.events.add(event)
	if h.options.OnEvent != nil {
		h.options.OnEvent(event)
	}
}

// shutDown ends the host from within.
func (h *Host) shutDown(reason string) {
	h.emit(Event{Kind: HostStopped, Detail: reason})
	h.cancel(errors.New(reason))
}
