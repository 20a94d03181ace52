package telemetry

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// LogWriter writes whole lines to slow or blocked writers without blocking its
// callers: what does not fit is dropped and counted. The Functions host may
// stop reading a stream, and takes the level of a line from its stream
// (docs/functions-host.md#logs).
//
// No line is longer than the host takes, and the line of an error holds the
// letters of "warn" nowhere but escaped: the host would file it as a warning.
//
// Lines that arrive close together leave in one write, so a process with
// thousands of requests a second is not woken for each.
type LogWriter struct {
	stdout, stderr io.Writer
	maxQueued      int
	wake           chan struct{}
	full           chan struct{} // the batch need not wait for more
	done           chan struct{}

	mu      sync.Mutex
	queue   batch
	closed  bool
	dropped uint64
}

// batch is lines in order, with the runs of those that go to the same stream.
type batch struct {
	text  []byte
	runs  []run
	lines int
}

type run struct {
	end      int // in text
	toStderr bool
}

const (
	batchDelay     = 10 * time.Millisecond // how long the first line of a batch waits for others
	batchBytes     = 64 << 10              // of these many bytes it does not wait for more
	maxReusedBytes = 256 << 10             // the largest batch whose memory is used again
)

// NewLogWriter starts the writer; maxQueued is how many lines may wait.
// Warnings and errors go to stderr, which may be the same as stdout. The caller
// ends it with Close.
func NewLogWriter(stdout, stderr io.Writer, maxQueued int) *LogWriter {
	l := &LogWriter{stdout: stdout, stderr: stderr, maxQueued: maxQueued, wake: make(chan struct{}, 1), full: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

// Write queues a copy of one line of information, which ends in a newline. It
// always reports success: a log that cannot be written must not fail a request.
func (l *LogWriter) Write(text []byte) (int, error) {
	l.write(text, slog.LevelInfo)
	return len(text), nil
}

// At returns the writer for lines of a level.
func (l *LogWriter) At(level slog.Level) io.Writer { return levelWriter{l, level} }

type levelWriter struct {
	*LogWriter
	level slog.Level
}

func (a levelWriter) Write(text []byte) (int, error) {
	a.write(text, a.level)
	return len(text), nil
}

func (l *LogWriter) write(text []byte, level slog.Level) {
	if len(text) > maxLine {
		text = shorten(text)
	}
	toStderr := level >= slog.LevelWarn
	if level >= slog.LevelError {
		text = escapeWarn(text)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.queue.lines >= l.maxQueued {
		l.dropped++
		return
	}
	w := &l.queue
	w.text = append(w.text, text...)
	if last := len(w.runs) - 1; last >= 0 && w.runs[last].toStderr == toStderr {
		w.runs[last].end = len(w.text)
	} else {
		w.runs = append(w.runs, run{len(w.text), toStderr})
	}
	if w.lines++; w.lines == 1 {
		wakeUp(l.wake)
	}
	if before := len(w.text) - len(text); before < batchBytes && len(w.text) >= batchBytes {
		wakeUp(l.full)
	}
}

// wakeUp wakes the receiver, once however often it is called.
func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dropped is how many lines were dropped so far.
func (l *LogWriter) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close writes what is queued and stops, or gives up on a blocked writer after
// the timeout. Lines written after it are dropped.
func (l *LogWriter) Close(timeout time.Duration) {
	l.mu.Lock()
	l.closed = true
	wakeUp(l.wake)
	l.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
}

// run writes batches until Close.
func (l *LogWriter) run() {
	defer close(l.done)
	var reported uint64
	var spare batch
	for closed := false; !closed; {
		<-l.wake
		closed = l.waitForBatch()
		var full batch
		full, spare = l.swapQueue(spare), batch{}
		l.flush(full)
		if lost := l.Dropped(); lost > reported {
			f := newJSONLine(nil, time.Now(), slog.LevelWarn, "log lines dropped: the writer is slower than the requests")
			f.number("count", int64(lost-reported)).number("total", int64(lost))
			reported = lost
			_, _ = l.stderr.Write(f.end())
		}
		if cap(full.text) <= maxReusedBytes {
			spare = batch{text: full.text[:0], runs: full.runs[:0]}
		}
	}
}

// waitForBatch waits for more lines, unless the batch is large already or the
// writer is closed.
func (l *LogWriter) waitForBatch() (closed bool) {
	l.mu.Lock()
	closed = l.closed
	l.mu.Unlock()
	if closed {
		return true
	}
	timer := time.NewTimer(batchDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.full:
	}
	return false
}

// swapQueue takes the queue and leaves the empty batch in its place.
func (l *LogWriter) swapQueue(empty batch) batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.queue
	l.queue = empty
	return full
}

func (l *LogWriter) flush(b batch) {
	from := 0
	for _, r := range b.runs {
		to := l.stdout
		if r.toStderr {
			to = l.stderr
		}
		_, _ = to.Write(b.text[from:r.end])
		from = r.end
	}
}

// NewLogger returns the log of everything that is no request; it writes to
// lines.
func NewLogger(lines *LogWriter, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	return slog.New(&levelHandler{
		info: slog.NewJSONHandler(lines, options), warn: slog.NewJSONHandler(lines.At(slog.LevelWarn), options),
		failure: slog.NewJSONHandler(lines.At(slog.LevelError), options),
	})
}

// levelHandler sends a record to the writer of its level.
type levelHandler struct{ info, warn, failure slog.Handler }

func (g *levelHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return g.info.Enabled(ctx, level)
}

func (g *levelHandler) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case r.Level >= slog.LevelError:
		return g.failure.Handle(ctx, r)
	case r.Level >= slog.LevelWarn:
		return g.warn.Handle(ctx, r)
	}
	return g.info.Handle(ctx, r)
}

func (g *levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &levelHandler{g.info.WithAttrs(attrs), g.warn.WithAttrs(attrs), g.failure.WithAttrs(attrs)}
}

func (g *levelHandler) WithGroup(name string) slog.Handler {
	return &levelHandler{g.info.WithGroup(name), g.warn.WithGroup(name), g.failure.WithGroup(name)}
}
