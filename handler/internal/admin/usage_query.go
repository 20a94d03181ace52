package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// dimensions are what usage can be asked by.
var dimensions = []string{"hour", "consumer", "model", "backend"}

// longestUsage is the longest time that one answer covers.
const longestUsage = 400 * 24 * time.Hour

// usageQuery is what a request for usage asks.
type usageQuery struct {
	from, to time.Time
	by       []string
	csv      bool
}

// readUsageQuery defaults to the last 24 hours by consumer and model.
func readUsageQuery(r *http.Request, now time.Time) (q usageQuery, problem string) {
	values := r.URL.Query()
	q = usageQuery{from: now.Add(-24 * time.Hour), to: now, by: []string{"consumer", "model"}, csv: values.Get("format") == "csv"}
	for _, end := range []struct {
		name string
		into *time.Time
	}{{"from", &q.from}, {"to", &q.to}} {
		text := values.Get(end.name)
		at, ok := readTime(text)
		switch {
		case text == "":
		case !ok:
			return q, fmt.Sprintf("%s=%q is no time. Write 2026-01-31 or 2026-01-31T12:00:00Z.", end.name, text)
		default:
			*end.into = at
		}
	}
	q.from, q.to = q.from.UTC().Truncate(time.Hour), q.to.UTC()
	if span := q.to.Sub(q.from); span <= 0 || span > longestUsage {
		return q, "from must be before to, by at most 400 days."
	}
	if text := values.Get("by"); text != "" {
		q.by = strings.Split(text, ",")
	}
	for _, d := range q.by {
		if !slices.Contains(dimensions, d) {
			return q, fmt.Sprintf("by=%q is unknown. Use %s, with commas between.", d, strings.Join(dimensions, ", "))
		}
	}
	return q, ""
}

func readTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
