package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
)

// usageFlags is the command line of `spillway usage`.
type usageFlags struct {
	from, to, by string
	csv, json    bool
}

// usageQuery is the time range and the grouping of usage.
type usageQuery struct {
	from, to time.Time
	by       []string
}

func usageCommand() *cobra.Command {
	var f usageFlags
	c := &cobra.Command{
		Use: "usage", Short: "Print the tokens and the cost of all instances",
		Long: "Prints the tokens and the cost of all instances, in whole hours of UTC. T is a day\n" +
			"(2026-11-01), an instant (2026-11-01T09:00:00Z), or how long ago (24h). The\ncommand needs the connection of the shared state, and nothing else.\n" + targetHelp,
		Example: "  spillway usage\n  spillway usage --from 24h --by hour,model\n  spillway usage --from 2026-10-01 --to 2026-11-01 --by consumer,backend --csv", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := f.query(c, time.Now().UTC())
			if err != nil {
				return err
			}
			return f.run(c, &q)
		},
	}
	c.Flags().StringVar(&f.from, "from", "", "`T` of the beginning (default: the first of this month)")
	c.Flags().StringVar(&f.to, "to", "", "`T` of the end (default: now)")
	c.Flags().StringVar(&f.by, "by", "consumer,model", "what to group by, separated by commas: one of hour, day and month; consumer, caller, model, backend, tier")
	c.Flags().BoolVar(&f.csv, "csv", false, "print CSV")
	jsonFlag(c, &f.json)
	return withTarget(c)
}

func (f *usageFlags) run(c *cobra.Command, q *usageQuery) error {
	cfg, err := loadForTable("usage", config.LoadConnection)
	if err != nil {
		return err
	}
	reader, err := app.NewUsageReader(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), tableTimeout)
	defer cancel()
	// Rows may come with an error, when some of them cannot be read.
	rows, err := reader.Summary(ctx, q.from, q.to, q.by)
	if rows == nil && err != nil {
		return err
	}
	write := printUsage
	if f.csv {
		write = printUsageCSV
	} else if f.json {
		write = printUsageJSON
	}
	return errors.Join(write(c.OutOrStdout(), q, rows), err)
}

func (f *usageFlags) query(c *cobra.Command, now time.Time) (usageQuery, error) {
	if f.csv && f.json {
		return usageQuery{}, errCSVAndJSON(c)
	}
	q := usageQuery{from: time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), to: now}
	for _, end := range []struct {
		flag, text string
		into       *time.Time
	}{{"from", f.from, &q.from}, {"to", f.to, &q.to}} {
		at, ok := parseTime(end.text, now)
		if end.text != "" && !ok {
			return q, usageError(c, "--%s %q is no time: write 2026-11-01, 2026-11-01T09:00:00Z, or 24h for a day ago", end.flag, end.text)
		}
		if ok {
			*end.into = at
		}
	}
	if !q.from.Before(q.to) {
		return q, usageError(c, "--from %s is not before --to %s", q.from.Format(time.RFC3339), q.to.Format(time.RFC3339))
	}
	if f.by != "" {
		q.by = strings.Split(f.by, ",")
	}
	if _, err := accounting.Summarize(nil, q.by); err != nil {
		return q, usageError(c, "--by: %w", err)
	}
	return q, nil
}

// parseTime reads a day, an instant, or a duration before now.
func parseTime(text string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	ago, err := time.ParseDuration(text)
	return now.Add(-ago.Abs()), err == nil
}

func printUsageCSV(out io.Writer, q *usageQuery, rows []accounting.Row) error {
	return accounting.WriteCSV(out, q.by, rows)
}

func printUsageJSON(out io.Writer, q *usageQuery, rows []accounting.Row) error {
	return printJSON(out, map[string]any{"from": q.from, "to": q.to, "by": q.by, "rows": accounting.Objects(q.by, rows)})
}

// wideColumns are the columns that only the CSV and the JSON have.
var wideColumns = []string{"estimated_prompt", "estimated_completion", "cache_write", "audio_input", "audio_output", "images", "audio_seconds", "cache_write_hour"}

func tableColumns(by []string) []accounting.Column {
	return slices.DeleteFunc(accounting.Columns(by), func(c accounting.Column) bool { return slices.Contains(wideColumns, c.Name) })
}

// printUsage prints a table, with the total of each currency at its end.
func printUsage(out io.Writer, q *usageQuery, rows []accounting.Row) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "from %s to %s, whole hours of UTC; the last half minute may be missing\n\n", q.from.Format(time.RFC3339), q.to.Format(time.RFC3339))
	columns := tableColumns(q.by)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = strings.ToUpper(c.Name)
	}
	fmt.Fprintln(w, strings.Join(names, "\t"))
	for i := range rows {
		fmt.Fprintln(w, strings.Join(accounting.Cells(columns, &rows[i]), "\t"))
	}
	if len(q.by) > 0 {
		totals, err := accounting.Summarize(rows, nil)
		if err != nil {
			return err
		}
		for i := range totals {
			fmt.Fprintln(w, "all"+strings.Repeat("\t", len(q.by))+strings.Join(accounting.Cells(tableColumns(nil), &totals[i]), "\t"))
		}
	}
	return w.Flush()
}
