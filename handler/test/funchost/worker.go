package funchost

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// worker is one process of the handler, from its start to its end.
type worker struct {
	port   int
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended and its output is read
	code   int           // valid once exited is closed
}

// startWorker starts the handler as D 1 to D 3 say. An error is a start
// failure: the program is missing, is no program, or may not be executed.
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
		_ = cmd.Wait() // the state says it all
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

// kill ends the process by SIGKILL, as the host does, and waits for its end (D 41).
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
