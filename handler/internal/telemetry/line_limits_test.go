package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
)

// The host cuts what is longer than 32,768 characters: of the longest lines every
// field remains, and the line is JSON.
func TestLongLinesAreShortened(t *testing.T) {
	x := broken()
	for i := range 600 {
		b := &balancer.Backend{Name: fmt.Sprintf("%s-%d", strings.Repeat("b", 100), i)}
		x.Result.Attempts = append(x.Result.Attempts, proxy.Attempt{Backend: b})
		x.Result.Decision.Candidates = append(x.Result.Decision.Candidates, balancer.Candidate{Backend: b, Reason: "circuit open"})
	}
	x.Model = strings.Repeat("\u00e9\u202e", 20_000)
	x.Cause = errors.New(strings.Repeat("warn ", 100))
	l := &RequestLog{Level: slog.LevelDebug}
	_, alarm := collectLines(t, l, func() { l.RequestDone(x) })
	var out, stderr sink
	lines := NewLogWriter(&out, &stderr, 16)
	NewLogger(lines, nil).Info("listening", "address", strings.Repeat("x", 100_000), "list", strings.Split(strings.Repeat("yy ", 50_000), " "))
	lines.Close(time.Minute)
	for _, line := range []string{alarm, out.String()} {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil || len(line) > maxLine+1000 || got["shortened"] != true || got["time"] == nil || got["msg"] == nil {
			t.Errorf("%d bytes, %v: %.300s", len(line), err, line)
		}
		if strings.Count(line, "\n") != 1 || strings.ContainsAny(line, "\u202e") {
			t.Errorf("not one clean line: %.300s", line)
		}
	}
	if n := len([]rune(alarm)); n > 32_768 || !strings.Contains(alarm, `"request_id":"req_BROKEN"`) {
		t.Errorf("%d characters: %.300s", n, alarm)
	}
}

// The host files a line of stderr that contains "warn" as a warning.
func TestErrorsAreNotFiledAsWarnings(t *testing.T) {
	var out, alarm sink
	lines := NewLogWriter(&out, &alarm, 16)
	log := NewLogger(lines, nil)
	for _, text := range []string{"warn", "WARNING", "WaRn", "wwarn", "wawarnwarn", "a\\warn", "W\u00e4rn war"} {
		log.Error("failed", "error", text)
		log.Warn("odd", "error", text)
	}
	lines.Close(time.Minute)
	for line := range strings.Lines(alarm.String()) {
		var got struct{ Level, Error string }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if filed := strings.Contains(strings.ToLower(line), "warn"); filed != (got.Level == "WARN") {
			t.Errorf("the host would mistake the level of %s", line)
		}
	}
	for _, text := range []string{`"error":"WARNING"`, `"error":"W\u0041RNING"`, `"error":"waw\u0061rnw\u0061rn"`} {
		if !strings.Contains(alarm.String(), text) {
			t.Errorf("%s is not in %s", text, alarm.String())
		}
	}
	if out.String() != "" {
		t.Errorf("stdout: %s", out.String())
	}
}
