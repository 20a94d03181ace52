package classify

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/health"
)

// minWait is the wait for an answer that names a wait of zero, or an instant in
// the past: obeyed as it is, it would be asked without end.
const minWait = time.Second

// retryWaits is how long an answer asks for a pause: wait as it is obeyed, in
// (0, MaxWait], and raw as it was named, 0 when none was. The first of the
// sources in docs/azure-openai.md#retry-after that names an instant in the
// future counts.
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

// waitFromHeaders reads retry-after-ms and its kin. asked is true when one of
// them was understood, even if it names zero or an instant in the past.
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

// waitFromReset reads the rate limit's reset headers: that of the limit that
// was reached, if it is known. A reset of 0 means unknown.
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
			// A larger number is an instant.
			if d > 0 && d < 1e9*time.Second {
				return d
			}
		}
	}
	return 0
}

// waitText matches "retry after 7 seconds", "Try again in 2 seconds", "in
// 6m0s".
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

// parseNumber reads a number of units that is finite and not negative. It
// saturates.
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

// parseDuration reads "6m0s", "1s" or "20ms"; 0 when it is none, or negative.
func parseDuration(s string) time.Duration {
	d, err := time.ParseDuration(strings.ToLower(strings.TrimSpace(s)))
	if err != nil {
		return 0
	}
	return max(d, 0)
}

// untilDate is the time from the answer's own Date to the date in its
// Retry-After: both are of the backend's clock.
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

// parseDate reads a date in the forms that HTTP allows.
func parseDate(s string) (time.Time, bool) {
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if t, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// Signals is what an answer's headers report of its backend's load. Limits of 0
// or less make all of their kind unknown, and so does a negative remainder
// (docs/azure-openai.md#rate-limit-headers). Header names are in net/http's
// canonical form.
func Signals(header map[string][]string) health.Signals {
	s := health.Signals{
		Utilization:       parsePercent(header["Azure-Openai-Deployment-Utilization"]),
		RemainingTokens:   parseAmount(header["X-Ratelimit-Remaining-Tokens"]),
		RemainingRequests: parseAmount(header["X-Ratelimit-Remaining-Requests"]),
		LimitTokens:       parseAmount(header["X-Ratelimit-Limit-Tokens"]),
	}
	if isUnknownLimit(header["X-Ratelimit-Limit-Tokens"]) {
		s.LimitTokens, s.RemainingTokens = -1, -1
	}
	if isUnknownLimit(header["X-Ratelimit-Limit-Requests"]) {
		s.RemainingRequests = -1
	}
	return s
}

// isUnknownLimit reports whether a limit is present and 0 or less.
func isUnknownLimit(values []string) bool { return len(values) > 0 && parseAmount(values) <= 0 }

// parseAmount reads a whole number, -1 when it is none or negative.
func parseAmount(values []string) int64 {
	if len(values) == 0 {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(values[0]), 10, 64)
	if err != nil {
		return -1
	}
	return max(n, -1)
}

// parsePercent reads "94.5%", -1 when it is none. Short bursts exceed 100 %;
// more than 1,000 % is invalid.
func parsePercent(values []string) float64 {
	if len(values) == 0 {
		return -1
	}
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(values[0]), "%"))
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1000 {
		return -1
	}
	return f
}
