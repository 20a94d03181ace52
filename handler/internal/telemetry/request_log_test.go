package telemetry

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run go test -update", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", file, d)
	}
}

// collectLines collects what a log writes to both streams.
func collectLines(t *testing.T, l *RequestLog, say func()) (out, alarm string) {
	t.Helper()
	var o, a sink
	l.Out = NewLogWriter(&o, &a, 1024)
	say()
	l.Out.Close(time.Minute)
	return o.String(), a.String()
}

func allRequests() []*api.RequestRecord {
	return []*api.RequestRecord{served(), spilled(), throttled(), broken(), fallback(), hedged(), tried(), recovering(), polled(), left(), standIn(), alike(), undeployed(), refused()}
}

func TestRequestLines(t *testing.T) {
	var all strings.Builder
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelDebug} {
		l := &RequestLog{Instance: "i-1", Level: level}
		out, alarm := collectLines(t, l, func() {
			for _, x := range allRequests() {
				l.RequestDone(x)
			}
		})
		fmt.Fprintf(&all, "level %v, stdout\n%slevel %v, stderr\n%s", level, out, level, alarm)
	}
	golden(t, "lines.golden", all.String())
}

func TestEveryLineIsOneJSONObject(t *testing.T) {
	l := &RequestLog{Instance: "i-1", Level: slog.LevelDebug}
	out, alarm := collectLines(t, l, func() {
		for _, x := range allRequests() {
			l.RequestDone(x)
		}
	})
	lines := strings.Split(strings.TrimSuffix(out+alarm, "\n"), "\n")
	if len(lines) != len(allRequests()) {
		t.Fatalf("%d lines, want %d", len(lines), len(allRequests()))
	}
	for _, line := range lines {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
}

// The host takes stderr for errors, and for warnings where "warn" is in it.
func TestStreamMatchesTheLevelForTheHost(t *testing.T) {
	l := &RequestLog{Instance: "i-1"}
	out, alarm := collectLines(t, l, func() {
		for _, x := range allRequests() {
			l.RequestDone(x)
		}
	})
	for line := range strings.Lines(out) {
		if !strings.Contains(line, `"level":"INFO"`) {
			t.Errorf("on stdout: %s", line)
		}
	}
	for line := range strings.Lines(alarm) {
		warned := strings.Contains(strings.ToLower(line), "warn")
		if warned != strings.Contains(line, `"level":"WARN"`) || !warned && !strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("the host would mistake the level of %s", line)
		}
	}
	if out == "" || alarm == "" {
		t.Errorf("stdout %q, stderr %q", out, alarm)
	}
}

func TestLinesBelowTheLevelAreOmitted(t *testing.T) {
	l := &RequestLog{Level: slog.LevelError}
	out, alarm := collectLines(t, l, func() {
		for _, x := range allRequests() {
			l.RequestDone(x)
		}
	})
	if out != "" || strings.Count(alarm, "\n") != 2 || !strings.Contains(alarm, "req_BROKEN") || !strings.Contains(alarm, "req_UNDEPLOYED") {
		t.Errorf("stdout %q, stderr %q", out, alarm)
	}
}

func TestRejectionLinesAreLimitedAndCounted(t *testing.T) {
	l := &RequestLog{Instance: "i-1", RejectionsPerSecond: 3}
	out, alarm := collectLines(t, l, func() {
		for range 10 {
			l.RequestDone(refused())
			l.RequestDone(served()) // always has a line
		}
		later := refused()
		later.Start = testTime.Add(time.Second)
		l.RequestDone(later)
	})
	if n := strings.Count(out, "req_REFUSED"); n != 4 {
		t.Errorf("%d lines of refusals, want 3 of the first second and 1 of the next", n)
	}
	if n := strings.Count(out, "req_SERVED"); n != 10 {
		t.Errorf("%d lines of served requests, want 10", n)
	}
	if !strings.Contains(alarm, `"count":7,"limit_per_second":3`) {
		t.Errorf("no line has the number of omitted ones: %q", alarm)
	}
}

func TestSpilledDependsOnWhatTheConsumerMayUse(t *testing.T) {
	x := spilled()
	if !Spilled(x.Result) {
		t.Error("served below a throttled backend, but not spilled")
	}
	for i := range x.Result.Decision.Candidates {
		x.Result.Decision.Candidates[i].Reason = balancer.OutsideGeographies
	}
	if Spilled(x.Result) {
		t.Error("spilled, though the consumer may not use the better backends")
	}
	if Spilled(served().Result) || Spilled(throttled().Result) {
		t.Error("served by the first choice, or by no backend, but spilled")
	}
	if !Spilled(fallback().Result) {
		t.Error("served by a fallback model, but not spilled")
	}
}

func TestInstantsMatchTheStandardLibrary(t *testing.T) {
	for _, when := range []time.Time{testTime, {}, time.Unix(0, 0), time.Date(2028, 2, 29, 23, 59, 59, 999_999_999, time.FixedZone("x", -3600))} {
		if got, want := string(appendInstant(nil, when)), when.UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// FuzzLine: whatever the texts are, a line is one line and one JSON object, keeps
// the values, and has nothing that a terminal would act on.
func FuzzLine(f *testing.F) {
	f.Add("req_1", "team-a", "503", "a\nb\r{\"x\":1}\x1b[2J")
	f.Add("\u202e", "\u2028", "\xff\xfe", "\x00\x7f\u0085")
	f.Add(`"`, `\`, "\U000e0041", "π 日本")
	f.Fuzz(func(t *testing.T, id, name, why, cause string) {
		x := spilled()
		backend := *x.Result.Attempts[0].Backend
		backend.Name = name
		x.ID, x.Cause = id, fmt.Errorf("%s", cause)
		x.Result.Attempts = []proxy.Attempt{x.Result.Attempts[0]}
		x.Result.Attempts[0].Backend, x.Result.Attempts[0].Outcome.Reason = &backend, why
		l := &RequestLog{Instance: name}
		out, alarm := collectLines(t, l, func() { l.RequestDone(x) })
		line := out + alarm
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "}\n") || strings.ContainsAny(line, "\r\x1b\u2028\u202e\u0085\x7f") {
			t.Fatalf("not one clean line: %q", line)
		}
		var got struct {
			ID       string `json:"request_id"`
			Attempts []struct{ Backend, Why string }
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		want := strings.ToValidUTF8(id, "\ufffd")
		if !printable(id) {
			return
		}
		if got.ID != want || len(got.Attempts) != 1 {
			t.Fatalf("%q, want %q, in %s", got.ID, want, line)
		}
	})
}

// printable reports whether the text comes back as it was: letters beyond the
// basic plane that cannot be printed are replaced, and broken bytes one by one.
func printable(s string) bool {
	for _, r := range s {
		if r == '\ufffd' || r > 0xffff {
			return false
		}
	}
	return true
}

func BenchmarkRequestLog(b *testing.B) {
	for _, c := range []struct {
		name string
		x    *api.RequestRecord
	}{{"served", served()}, {"spilled", spilled()}} {
		b.Run(c.name, func(b *testing.B) {
			out := NewLogWriter(discard{}, discard{}, 4096)
			defer out.Close(time.Minute)
			l := &RequestLog{Out: out, Instance: "i-1"}
			measureCPU(b, out, func() { l.RequestDone(c.x) })
		})
	}
}

// measureCPU runs the benchmark and reports the processor time, which is the same
// whatever else the machine is doing. Every so often the lines are let out, as
// they are at any rate that one instance serves; nil = there are none.
func measureCPU(b *testing.B, out *LogWriter, run func()) {
	b.ReportAllocs()
	b.ResetTimer()
	spent := int64(0)
	for left := b.N; left > 0; left -= burst {
		before := processor()
		for range min(left, burst) {
			run()
		}
		spent += processor() - before
		b.StopTimer()
		for out != nil && out.lengthOfQueue() > 0 {
			time.Sleep(100 * time.Microsecond)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
}

const burst = 200

func (l *LogWriter) lengthOfQueue() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.lines
}

func processor() int64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
