package accounting

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Column is one column of a usage report. Commands, files and the API have the same.
type Column struct {
	Name  string
	Value func(r *Row) any // a string, an int64 or a float64
}

// Columns are those of a report that is summed by these fields: the fields, and
// then the totals. Of the totals, the estimated ones are the part that no backend
// reported.
func Columns(by []string) []Column {
	var all []Column
	for _, field := range by {
		all = append(all, Column{field, dimensions[field]})
	}
	return append(all, totals...)
}

var dimensions = map[string]func(r *Row) any{
	"hour":     func(r *Row) any { return r.Hour.Format("2006-01-02T15:04Z") },
	"day":      func(r *Row) any { return r.Hour.Format(time.DateOnly) },
	"month":    func(r *Row) any { return r.Hour.Format("2006-01") },
	"consumer": func(r *Row) any { return r.Consumer },
	"caller":   func(r *Row) any { return r.Caller },
	"model":    func(r *Row) any { return r.Model },
	"backend":  func(r *Row) any { return r.Backend },
	"tier":     func(r *Row) any { return r.Tier },
}

var totals = []Column{
	{"requests", func(r *Row) any { return r.Requests }},
	{"prompt", func(r *Row) any { return r.Tokens.Prompt }},
	{"cached", func(r *Row) any { return r.Tokens.Cached }},
	{"completion", func(r *Row) any { return r.Tokens.Completion }},
	{"reasoning", func(r *Row) any { return r.Tokens.Reasoning }},
	{"cost", func(r *Row) any { return r.Cost.Amount() }},
	{"currency", func(r *Row) any { return r.Currency }},
	{"unmetered", func(r *Row) any { return r.Unmetered }},
	{"broken", func(r *Row) any { return r.Broken }},
	{"estimated_prompt", func(r *Row) any { return r.Estimated.Prompt }},
	{"estimated_completion", func(r *Row) any { return r.Estimated.Completion }},
	{"estimated_cost", func(r *Row) any { return r.EstimatedCost.Amount() }},
	{"cache_write", func(r *Row) any { return r.Tokens.CacheWrite }},
	{"audio_input", func(r *Row) any { return r.Tokens.AudioInput }},
	{"audio_output", func(r *Row) any { return r.Tokens.AudioOutput }},
	{"images", func(r *Row) any { return r.Tokens.Images }},
	{"audio_seconds", func(r *Row) any { return r.Tokens.Seconds }},
	{"cache_write_hour", func(r *Row) any { return r.Tokens.CacheWriteHour }},
}

// Objects are rows by the names of their columns.
func Objects(by []string, rows []Row) []map[string]any {
	all := make([]map[string]any, len(rows))
	for i := range rows {
		all[i] = map[string]any{}
		for _, c := range Columns(by) {
			all[i][c.Name] = c.Value(&rows[i])
		}
	}
	return all
}

// WriteCSV writes a line of names, and the rows.
func WriteCSV(out io.Writer, by []string, rows []Row) error {
	w, columns := csv.NewWriter(out), Columns(by)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	_ = w.Write(names) // w.Error returns the first error
	for i := range rows {
		_ = w.Write(Cells(columns, &rows[i]))
	}
	w.Flush()
	return w.Error()
}

// Cells are the texts of a row.
func Cells(columns []Column, r *Row) []string {
	var all []string
	for _, c := range columns {
		switch v := c.Value(r).(type) {
		case float64:
			all = append(all, strconv.FormatFloat(v, 'f', -1, 64))
		case string:
			all = append(all, cellSafe(v))
		default:
			all = append(all, fmt.Sprint(v))
		}
	}
	return all
}

// cellSafe is a text for a cell of a spreadsheet: no name becomes a formula.
func cellSafe(text string) string {
	if strings.ContainsAny(text[:min(len(text), 1)], "=+-@\t\r") {
		return "'" + text
	}
	return text
}
