// Package telemetry is what people and dashboards see of the requests: the one
// log line, metrics and traces. A request never waits for any of them.
package telemetry

import (
	"io"
	"strconv"
	"sync"
	"sync/atomic"
)

// Lines writes whole lines to a slow or stuck writer without ever blocking the
// one who has something to say: what does not fit into the queue is dropped
// and counted. The host reads stdout line by line, and may stop reading
// (facts/azure-functions-host.md §2.4).
type Lines struct {
	queue   chan []byte
	done    chan struct{}
	dropped atomic.Uint64
	free    sync.Pool
}

// maxKept is the largest line buffer that is kept for the next line.
const maxKept = 16 << 10

// NewLines starts the writer; depth is how many lines may wait.
func NewLines(w io.Writer, depth int) *Lines {
	l := &Lines{queue: make(chan []byte, depth), done: make(chan struct{})}
	l.free.New = func() any { return new([]byte) }
	go l.run(w)
	return l
}

// Write queues a copy of one line, which ends in a newline. It always reports
// success: a log that cannot be written must not fail a request.
func (l *Lines) Write(line []byte) (int, error) {
	held := l.free.Get().(*[]byte)
	*held = append((*held)[:0], line...)
	select {
	case l.queue <- *held:
	default:
		l.dropped.Add(1)
		l.keep(*held)
	}
	return len(line), nil
}

// Dropped is how many lines were lost so far.
func (l *Lines) Dropped() uint64 { return l.dropped.Load() }

// Close writes what is queued and stops. Nothing may be written after it.
func (l *Lines) Close() {
	close(l.queue)
	<-l.done
}

func (l *Lines) run(w io.Writer) {
	defer close(l.done)
	var told uint64
	for line := range l.queue {
		_, _ = w.Write(line)
		l.keep(line)
		if lost := l.dropped.Load(); lost > told && len(l.queue) == 0 {
			told = lost
			_, _ = w.Write(strconv.AppendUint([]byte(`{"level":"WARN","msg":"log lines dropped: the writer is slower than the requests","total":`), lost, 10))
			_, _ = io.WriteString(w, "}\n")
		}
	}
}

func (l *Lines) keep(line []byte) {
	if cap(line) <= maxKept {
		l.free.Put(&line)
	}
}
