package admin

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"spillway/handler/internal/accounting"
)

// Usage is the response of /ops/api/usage: rows in ascending order of their
// dimensions, and the total, with a row for each currency. A row has the columns of
// accounting.Columns by their names, as `spillway usage --json` prints them.
type Usage struct {
	From  time.Time        `json:"from"`
	To    time.Time        `json:"to"`
	By    []string         `json:"by"`
	Rows  []map[string]any `json:"rows"`
	Total []map[string]any `json:"total"`
}

func (o *Handler) serveUsage(w http.ResponseWriter, r *http.Request) {
	q, problem := readUsageQuery(r, o.cfg.Now())
	if problem != "" {
		writeError(w, http.StatusBadRequest, "invalid_query", problem)
		return
	}
	rows, err := o.cfg.UsageRows(r.Context(), q.from, q.to)
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, "usage_unavailable", "Usage cannot be read: "+truncate(err.Error())+". Try again when the table answers.")
		return
	}
	summed, _ := accounting.Summarize(rows, q.by) // the query was checked
	if q.csv {
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="spillway-usage.csv"`)
		_ = accounting.WriteCSV(w, q.by, summed)
		return
	}
	total, _ := accounting.Summarize(rows, nil)
	writeJSON(w, http.StatusOK, Usage{From: q.from, To: q.to, By: q.by, Rows: accounting.Objects(q.by, summed), Total: accounting.Objects(nil, total)})
}

// maxUsageSpan bounds the time of one response.
const maxUsageSpan = 400 * 24 * time.Hour

// usageQuery is the query of a request for usage.
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
	if span := q.to.Sub(q.from); span <= 0 || span > maxUsageSpan {
		return q, "from must be before to, by at most 400 days."
	}
	if text := values.Get("by"); text != "" {
		q.by = strings.Split(text, ",")
	}
	if _, err := accounting.Summarize(nil, q.by); err != nil {
		return q, "by: " + err.Error() + "."
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
