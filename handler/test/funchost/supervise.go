package funchost

import (
	"context"
	"errors"
	"time"
)

// exitAction is what the end of one process means for the next.
type exitAction int

const (
	stopHost        exitAction = iota // the host goes too
	noRestart                         // none follows, calls go nowhere
	restart                           // one follows, and nobody counts
	restartAndCount                   // one follows, unless it was the last straw
)

// The host's rules of restarting (facts/azure-functions-host.md §2.3).
const (
	intentionalRestart = 200
	faultsToStop       = 3
)

// supervise runs one process of the handler after the other until ctx is done
// or the host gives up. It is the only one who starts and ends processes.
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

// runWorker starts one process and stays with it to its end.
func (h *Host) runWorker(ctx context.Context) exitAction {
	select {
	case <-h.recycle: // meant for a process that is gone
	default:
	}
	w, err := h.startWorker()
	if err != nil {
		// The gate stays shut: calls hang, nothing is retried.
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

// monitor waits for what ends a process, and tells its fate.
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

// killWorker kills a process that the host no longer wants.
func (h *Host) killWorker(w *worker) {
	h.readiness.clear()
	w.kill()
	h.emit(Event{Kind: Exited, PID: w.cmd.Process.Pid, Port: w.port, Code: w.code})
}

// workerExited is the fate after a process ended by itself (D 40).
func (h *Host) workerExited(w *worker) exitAction {
	// After exit 0 the host does nothing at all: calls go to a port where
	// nobody listens.
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
