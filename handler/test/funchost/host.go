// Package funchost is a double of the Azure Functions host, as far as an HTTP
// custom handler can tell: it starts the handler out of a staged folder the way
// the host does, sends it callers' requests the way the host does, and restarts
// or kills it when the host would.
//
// What it imitates is facts/azure-functions-host.md §7, item by item; comments
// name the item as "D 26". It is stricter than a reverse proxy where the host is:
// a status line waits for the first byte of a body (D 26), a handler that answers
// before it has read its body may lose the answer (D 22), every failure before
// the first byte is a bare 500 (D 28, D 29) and every failure after it is an
// aborted connection.
//
// Where the host would fall back to its JSON envelope, which cannot stream, the
// double refuses to run and says why (D 14).
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

// TB is what Start needs of a test; a *testing.T is one, and a program can be.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Host is a running host. Make it with Start or Open.
type Host struct {
	// URL is where callers reach it: http://127.0.0.1:port.
	URL string

	options     Options
	description description
	functions   []function
	forwards    bool

	server      *http.Server
	conns       connPool
	readiness   readiness
	recycle     chan struct{} // holds one wish for a new process
	worker      atomic.Pointer[worker]
	terminating atomic.Bool // the handler was asked to end
	lines       eventLog[Line]
	events      eventLog[Event]

	ctx    context.Context // ends with the host, by the reason for it
	cancel context.CancelCauseFunc
	owned  sync.WaitGroup // every goroutine of the host
	calls  sync.RWMutex   // held for reading by every call
}

// errStopped is the end of a host that was asked to stop.
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

// Run opens a host and stays until ctx is done, or until the host gives up by
// itself, which is its error. It is for programs; Options.OnEvent tells them
// the address.
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

// Open starts a host on a staged folder: it listens when Open returns, and the
// handler is on its way. The caller stops it. An error is an app that the host
// would refuse, or a port that is taken.
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

// serve opens the door and, when there are functions, starts the handler (D 8).
func (h *Host) serve(listener net.Listener) {
	h.URL = "http://" + listener.Addr().String()
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	h.server = &http.Server{Handler: h, DisableGeneralOptionsHandler: true, ReadHeaderTimeout: time.Minute}
	h.owned.Go(func() { _ = h.server.Serve(listener) })
	h.owned.Go(h.shutdownServer)
	h.emit(Event{Kind: Listening, Detail: h.URL})
	if len(h.functions) > 0 {
		h.owned.Go(func() { h.supervise(h.ctx) })
	}
}

// shutdownGrace is how long calls that end with the host have to say so.
const shutdownGrace = time.Second

// shutdownServer waits for the host's end. Calls that wait get their 500 still, and
// streams are aborted: neither takes long.
func (h *Host) shutdownServer() {
	<-h.ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if h.server.Shutdown(ctx) != nil {
		_ = h.server.Close() // a caller who does not read is cut off
	}
}

// Stop ends the host and its handler at once: SIGKILL, no warning (D 41). It
// returns when every process and call has ended, and may be called twice.
func (h *Host) Stop() {
	h.cancel(errStopped)
	h.owned.Wait()
	h.calls.Lock()
	h.conns.close()
	h.calls.Unlock()
}

// Terminate sends the handler SIGTERM first, as a platform may that takes the
// whole instance down, and goes on relaying for at most grace. It returns the
// handler's exit code, 137 when grace was not enough.
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
// when it is gone. What follows is the host's rule for a failure.
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
	default: // one is wished for already
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

// HandlerURL is where the newest process of the handler was told to listen,
// for looking at it past the host; "" when none was ever started.
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
