package funchost

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// Level is the level that the host logs a line of the handler with.
type Level string

// The levels that a line of output can get (D 42).
const (
	Information Level = "Information"
	Warning     Level = "Warning"
	Error       Level = "Error"
)

// Line is one line that the handler printed, without its end.
type Line struct {
	At     time.Time
	Stream string // "stdout" or "stderr"
	Level  Level
	Text   string
}

// lineLevel is the host's verdict on a line (facts/azure-functions-host.md
// §2.4): what a JSON record says of its own level is lost.
func lineLevel(stream, text string, errorsOnly bool) Level {
	lower := strings.ToLower(text)
	switch {
	case stream == "stdout":
		return Information
	case errorsOnly && strings.Contains(lower, "warn"):
		return Warning
	case errorsOnly:
		return Error
	}
	for _, word := range []string{"error", "fail", "severe", "unhandled exception"} {
		if strings.Contains(lower, word) {
			return Error
		}
	}
	return Information
}

// lineWriter cuts what is written to it into lines. The owner calls rest when
// nothing more will come, for a last line without an end.
type lineWriter struct {
	mu      sync.Mutex
	pending []byte
	emit    func(string)
}

func (w *lineWriter) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(w.pending, text...)
	for {
		line, after, found := bytes.Cut(w.pending, []byte("\n"))
		if !found {
			return len(text), nil
		}
		w.emit(strings.TrimSuffix(string(line), "\r"))
		w.pending = after
	}
}

func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) > 0 {
		w.emit(string(w.pending))
		w.pending = nil
	}
}
