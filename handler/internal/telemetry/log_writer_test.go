package telemetry

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The pipe is real and nobody reads it: when it is full, the writer hangs.
func TestBlockedPipeDoesNotBlockCallers(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	lines := NewLogWriter(write, write, 64)
	l := &RequestLog{Out: lines, Instance: "i-1"}
	const requests = 20_000
	for range requests { // blocks for ever if a line waits for the reader
		l.RequestDone(spilled())
	}
	if lines.Dropped() < requests/2 {
		t.Errorf("only %d of %d lines were dropped: the pipe was read by somebody", lines.Dropped(), requests)
	}
	lines.Close(10 * time.Millisecond) // waits no longer for the reader
	_ = write.Close()                  // the stuck write ends
	_, _ = io.Copy(io.Discard, read)
}

func TestDroppedLinesAreReported(t *testing.T) {
	gate := make(chan struct{})
	var out sink
	lines := NewLogWriter(&slow{gate: gate, to: &out}, &out, 2)
	for range 10 {
		_, _ = lines.Write([]byte("{}\n"))
	}
	if lines.Dropped() == 0 {
		t.Error("ten lines fitted into a queue of two")
	}
	close(gate)
	lines.Close(time.Minute)
	if !strings.Contains(out.String(), `"msg":"log lines dropped`) {
		t.Errorf("no line reports the dropped ones: %q", out.String())
	}
}

// slow writes nothing before its gate is open.
type slow struct {
	gate chan struct{}
	to   io.Writer
}

func (s *slow) Write(p []byte) (int, error) {
	<-s.gate
	return s.to.Write(p)
}

func TestLevelSelectsTheStream(t *testing.T) {
	var out, alarm sink
	lines := NewLogWriter(&out, &alarm, 16)
	log := NewLogger(lines, nil).With("a", 1)
	log.InfoContext(t.Context(), "listening")
	log.WarnContext(t.Context(), "odd")
	log.ErrorContext(t.Context(), "bad")
	log.DebugContext(t.Context(), "detail")
	lines.Close(time.Minute)
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, `"msg":"listening","a":1`) {
		t.Errorf("stdout: %s", s)
	}
	if s := alarm.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, `"msg":"odd"`) || !strings.Contains(s, `"msg":"bad"`) {
		t.Errorf("stderr: %s", s)
	}
}

// A batch waits for more lines unless it is large already.
func TestLargeBatchIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		lines := NewLogWriter(&out, &out, 4096)
		began := time.Now()
		_, _ = lines.Write([]byte("{}\n"))
		synctest.Wait()
		if out.String() != "" {
			t.Error("a line did not wait for others")
		}
		for range 4 {
			_, _ = lines.Write([]byte(strings.Repeat("x", batchBytes/4)))
		}
		synctest.Wait()
		if len(out.String()) != batchBytes+3 || time.Since(began) > 0 {
			t.Errorf("%d bytes are written after %v", len(out.String()), time.Since(began))
		}
		_, _ = lines.Write([]byte("{}\n"))
		lines.Close(time.Minute)
		if len(out.String()) != batchBytes+6 {
			t.Errorf("%d bytes are written at the end", len(out.String()))
		}
	})
}
