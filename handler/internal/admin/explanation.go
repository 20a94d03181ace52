package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// explain is why the request went to its backend, a sentence for each step.
func explain(d *requestRecord) []string {
	var why []string
	if d.eligible == 0 && len(d.candidates) == 0 {
		return []string{rejectedBeforeSelection(d)}
	}
	for i := range d.candidates {
		if c := &d.candidates[i]; proxy.PassedOver(c, d.attempts) {
			why = append(why, skipped(d, c))
		}
	}
	if d.eligible == 0 {
		why = append(why, "No backend was left to try.")
	}
	for i := range d.attempts {
		why = append(why, attempted(d, i))
	}
	if d.waited > 0 {
		why = append(why, fmt.Sprintf("It waited %s until a backend could be tried.", formatDuration(d.waited)))
	}
	if d.pool != "" && d.pool != d.model {
		why = append(why, fmt.Sprintf("Every backend of %s was exhausted, so its fallback %s was tried.", d.model, d.pool))
	}
	return append(why, finalOutcome(d))
}

func rejectedBeforeSelection(d *requestRecord) string {
	text := fmt.Sprintf("Rejected with %d", d.status)
	if d.code != "" {
		text += " (" + d.code + ")"
	}
	text += " before a backend was selected"
	if d.cause != "" {
		text += ": " + d.cause
	}
	return text + "."
}

func skipped(d *requestRecord, c *balancer.Candidate) string {
	text := fmt.Sprintf("%s (priority %d) was skipped: %s", c.Backend.Name, c.Backend.Priority, c.Reason)
	if c.Cause != "" {
		text += " (" + c.Cause + ")"
	}
	if c.Own {
		text += " on this instance alone"
	}
	if left := c.Until.Sub(d.began); left > 0 {
		text += " for another " + formatDuration(left)
	}
	return text + "."
}

// attempted is the sentence about an attempt.
func attempted(d *requestRecord, i int) string {
	a := &d.attempts[i]
	text := fmt.Sprintf("%s (priority %d) was tried ", a.Backend.Name, a.Backend.Priority)
	switch {
	case a.Probe:
		text += "as the half-open probe"
	case a.Trial:
		text += "although its circuit was open, because no other backend was left,"
	case a.Repeat:
		text += "once more, because no other backend was left,"
	case a.Hedge:
		text += "besides, because the one before was slow,"
	case i == 0:
		text += "first"
	default:
		text += "next"
	}
	return text + " and " + attemptOutcome(a) + "."
}

func attemptOutcome(a *proxy.Attempt) string {
	took := formatDuration(a.Duration)
	if a.Silent {
		took += ", silent for longer than " + formatDuration(a.SilentAfter)
	}
	because, wait := "", ""
	if a.Outcome.RawWait > 0 {
		wait = ", wait " + formatDuration(a.Outcome.RawWait)
	}
	if a.Outcome.Reason != "" {
		because = " (" + a.Outcome.Reason + wait + ")"
	}
	switch a.Outcome.Class {
	case health.Served:
		return fmt.Sprintf("served with %d in %s", a.Status, took)
	case health.Throttled:
		return "was throttled" + because + " after " + took
	case health.Failed:
		return "failed" + because + " after " + took
	case health.Misconfigured:
		return "refused our credential or deployment" + because + " after " + took
	case health.Abandoned:
		return "was abandoned" + because + " after " + took
	}
	return "ended after " + took
}

func finalOutcome(d *requestRecord) string {
	text := fmt.Sprintf("The caller got %d", d.status)
	switch {
	case d.broken:
		return text + ", and the response was cut off: it ended with an error event and an aborted connection."
	case d.served != nil:
		return fmt.Sprintf("%s from %s in %s.", text, d.served.Name, formatDuration(d.took))
	}
	if d.errText != "" {
		text += ": " + strings.TrimPrefix(d.errText, "proxy: ")
	}
	if left := d.retryAt.Sub(d.began); left > 0 {
		text += "; the first backend reopens " + formatDuration(left) + " later"
	}
	return text + "."
}

// formatDuration is a duration for people, in milliseconds where they matter.
func formatDuration(d time.Duration) string {
	in := func(n float64, unit string, digits int) string {
		text := strconv.FormatFloat(n, 'f', digits, 64)
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text + " " + unit
	}
	switch {
	case d < 10*time.Millisecond:
		return in(d.Seconds()*1000, "ms", 2)
	case d < time.Second:
		return in(d.Seconds()*1000, "ms", 0)
	case d < 10*time.Second:
		return in(d.Seconds(), "s", 3)
	case d < 2*time.Minute:
		return in(d.Seconds(), "s", 1)
	}
	return in(d.Minutes(), "min", 1)
}
