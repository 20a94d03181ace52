package telemetry

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Lines writes whole lines to slow or stuck writers without ever blocking the
// one who has something to say: what does not fit into the queue is dropped
// and counted. The Functions host reads both streams line by line and may stop
// reading; it takes what comes on stdout for information and what comes on
// stderr for a warning when it has "warn" in it, else for an error
// (facts/azure-functions-host.md §2.4).
type Lines struct {
	out, alarm io.Writer
	queue      chan line
	done       chan struct{}
	dropped    atomic.Uint64
	free       sync.Pool
}

// line is one line that waits, in memory that is used again.
type line struct {
	text  *[]byte
	alarm bool
}

// maxKept is the largest line buffer that is kept for the next line.
const maxKept = 16 << 10

// NewLines starts the writer; depth is how many lines may wait. Warnings and
// errors go to alarm, which may be the same as out.
func NewLines(out, alarm io.Writer, depth int) *Lines {
	l := &Lines{out: out, alarm: alarm, queue: make(chan line, depth), done: make(chan struct{})}
	l.free.New = func() any { return new([]byte) }
	go l.run()
	return l
}

// Write queues a copy of one line of information, which ends in a newline. It
// always reports success: a log that cannot be written must not fail a request.
func (l *Lines) Write(text []byte) (int, error) {
	l.write(text, false)
	return len(text), nil
}

// Alarm is the writer for warnings and errors.
func (l *Lines) Alarm() io.Writer { return alarms{l} }

type alarms struct{ *Lines }

func (a alarms) Write(text []byte) (int, error) {
	a.write(text, true)
	return len(text), nil
}

func (l *Lines) write(text []byte, alarm bool) {
	held := l.free.Get().(*[]byte)
	*held = append((*held)[:0], text...)
	select {
	case l.queue <- line{held, alarm}:
	default:
		l.dropped.Add(1)
		l.keep(held)
	}
}

// Dropped is how many lines were lost so far.
func (l *Lines) Dropped() uint64 { return l.dropped.Load() }

// Close writes what is queued and stops, or gives up on a stuck writer after
// the patience. Nothing may be written after it.
func (l *Lines) Close(patience time.Duration) {
	close(l.queue)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
}

func (l *Lines) run() {
	defer close(l.done)
	var told uint64
	for next := range l.queue {
		to := l.out
		if next.alarm {
			to = l.alarm
		}
		_, _ = to.Write(*next.text)
		l.keep(next.text)
		if lost := l.dropped.Load(); lost > told && len(l.queue) == 0 {
			f := newLine(nil, time.Now(), "WARN", "log lines dropped: the writer is slower than the requests")
			f.number("count", int64(lost-told)).number("total", int64(lost))
			told = lost
			_, _ = l.alarm.Write(f.end())
		}
	}
}

func (l *Lines) keep(text *[]byte) {
	if cap(*text) <= maxKept {
		l.free.Put(text)
	}
}
