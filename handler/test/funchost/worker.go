package funchost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"spillway/handler/test/freeport"
)

// worker is one process of the handler, from its start to its end.
type worker struct {
	port   int
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended and its output is read
	code   int           // valid once exited is closed
}

// startWorker starts a process of the handler. An error is a start failure: the
// program is missing or cannot be executed.
func (h *Host) startWorker() (*worker, error) {
	port, err := freePort(h.options.HandlerPort)
	if err != nil {
		return nil, err
	}
	id := newGUID()
	env := append(append(os.Environ(), h.options.Env...),
		"FUNCTIONS_CUSTOMHANDLER_PORT="+strconv.Itoa(port), "FUNCTIONS_HTTPWORKER_PORT="+strconv.Itoa(port),
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID="+id, "FUNCTIONS_HTTPWORKER_ID="+id,
		"FUNCTIONS_APP_ROOT_PATH="+h.options.Root)
	program, err := h.description.executable(h.options.Root, env)
	if err != nil {
		return nil, fmt.Errorf("failed to start Worker Channel: %w", err)
	}
	cmd := exec.Command(program, arguments(h.description.Arguments, env)...) //nolint:noctx // the host stops it by SIGKILL, and only as a whole
	cmd.Dir = joinRoot(h.options.Root, h.description.WorkingDirectory)
	cmd.Env = env
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes
	out, errs := h.lineWriter("stdout"), h.lineWriter("stderr")
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("failed to start Worker Channel: process fileName %q: %w", program, err)
	}
	w := &worker{port: port, cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(w.exited)
		_ = cmd.Wait() // the state has the exit code
		out.flush()
		errs.flush()
		w.code = exitCode(cmd.ProcessState)
	}()
	return w, nil
}

// lineWriter records what the handler prints on one stream.
func (h *Host) lineWriter(stream string) *lineWriter {
	return &lineWriter{emit: func(text string) {
		line := Line{At: time.Now(), Stream: stream, Level: lineLevel(stream, text, h.description.errorsOnly()), Text: text}
		h.lines.add(line)
		if h.options.OnLine != nil {
			h.options.OnLine(line)
		}
	}}
}

// kill ends the process by SIGKILL, as the host does, and waits for its end.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // it may have ended by itself
	<-w.exited
}

// exitCode is the code a shell would show: 128 + the signal that ended it.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// freePort is a port of 127.0.0.1 that can be bound now: wanted, or any when
// wanted is 0.
func freePort(wanted int) (int, error) {
	if wanted == 0 {
		return freeport.Take()
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted))) //nolint:noctx // it is closed at once
	if err != nil {
		return 0, fmt.Errorf("unable to bind to port %d: %w", wanted, err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// newGUID is a random UUID (version 4).
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

var variable = regexp.MustCompile(`%[^%\s]+%`)

// expand replaces each %NAME% in text by its value, by "" when it is unset.
func expand(text string, env []string) string {
	return variable.ReplaceAllStringFunc(text, func(reference string) string {
		name := strings.Trim(reference, "%")
		value := ""
		for _, pair := range env {
			if key, set, _ := strings.Cut(pair, "="); key == name {
				value = set
			}
		}
		return value
	})
}

// arguments are the arguments that the process gets: the host joins them with
// spaces, quotes nothing, and the line is split again.
func arguments(given, env []string) []string {
	var split []string
	var current strings.Builder
	quoted, started := false, false
	for _, char := range expand(strings.Join(given, " "), env) {
		switch {
		case char == '"':
			quoted, started = !quoted, true
		case char == ' ' && !quoted:
			if started {
				split = append(split, current.String())
			}
			current.Reset()
			started = false
		default:
			current.WriteRune(char)
			started = true
		}
	}
	if started {
		split = append(split, current.String())
	}
	return split
}

// joinRoot is a folder relative to root; root itself when empty.
func joinRoot(root, folder string) string {
	if filepath.IsAbs(folder) {
		return folder
	}
	return filepath.Join(root, folder)
}

// executable finds the program: a file under the worker directory, else one of
// that name on PATH.
func (d description) executable(root string, env []string) (string, error) {
	name := expand(d.Executable, env)
	if filepath.IsAbs(name) {
		return name, nil
	}
	local := filepath.Join(joinRoot(root, d.WorkerDirectory), name)
	if info, err := os.Stat(local); err == nil && !info.IsDir() {
		return local, nil
	}
	return exec.LookPath(name)
}

// pingEvery is how often a handler that is not ready is asked again.
const pingEvery = 25 * time.Millisecond

// awaitReady pings the handler until it answers: with any status, or with
// something that is not HTTP; only a connection failure is not an answer. It
// returns an error when the ready timeout is over or ctx is done.
func (h *Host) awaitReady(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.options.ReadyTimeout, errNotReady)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	for {
		err := ping(ctx, client, port)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pingEvery):
		}
	}
}

var errNotReady = errors.New("initializing HttpWorker timed out")

// ping sends one GET / and reads the response to its end. It returns an error
// when it cannot connect.
func ping(ctx context.Context, client *http.Client, port int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "") // the host sends none
	response, err := client.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return err
		}
		return nil
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // a response that breaks is an answer too
	return nil
}

// exitAction is what follows the end of a process.
type exitAction int

const (
	stopHost        exitAction = iota // the host ends
	noRestart                         // nothing: later calls fail
	restart                           // a new process
	restartAndCount                   // a new process, or the host's end after faultsToStop
)

// The host's rules of restarting (docs/functions-host.md#crashes).
const (
	intentionalRestart = 200
	faultsToStop       = 3
)

// supervise runs processes of the handler one after the other until ctx is done
// or the host stops by itself. Nothing else starts a process.
func (h *Host) supervise(ctx context.Context) {
	faults, last := 0, time.Time{}
	for {
		end := h.runWorker(ctx)
		switch end {
		case stopHost:
			return
		case noRestart:
			<-ctx.Done()
			return
		case restartAndCount:
			if time.Since(last) > h.options.RestartWindow {
				faults = 0
			}
			last = time.Now()
			if faults++; faults >= faultsToStop {
				h.shutDown("exceeded http worker restart retry count, shutting down Functions Host")
				return
			}
		case restart:
		}
	}
}

// runWorker starts one process and returns after its end.
func (h *Host) runWorker(ctx context.Context) exitAction {
	select {
	case <-h.recycle: // it was for a process that has ended
	default:
	}
	w, err := h.startWorker()
	if err != nil {
		// Calls keep waiting for readiness: nothing is retried.
		h.emit(Event{Kind: StartFailed, Detail: err.Error()})
		return noRestart
	}
	h.worker.Store(w)
	h.emit(Event{Kind: Started, PID: w.cmd.Process.Pid, Port: w.port})
	watching, done := context.WithCancel(ctx)
	defer done()
	ready := make(chan error, 1)
	h.owned.Go(func() { ready <- h.awaitReady(watching, w.port) })
	end := h.monitor(ctx, w, ready)
	done()
	return end
}

// monitor waits for the end of a process, or ends it, and returns what follows.
func (h *Host) monitor(ctx context.Context, w *worker, ready <-chan error) exitAction {
	for {
		select {
		case err := <-ready:
			switch {
			case errors.Is(err, errNotReady):
				h.emit(Event{Kind: ReadyTimedOut, PID: w.cmd.Process.Pid, Port: w.port, Detail: err.Error()})
				h.killWorker(w)
				return restartAndCount
			case err == nil:
				h.readiness.set(w.port)
				h.emit(Event{Kind: Ready, PID: w.cmd.Process.Pid, Port: w.port})
			}
			ready = nil
		case <-w.exited:
			return h.workerExited(w)
		case <-h.recycle:
			h.killWorker(w)
			return restart
		case <-ctx.Done():
			h.killWorker(w)
			return stopHost
		}
	}
}

// killWorker kills a process that the host replaces or that ends with it.
func (h *Host) killWorker(w *worker) {
	h.readiness.clear()
	w.kill()
	h.emit(Event{Kind: Exited, PID: w.cmd.Process.Pid, Port: w.port, Code: w.code})
}

// workerExited is what follows a process that ended by itself.
func (h *Host) workerExited(w *worker) exitAction {
	// After exit 0 the host does nothing: calls go to a port that is closed.
	if w.code != 0 {
		h.readiness.clear()
	}
	h.emit(Event{Kind: Exited, PID: w.cmd.Process.Pid, Port: w.port, Code: w.code})
	switch {
	case h.terminating.Load():
		return stopHost
	case w.code == 0:
		return noRestart
	case w.code == intentionalRestart:
		return restart
	}
	return restartAndCount
}
