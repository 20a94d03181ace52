package admin

import (
	"cmp"
	"encoding/csv"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sumBy adds up the rows that agree in these dimensions and in the currency.
func sumBy(rows []UsageRow, by []string) []UsageRow {
	at := map[UsageRow]int{}
	var sums []UsageRow
	for i := range rows {
		key := keyOf(&rows[i], by)
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

// keyOf is the row with nothing but what it is summed by.
func keyOf(r *UsageRow, by []string) UsageRow {
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

func line(r *UsageRow, by []string) UsageLine {
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

// sheet writes the rows for a spreadsheet, in which no name may become a
// formula.
func sheet(w http.ResponseWriter, by []string, rows []UsageRow) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="spillway-usage.csv"`)
	out := csv.NewWriter(w)
	_ = out.Write(append(slices.Clone(by), "requests", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cost", "currency", "unmetered_requests"))
	for i := range rows {
		r := &rows[i]
		var fields []string
		for _, d := range by {
			fields = append(fields, harmless(map[string]string{
				"hour": r.Hour.Format(time.RFC3339), "consumer": r.Consumer, "model": r.Model, "backend": r.Backend,
			}[d]))
		}
		for _, n := range []int64{r.Requests, r.Tokens.Prompt, r.Tokens.Cached, r.Tokens.Completion, r.Tokens.Reasoning} {
			fields = append(fields, strconv.FormatInt(n, 10))
		}
		_ = out.Write(append(fields, strconv.FormatFloat(math.Round(r.Cost*1e6)/1e6, 'f', -1, 64), harmless(r.Currency), strconv.FormatInt(r.Unmetered, 10)))
	}
	out.Flush()
}

func harmless(text string) string {
	if strings.ContainsAny(text[:min(len(text), 1)], "=+-@\t\r") {
		return "'" + text
	}
	return text
}
