package admin

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// The functions of this file format values on the server as format.js formats
// them in the browser.

// templateData is the argument of the templates of a group and of a backend.
type templateData struct {
	Pool    PoolStatus
	Group   GroupStatus
	Backend BackendStatus
}

func dataOf(p PoolStatus, g GroupStatus, b ...BackendStatus) templateData {
	s := templateData{Pool: p, Group: g}
	if len(b) > 0 {
		s.Backend = b[0]
	}
	return s
}

func toFloat(n int64) float64 { return float64(n) }

// formatCount separates the thousands.
func formatCount(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// formatCountdown is "" when nothing is counted down.
func formatCountdown(ms int64) string {
	if ms <= 0 {
		return ""
	}
	return "for another " + formatMS(float64(ms))
}

// formatMS is a rounded duration; a dash for none.
func formatMS(ms float64) string {
	switch {
	case ms <= 0:
		return "–"
	case ms < 999.5:
		return strconv.FormatFloat(ms, 'f', 0, 64) + "\u00a0ms"
	case ms < 9950:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + "\u00a0s"
	case ms < 119_500:
		return strconv.FormatFloat(ms/1000, 'f', 0, 64) + "\u00a0s"
	}
	return strconv.FormatFloat(ms/60_000, 'f', 0, 64) + "\u00a0min"
}

// sharePercent is the share of the pool's responses that the backend served.
func sharePercent(p PoolStatus, b BackendStatus) int64 {
	if p.Minute.Served == 0 {
		return 0
	}
	return (100*b.Minute.Served + p.Minute.Served/2) / p.Minute.Served
}

func shareText(p PoolStatus, b BackendStatus) string {
	if p.Minute.Served == 0 {
		return "no responses in the last minute"
	}
	return strconv.FormatInt(sharePercent(p, b), 10) + "\u00a0% of responses"
}

func describeBackend(b BackendStatus) string {
	text := "pay as you go"
	if b.Provisioned {
		text = "provisioned"
	}
	if b.Region != "" {
		text += ", " + b.Region
	}
	return text
}

// changeText is the last change of the backend, with its author and time.
func changeText(b BackendStatus) string {
	text := b.Why
	if text != "" && b.State == Available {
		text = "last change: " + text
	}
	at := b.ChangedAt
	if b.Drained != nil && b.Drained.By != "" {
		text, at = "by "+b.Drained.By, b.Drained.At
	}
	if text != "" && at != nil {
		text += ", " + formatClock(*at)
	}
	if b.Detail == "" || text == "" {
		return b.Detail + text
	}
	return b.Detail + "; " + text
}

func trafficText(m MinuteStatus) string {
	text := formatCount(m.Requests)
	if m.Throttled > 0 {
		text += ", " + formatCount(m.Throttled) + " throttled"
	}
	if m.Failed > 0 {
		text += ", " + formatCount(m.Failed) + " failed"
	}
	if m.Silent > 0 {
		text += ", " + formatCount(m.Silent) + " silent"
	}
	if m.Hedges > 0 {
		text += ", " + formatCount(m.Hedges) + " hedges"
	}
	return text
}

func formatPercent(p *float64) string {
	if p == nil {
		return "–"
	}
	return strconv.FormatFloat(*p, 'f', 0, 64) + "\u00a0%"
}

func formatClock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }

// quotaText is the use of a limit.
func quotaText(l LimitStatus) string {
	text := limitName(l.Limit)
	if l.Model != "" {
		text += " of " + l.Model
	}
	return fmt.Sprintf("%s: %s of %s, %s\u00a0%%", text, formatAmount(l.Amount-l.Remaining), formatAmount(l.Amount), strconv.FormatInt(int64(l.usedPercent()), 10))
}

// formatAmount is a number of tokens or requests, or an amount of money.
func formatAmount(n float64) string {
	if n == math.Trunc(n) {
		return formatCount(int64(n))
	}
	return strconv.FormatFloat(n, 'f', 2, 64)
}

func changeSource(c ChangeStatus) string {
	text := ""
	if c.Times > 1 {
		text = fmt.Sprintf("%d times", c.Times)
	}
	if c.By != "" {
		if text != "" {
			text += ", "
		}
		text += "reported by " + c.By
	}
	return text
}

// Key identifies a change.
func (c ChangeStatus) Key() string {
	return c.Slot + " " + c.Text + " " + strconv.FormatInt(c.At.UnixMilli(), 10)
}
