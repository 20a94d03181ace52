package funchost

import (
	"context"
	"errors"
	"time"
)

// fate is what the end of one process means for the next.
type fate int

const (
	fateStop  fate = iota // the host goes too
	fateNone              // none follows, calls go nowhere
	fateAgain             // one follows, and nobody counts
	fateFault             // one follows, unless it was the last straw
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
		end := h.live(ctx)
		switch end {
		case fateStop:
			return
		case fateNone:
			<-ctx.Done()
			return
		case fateFault:
			if time.Since(last) > h.options.RestartWindow {
				faults = 0
			}
			last = time.Now()
			if faults++; faults >= faultsToStop {
				h.giveUp("exceeded http worker restart retry count, shutting down Functions Host")
				return
			}
		case fateAgain:
		}
	}
}

// live starts one process and stays with it to its end.
func (h *Host) live(ctx context.Context) fate {
	select {
	case <-h.recycle: // meant for a process that is gone
	default:
	}
	w, err := h.startWorker()
	if err != nil {
		// The gate stays shut: calls hang, nothing is retried.
		h.note(Event{Kind: StartFailed, Detail: err.Error()})
		return fateNone
	}
	h.worker.Store(w)
	h.note(Event{Kind: Started, PID: w.cmd.Process.Pid, Port: w.port})
	watching, done := context.WithCancel(ctx)
	defer done()
	ready := make(chan error, 1)
	h.owned.Go(func() { ready <- h.awaitReady(watching, w.port) })
	end := h.attend(ctx, w, ready)
	done()
	return end
}

// attend waits for what ends a process, and tells its fate.
func (h *Host) attend(ctx context.Context, w *worker, ready <-chan error) fate {
	for {
		select {
		case err := <-ready:
			switch {
			case errors.Is(err, errNotReady):
				h.note(Event{Kind: ReadyTimedOut, PID: w.cmd.Process.Pid, Port: w.port, Detail: err.Error()})
				h.end(w)
				return fateFault
			case err == nil:
				h.gate.open(w.port)
				h.note(Event{Kind: Ready, PID: w.cmd.Process.Pid, Port: w.port})
			}
			ready = nil
		case <-w.exited:
			return h.exited(w)
		case <-h.recycle:
			h.end(w)
			return fateAgain
		case <-ctx.Done():
			h.end(w)
			return fateStop
		}
	}
}

// end kills a process that the host no longer wants.
func (h *Host) end(w *worker) {
	h.gate.shut()
	w.kill()
	h.note(Event{Kind: Exited, PID: w.cmd.Process.Pid, Port: w.port, Code: w.code})
}

// exited is the fate after a process ended by itself (D 40).
func (h *Host) exited(w *worker) fate {
	// After exit 0 the host does nothing at all: calls go to a port where
	// nobody listens.
	if w.code != 0 {
		h.gate.shut()
	}
	h.note(Event{Kind: Exited, PID: w.cmd.Process.Pid, Port: w.port, Code: w.code})
	switch {
	case h.leaving.Load():
		return fateStop
	case w.code == 0:
		return fateNone
	case w.code == intentionalRestart:
		return fateAgain
	}
	return fateFault
}
