package classify

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/health"
)

// minWait is the wait for an answer that asks to be tried again at once, or
// ahead of its own clock: taken at its word it would be asked without end.
const minWait = time.Second

// retryWaits is how long an answer asks to be left alone: wait as it should be
// obeyed, in (0, MaxWait], raw as it was said, 0 when it said nothing. The
// first of these that is a time in the future counts (facts/azure-openai.md
// §3.4): retry-after-ms, x-ms-retry-after-ms, retry-after, x-ratelimit-reset-*,
// the text, the default.
func retryWaits(header map[string][]string, kind health.LimitKind, text string, now time.Time, p *Policy) (wait, raw time.Duration) {
	raw, asked := waitFromHeaders(header, now)
	if raw <= 0 {
		raw = waitFromReset(header, kind)
	}
	if raw <= 0 {
		raw = waitFromText(text)
	}
	switch {
	case p.IgnoreWaits || raw <= 0 && !asked:
		wait = p.defaultWait()
	case raw <= 0:
		wait = minWait
	default:
		wait = raw
	}
	return min(wait, p.maxWait()), max(raw, 0)
}

// waitFromHeaders is the wait of the headers made for it. asked is true when one
// of them was understood, though it may say zero or an instant that has passed.
func waitFromHeaders(header map[string][]string, now time.Time) (raw time.Duration, asked bool) {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		for _, v := range header[name] {
			d, ok := parseNumber(v, time.Millisecond)
			asked = asked || ok
			if d > 0 {
				return d, true
			}
		}
	}
	for _, v := range header["Retry-After"] {
		d, ok := parseNumber(v, time.Second)
		if !ok {
			d, ok = untilDate(v, header, now)
		}
		asked = asked || ok
		if d > 0 {
			return d, true
		}
	}
	return 0, asked
}

// waitFromReset is the wait of the rate limit's own headers: of the limit that
// was reached, if it is known. A reset of 0 is a quirk and says nothing.
func waitFromReset(header map[string][]string, kind health.LimitKind) time.Duration {
	names := [2]string{"X-Ratelimit-Reset-Requests", "X-Ratelimit-Reset-Tokens"}
	if kind == health.LimitTokens {
		names[0], names[1] = names[1], names[0]
	}
	for _, name := range names {
		for _, v := range header[name] {
			d, ok := parseNumber(v, time.Second)
			if !ok {
				d = parseDuration(v)
			}
			// A larger number is an instant, in whatever epoch.
			if d > 0 && d < 1e9*time.Second {
				return d
			}
		}
	}
	return 0
}

// waitText finds "retry after 7 seconds", "Try again in 2 seconds", "in 6m0s".
var waitText = regexp.MustCompile(`(?i)(?:retry after|again in|retry in) +([0-9][0-9.]{0,15})(?: *(milliseconds?|seconds?|minutes?|hours?)\b|((?:ms|[hms])[0-9hms.]{0,20}))`)

// waitFromText is the wait that the message of an error names.
func waitFromText(text string) time.Duration {
	m := waitText.FindStringSubmatch(text[:min(len(text), 4096)])
	if m == nil {
		return 0
	}
	if m[3] != "" {
		return parseDuration(strings.TrimRight(m[1]+m[3], "."))
	}
	unit := time.Second
	switch strings.ToLower(m[2])[:2] {
	case "mi":
		unit = time.Minute
		if strings.HasPrefix(strings.ToLower(m[2]), "mil") {
			unit = time.Millisecond
		}
	case "ho":
		unit = time.Hour
	}
	d, _ := parseNumber(m[1], unit)
	return d
}

// parseNumber reads a parseNumber of units that is finite and not negative. It saturates.
func parseNumber(s string, unit time.Duration) (time.Duration, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 || strings.ContainsAny(s, "xX_pP") {
		return 0, false
	}
	f *= float64(unit)
	if f >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(f), true
}

// parseDuration reads "6m0s", "1s" or "20ms"; 0 when it is none or negative.
func parseDuration(s string) time.Duration {
	d, err := time.ParseDuration(strings.ToLower(strings.TrimSpace(s)))
	if err != nil {
		return 0
	}
	return max(d, 0)
}

// untilDate is the time from the answer's own Date to the date in its
// Retry-After: both are of one clock, which need not be ours.
func untilDate(s string, header map[string][]string, now time.Time) (time.Duration, bool) {
	then, ok := parseDate(s)
	if !ok {
		return 0, false
	}
	for _, v := range header["Date"] {
		if sent, ok := parseDate(v); ok {
			now = sent
		}
	}
	return then.Sub(now), true
}

// parseDate reads a parseDate in the forms that HTTP allows.
func parseDate(s string) (time.Time, bool) {
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if t, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
