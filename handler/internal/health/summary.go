package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Summary says which failures open a circuit, of how many outcomes, and within which
// time: "5 of 7 within 1.2s: 503 (4), silent (1)". They are those of the interval, or
// of the run since the last success, or since the last answer that came to its end
// where answers break off.
func (e *Evidence) Summary(now time.Duration, s Successes, p BreakerPolicy) string {
	from, broke := min(now-p.Interval, max(s.Last, now-MaxRunAge)), e.Broke(s.Ended)
	counts, total, first := map[string]int{}, 0, now
	for _, f := range e.failures {
		if f.at > from || broke && f.order > s.Ended && f.at > now-MaxRunAge {
			total, first = total+1, min(first, f.at)
			counts[f.reason]++
		}
	}
	return fmt.Sprintf("%d of %d within %s: %s", total, int64(total)+s.Lately, (now - first).Round(100*time.Millisecond), countsText(counts))
}

// SuspicionSummary says by which suspicions the sum opens a circuit, the given one
// included: "5 at 2 instances: a (3), b (2)". name is an instance's name by its short id.
func (c Circuit) SuspicionSummary(last Suspicion, now TimeBounds, name func(reporter string) string) string {
	counts, total := map[string]int{}, 0
	for _, s := range c.suspect(last, now).Suspicions {
		if !c.counts(s, now) {
			continue
		}
		counts[name(s.Reporter)] += s.Failures
		total += s.Failures
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("%d at %d instances: %s", total, len(counts), countsText(counts))
}

// maxNamed bounds the list of a text.
const maxNamed = 4

// countsText names those with the most first.
func countsText(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
	var parts []string
	for _, name := range names[:min(len(names), maxNamed)] {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, counts[name]))
	}
	if more := len(names) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}
