package classify

import (
	"math"
	"testing"
	"time"

	"spillway/handler/internal/health"
)

var received = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestRetryAfterForms(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	type pairs = map[string][]string
	tests := []struct {
		name      string
		header    pairs
		text      string
		wait, raw time.Duration
	}{
		{"nothing", nil, "", 10 * s, 0},
		{"milliseconds win over seconds", pairs{"Retry-After-Ms": {"250"}, "Retry-After": {"7"}}, "", 250 * ms, 250 * ms},
		{"a fraction of a millisecond", pairs{"Retry-After-Ms": {"0.5"}}, "", 500 * time.Microsecond, 500 * time.Microsecond},
		{"the longer name", pairs{"X-Ms-Retry-After-Ms": {"300"}, "Retry-After": {"7"}}, "", 300 * ms, 300 * ms},
		{"seconds", pairs{"Retry-After": {"2"}}, "Please retry after 60 seconds", 2 * s, 2 * s},
		{"a fraction of a second", pairs{"Retry-After": {" 1.5 "}}, "", 1500 * ms, 1500 * ms},
		{"zero milliseconds, then seconds", pairs{"Retry-After-Ms": {"0"}, "Retry-After": {"3"}}, "", 3 * s, 3 * s},
		{"zero", pairs{"Retry-After": {"0"}}, "", s, 0},
		{"zero, and a text", pairs{"Retry-After": {"0"}}, "retry after 4 seconds", 4 * s, 4 * s},
		{"negative", pairs{"Retry-After": {"-5"}}, "", 10 * s, 0},
		{"letters", pairs{"Retry-After": {"abc"}, "Retry-After-Ms": {""}}, "", 10 * s, 0},
		{"not finite", pairs{"Retry-After": {"inf"}, "Retry-After-Ms": {"NaN"}}, "", 10 * s, 0},
		{"in hexadecimal", pairs{"Retry-After": {"0x10"}}, "", 10 * s, 0},
		{"two, the first of them broken", pairs{"Retry-After": {"x", "4"}}, "", 4 * s, 4 * s},
		{"a day", pairs{"Retry-After": {"86400"}}, "", 300 * s, 86400 * s},
		{"an endless wait", pairs{"Retry-After": {"1e300"}}, "", 300 * s, math.MaxInt64},
		{"a date", pairs{"Retry-After": {"Sat, 21 Nov 2026 12:00:30 GMT"}}, "", 30 * s, 30 * s},
		{"a date with the backend's Date", pairs{"Retry-After": {"Fri, 20 Nov 2026 03:00:09 GMT"}, "Date": {"Fri, 20 Nov 2026 03:00:00 GMT"}}, "", 9 * s, 9 * s},
		{"a date with an invalid Date", pairs{"Retry-After": {"Sat, 21 Nov 2026 12:00:08 GMT"}, "Date": {"yesterday"}}, "", 8 * s, 8 * s},
		{"a date of RFC 850", pairs{"Retry-After": {"Saturday, 21-Nov-26 12:00:06 GMT"}}, "", 6 * s, 6 * s},
		{"a date in the past", pairs{"Retry-After": {"Sat, 21 Nov 2026 11:00:00 GMT"}}, "", s, 0},
		{"a reset", pairs{"X-Ratelimit-Reset-Requests": {"8"}, "X-Ratelimit-Reset-Tokens": {"40"}}, "", 8 * s, 8 * s},
		{"a reset of the other limit", pairs{"X-Ratelimit-Reset-Requests": {"0"}, "X-Ratelimit-Reset-Tokens": {"40"}}, "", 40 * s, 40 * s},
		{"a reset in minutes", pairs{"X-Ratelimit-Reset-Tokens": {"4m0s"}}, "", 240 * s, 240 * s},
		{"a reset in milliseconds", pairs{"X-Ratelimit-Reset-Requests": {"20ms"}}, "", 20 * ms, 20 * ms},
		{"a reset of nothing", pairs{"X-Ratelimit-Reset-Requests": {"0"}, "X-Ratelimit-Reset-Tokens": {"-3"}}, "", 10 * s, 0},
		{"a reset at an instant", pairs{"X-Ratelimit-Reset-Requests": {"1795262400"}}, "", 10 * s, 0},
		{"a header before the reset", pairs{"X-Ratelimit-Reset-Requests": {"8"}, "Retry-After": {"5"}}, "", 5 * s, 5 * s},
		{"the classic text", nil, "…S0 pricing tier. Please retry after 60 seconds. Please go here: …", 60 * s, 60 * s},
		{"the short text", nil, "Rate limit is exceeded. Try again in 2 seconds.", 2 * s, 2 * s},
		{"one second", nil, "retry after 1 second", s, s},
		{"milliseconds in text", nil, "Please try again in 120ms.", 120 * ms, 120 * ms},
		{"milliseconds, spelt out", nil, "Please retry after 900 milliseconds.", 900 * ms, 900 * ms},
		{"a duration in text", nil, "Please try again in 1m6.5s.", 66500 * ms, 66500 * ms},
		{"a day in text", nil, "Please retry after 86400 seconds", 300 * s, 86400 * s},
		{"minutes in text", nil, "retry after 2 minutes", 120 * s, 120 * s},
		{"a text that names no time", nil, "Please retry after a while. In 3 regions.", 10 * s, 0},
	}
	for _, tt := range tests {
		wait, raw := retryWaits(tt.header, health.LimitUnknown, tt.text, received, &Policy{})
		if wait != tt.wait || raw != tt.raw {
			t.Errorf("%s: %v (%v), want %v (%v)", tt.name, wait, raw, tt.wait, tt.raw)
		}
	}
}

func TestResetOfTheLimitThatWasReached(t *testing.T) {
	header := map[string][]string{"X-Ratelimit-Reset-Requests": {"8"}, "X-Ratelimit-Reset-Tokens": {"40"}}
	for kind, want := range map[health.LimitKind]time.Duration{health.LimitTokens: 40 * time.Second, health.LimitRequests: 8 * time.Second} {
		if got, _ := retryWaits(header, kind, "", received, &Policy{}); got != want {
			t.Errorf("kind %d: %v, want %v", kind, got, want)
		}
	}
}

func TestRetryAfterFollowsThePolicy(t *testing.T) {
	seconds := func(s string) map[string][]string { return map[string][]string{"Retry-After": {s}} }
	tests := []struct {
		name      string
		policy    Policy
		header    map[string][]string
		wait, raw time.Duration
	}{
		{"a cap", Policy{MaxWait: 5 * time.Second}, seconds("7"), 5 * time.Second, 7 * time.Second},
		{"a cap below the default", Policy{MaxWait: 5 * time.Second}, nil, 5 * time.Second, 0},
		{"a cap below the minimum", Policy{MaxWait: 100 * time.Millisecond}, seconds("0"), 100 * time.Millisecond, 0},
		{"a default", Policy{DefaultWait: 3 * time.Second}, nil, 3 * time.Second, 0},
		{"ignored waits", Policy{IgnoreWaits: true, DefaultWait: 3 * time.Second}, seconds("60"), 3 * time.Second, 60 * time.Second},
	}
	for _, tt := range tests {
		wait, raw := retryWaits(tt.header, health.LimitUnknown, "", received, &tt.policy)
		if wait != tt.wait || raw != tt.raw {
			t.Errorf("%s: %v (%v), want %v (%v)", tt.name, wait, raw, tt.wait, tt.raw)
		}
	}
}

// FuzzRetryWaits checks that the wait is positive and within the bound, and the
// named one not negative, whatever an answer names.
func FuzzRetryWaits(f *testing.F) {
	for _, v := range []string{"0", "-1", "1e400", "86400", "0.0001", "Sat, 21 Nov 2026 11:00:00 GMT", "6m0s", "٣"} {
		f.Add(v, v, v, "retry after "+v+" seconds", int64(time.Minute), int64(0))
	}
	f.Fuzz(func(t *testing.T, after, ms, reset, text string, limit, preset int64) {
		header := map[string][]string{"Retry-After": {after}, "Retry-After-Ms": {ms}, "X-Ratelimit-Reset-Tokens": {reset}, "Date": {after}}
		p := Policy{MaxWait: time.Duration(limit), DefaultWait: time.Duration(preset)}
		wait, raw := retryWaits(header, health.LimitTokens, text, received, &p)
		if wait <= 0 || wait > p.maxWait() || raw < 0 {
			t.Fatalf("a wait of %v (%v), at most %v", wait, raw, p.maxWait())
		}
	})
}

func TestSignals(t *testing.T) {
	type pairs = map[string][]string
	const (
		util     = "Azure-Openai-Deployment-Utilization"
		tokens   = "X-Ratelimit-Remaining-Tokens"
		requests = "X-Ratelimit-Remaining-Requests"
		limit    = "X-Ratelimit-Limit-Tokens"
		rate     = "X-Ratelimit-Limit-Requests"
	)
	tests := map[string]struct {
		header                            pairs
		util                              float64
		remTokens, remRequests, limTokens int64
	}{
		"none":             {nil, -1, -1, -1, -1},
		"pay as you go":    {pairs{tokens: {"61353"}, requests: {"79"}, limit: {"100000"}, rate: {"180"}}, -1, 61353, 79, 100000},
		"no limits":        {pairs{tokens: {"61353"}, requests: {"79"}}, -1, 61353, 79, -1},
		"unknown limits":   {pairs{tokens: {"-1"}, requests: {"-1"}, limit: {"-1"}, rate: {"-1"}}, -1, -1, -1, -1},
		"limits of zero":   {pairs{tokens: {"5"}, requests: {"5"}, limit: {"0"}, rate: {"0"}}, -1, -1, -1, -1},
		"below zero":       {pairs{tokens: {"-27689"}, limit: {"30000"}}, -1, -1, -1, 30000},
		"used up":          {pairs{tokens: {"0"}, requests: {"0"}, limit: {"30000"}, rate: {"180"}}, -1, 0, 0, 30000},
		"provisioned":      {pairs{util: {"94.5%"}}, 94.5, -1, -1, -1},
		"a burst":          {pairs{util: {"103%"}}, 103, -1, -1, -1},
		"without the sign": {pairs{util: {" 12 "}}, 12, -1, -1, -1},
		"nonsense":         {pairs{util: {"NaN%"}, tokens: {"many"}, requests: {""}, limit: {"1e3"}}, -1, -1, -1, -1},
		"below and beyond": {pairs{util: {"-3%"}}, -1, -1, -1, -1},
		"absurd":           {pairs{util: {"99999%"}}, -1, -1, -1, -1},
		"empty":            {pairs{util: {}, tokens: {}}, -1, -1, -1, -1},
	}
	for name, tt := range tests {
		got := Signals(tt.header)
		if got.Utilization != tt.util || got.RemainingTokens != tt.remTokens || got.RemainingRequests != tt.remRequests || got.LimitTokens != tt.limTokens {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSignalsDoNotAllocate(t *testing.T) {
	header := map[string][]string{"X-Ratelimit-Remaining-Tokens": {"61353"}, "X-Ratelimit-Limit-Tokens": {"100000"}, "Azure-Openai-Deployment-Utilization": {"94.5%"}}
	if n := testing.AllocsPerRun(100, func() { _ = Signals(header) }); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}
