package telemetry

import (
	"io"
	"sync"
	"time"
)

// Lines writes whole lines to slow or stuck writers without ever blocking the
// one who has something to say: what does not fit is dropped and counted. The
// Functions host reads both streams line by line and may stop reading; it takes
// what comes on stdout for information and what comes on stderr for a warning
// when it has "warn" in it, else for an error (facts/azure-functions-host.md
// §2.4).
//
// Lines that come close together leave in one write: a process that serves
// thousands of requests a second is not woken for each of them.
type Lines struct {
	out, alarm io.Writer
	depth      int
	wake       chan struct{}
	enough     chan struct{} // the batch need not gather any longer
	done       chan struct{}

	mu      sync.Mutex
	waiting batch
	closed  bool
	dropped uint64
}

// batch is lines that wait, in order, with the runs of those that go to the
// same place.
type batch struct {
	text  []byte
	runs  []run
	lines int
}

type run struct {
	end   int // in text
	alarm bool
}

const (
	gather   = 10 * time.Millisecond // how long the first line of a batch waits for others
	gathered = 64 << 10              // of these many bytes it does not wait for more
	maxKept  = 256 << 10             // the largest batch whose memory is used again
)

// NewLines starts the writer; depth is how many lines may wait. Warnings and
// errors go to alarm, which may be the same as out.
func NewLines(out, alarm io.Writer, depth int) *Lines {
	l := &Lines{out: out, alarm: alarm, depth: depth, wake: make(chan struct{}, 1), enough: make(chan struct{}, 1), done: make(chan struct{})}
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.waiting.lines >= l.depth {
		l.dropped++
		return
	}
	w := &l.waiting
	w.text = append(w.text, text...)
	if last := len(w.runs) - 1; last >= 0 && w.runs[last].alarm == alarm {
		w.runs[last].end = len(w.text)
	} else {
		w.runs = append(w.runs, run{len(w.text), alarm})
	}
	if w.lines++; w.lines == 1 {
		nudge(l.wake)
	}
	if before := len(w.text) - len(text); before < gathered && len(w.text) >= gathered {
		nudge(l.enough)
	}
}

// nudge wakes who waits for it; it does not matter how often.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dropped is how many lines were lost so far.
func (l *Lines) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close writes what is queued and stops, or gives up on a stuck writer after
// the patience. What is written after it is dropped.
func (l *Lines) Close(patience time.Duration) {
	l.mu.Lock()
	l.closed = true
	nudge(l.wake)
	l.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
}

// run writes a batch at a time until the lines are closed.
func (l *Lines) run() {
	defer close(l.done)
	var told uint64
	var spare batch
	for closed := false; !closed; {
		<-l.wake
		closed = l.pause()
		var full batch
		full, spare = l.take(spare), batch{}
		l.flush(full)
		if lost := l.Dropped(); lost > told {
			f := newLine(nil, time.Now(), "WARN", "log lines dropped: the writer is slower than the requests")
			f.number("count", int64(lost-told)).number("total", int64(lost))
			told = lost
			_, _ = l.alarm.Write(f.end())
		}
		if cap(full.text) <= maxKept {
			spare = batch{text: full.text[:0], runs: full.runs[:0]}
		}
	}
}

// pause lets a batch gather, unless it is large already or this is the end.
func (l *Lines) pause() (closed bool) {
	l.mu.Lock()
	closed = l.closed
	l.mu.Unlock()
	if closed {
		return true
	}
	timer := time.NewTimer(gather)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.enough:
	}
	return false
}

// take exchanges what waits for memory that is free.
func (l *Lines) take(free batch) batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.waiting
	l.waiting = free
	return full
}

func (l *Lines) flush(b batch) {
	from := 0
	for _, r := range b.runs {
		to := l.out
		if r.alarm {
			to = l.alarm
		}
		_, _ = to.Write(b.text[from:r.end])
		from = r.end
	}
}
