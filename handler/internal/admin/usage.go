package admin

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/openai/usage"
)

// UsageRow is tokens and cost of one hour, consumer, model and backend, across all
// instances. A field that rows are summed over is zero.
type UsageRow struct {
	Hour      time.Time    // the beginning, UTC
	Consumer  string       // "" = none
	Model     string       // that served
	Backend   string       // that served
	Requests  int64        // that were served
	Unmetered int64        // of Requests, those without reported usage
	Broken    int64        // of Requests, those whose answer broke off
	Tokens    usage.Tokens // as the backends reported them, or as estimated
	Cost      float64
	Currency  string

	Estimated     usage.Tokens // of Tokens, those that no backend reported
	EstimatedCost float64      // of Cost
}

// Usage is the response of /ops/api/usage: rows in ascending order of their
// dimensions, and the total, with a row for each currency.
type Usage struct {
	From  time.Time   `json:"from"`
	To    time.Time   `json:"to"`
	By    []string    `json:"by"`
	Rows  []UsageLine `json:"rows"`
	Total []UsageLine `json:"total"`
}

// UsageLine is a row as it is sent.
type UsageLine struct {
	Hour       *time.Time `json:"hour,omitempty"`
	Consumer   *string    `json:"consumer,omitempty"`
	Model      *string    `json:"model,omitempty"`
	Backend    *string    `json:"backend,omitempty"`
	Requests   int64      `json:"requests"`
	Unmetered  int64      `json:"unmeteredRequests"`
	Prompt     int64      `json:"promptTokens"`
	Cached     int64      `json:"cachedTokens"`
	Completion int64      `json:"completionTokens"`
	Reasoning  int64      `json:"reasoningTokens"`
	Cost       float64    `json:"cost"`
	Currency   string     `json:"currency,omitempty"`
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
	summed := sumBy(rows, q.by)
	if q.csv {
		writeUsageCSV(w, q.by, summed)
		return
	}
	u := Usage{From: q.from, To: q.to, By: q.by, Rows: []UsageLine{}, Total: []UsageLine{}}
	for i := range summed {
		u.Rows = append(u.Rows, usageLine(&summed[i], q.by))
	}
	for _, row := range sumBy(rows, nil) {
		u.Total = append(u.Total, usageLine(&row, nil))
	}
	writeJSON(w, http.StatusOK, u)
}

// dimensions are what usage can be grouped by.
var dimensions = []string{"hour", "consumer", "model", "backend"}

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
	for _, d := range q.by {
		if !slices.Contains(dimensions, d) {
			return q, fmt.Sprintf("by=%q is unknown. Use %s, separated by commas.", d, strings.Join(dimensions, ", "))
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

// sumBy adds up the rows with the same dimensions and currency.
func sumBy(rows []UsageRow, by []string) []UsageRow {
	at := map[UsageRow]int{}
	var sums []UsageRow
	for i := range rows {
		key := groupKey(&rows[i], by)
		n, ok := at[key]
		if !ok {
			n = len(sums)
			at[key], sums = n, append(sums, key)
		}
		s := &sums[n]
		s.Requests += rows[i].Requests
		s.Unmetered += rows[i].Unmetered
		s.Tokens = s.Tokens.Add(rows[i].Tokens)
		s.Cost += rows[i].Cost
	}
	slices.SortFunc(sums, func(a, b UsageRow) int {
		return cmp.Or(a.Hour.Compare(b.Hour), strings.Compare(a.Consumer, b.Consumer), strings.Compare(a.Model, b.Model),
			strings.Compare(a.Backend, b.Backend), strings.Compare(a.Currency, b.Currency))
	})
	return sums
}

// groupKey is the row with only its dimensions and currency.
func groupKey(r *UsageRow, by []string) UsageRow {
	key := UsageRow{Currency: r.Currency}
	for _, d := range by {
		switch d {
		case "hour":
			key.Hour = r.Hour.UTC().Truncate(time.Hour)
		case "consumer":
			key.Consumer = r.Consumer
		case "model":
			key.Model = r.Model
		case "backend":
			key.Backend = r.Backend
		}
	}
	return key
}

func usageLine(r *UsageRow, by []string) UsageLine {
	l := UsageLine{
		Requests: r.Requests, Unmetered: r.Unmetered, Prompt: r.Tokens.Prompt, Cached: r.Tokens.Cached, Completion: r.Tokens.Completion,
		Reasoning: r.Tokens.Reasoning, Cost: r.Cost, Currency: r.Currency,
	}
	for _, d := range by {
		switch d {
		case "hour":
			l.Hour = &r.Hour
		case "consumer":
			l.Consumer = &r.Consumer
		case "model":
			l.Model = &r.Model
		case "backend":
			l.Backend = &r.Backend
		}
	}
	return l
}

// writeUsageCSV writes the rows as CSV. No name becomes a formula in a spreadsheet.
func writeUsageCSV(w http.ResponseWriter, by []string, rows []UsageRow) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="spillway-usage.csv"`)
	out := csv.NewWriter(w)
	_ = out.Write(append(slices.Clone(by), "requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost", "currency", "unmetered_requests"))
	for i := range rows {
		r := &rows[i]
		var fields []string
		for _, d := range by {
			fields = append(fields, csvSafe(map[string]string{
				"hour": r.Hour.Format(time.RFC3339), "consumer": r.Consumer, "model": r.Model, "backend": r.Backend,
			}[d]))
		}
		for _, n := range []int64{r.Requests, r.Tokens.Prompt, r.Tokens.Cached, r.Tokens.Completion, r.Tokens.Reasoning} {
			fields = append(fields, strconv.FormatInt(n, 10))
		}
		_ = out.Write(append(fields, strconv.FormatFloat(math.Round(r.Cost*1e6)/1e6, 'f', -1, 64), csvSafe(r.Currency), strconv.FormatInt(r.Unmetered, 10)))
	}
	out.Flush()
}

func csvSafe(text string) string {
	if strings.ContainsAny(text[:min(len(text), 1)], "=+-@\t\r") {
		return "'" + text
	}
	return text
}
