package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
)

const usageUsage = "spillway usage [--from T] [--to T] [--by hour|day|month,consumer,model,backend] [--csv]; T is 2026-11-01, 2026-11-01T09:00:00Z or 24h (ago)"

// usageQuery is what `spillway usage` was asked.
type usageQuery struct {
	from, to time.Time
	by       []string
	csv      bool
}

// usageCommand is `spillway usage`: tokens and money of the whole fleet.
func usageCommand(ctx context.Context, args []string, out io.Writer) error {
	q, err := readUsageQuery(args, time.Now().UTC())
	if err != nil {
		return err
	}
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	if cfg.Settings.State.Memory() {
		return errors.New("usage is kept in shared state, and there is none: set SPILLWAY_STATE or AzureWebJobsStorage to what the instances use")
	}
	reader, err := app.NewUsageReader(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	lines, err := reader.Summary(ctx, q.from, q.to, q.by)
	if lines == nil && err != nil {
		return err //nolint:wrapcheck // it says what was read
	}
	if q.csv {
		return errors.Join(writeUsageCSV(out, &q, lines), err)
	}
	return errors.Join(writeUsage(out, &q, lines), err)
}

func readUsageQuery(args []string, now time.Time) (q usageQuery, err error) {
	flags := flag.NewFlagSet("usage", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	from, to := flags.String("from", now.Format("2006-01")+"-01", ""), flags.String("to", "", "")
	by := flags.String("by", "consumer,model", "")
	flags.BoolVar(&q.csv, "csv", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return q, fmt.Errorf("%w: %s", errUsage, usageUsage)
	}
	q.to = now
	if *to != "" {
		q.to, err = readInstant(*to, now)
	}
	if err == nil {
		q.from, err = readInstant(*from, now)
	}
	if err != nil {
		return q, err
	}
	if !q.from.Before(q.to) {
		return q, fmt.Errorf("%w: --from %s is not before --to %s", errUsage, q.from.Format(time.RFC3339), q.to.Format(time.RFC3339))
	}
	if *by != "" {
		q.by = strings.Split(*by, ",")
	}
	if _, err := accounting.Summarize(nil, q.by); err != nil {
		return q, fmt.Errorf("%w: %w; %s", errUsage, err, usageUsage)
	}
	return q, nil
}

// readInstant reads a day, an instant, or how long ago.
func readInstant(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago.Abs()), nil
	}
	return time.Time{}, fmt.Errorf("%w: %q is no time: write 2026-11-01, 2026-11-01T09:00:00Z, or 24h for a day ago", errUsage, text)
}

// columns are what usage is told in, those that it is summed by first.
func (q *usageQuery) columns() []string {
	return append(append([]string(nil), q.by...), "requests", "prompt", "cached", "completion", "reasoning", "cost", "currency", "unmetered", "broken")
}

// cells is one line in those columns.
func (q *usageQuery) cells(l *accounting.Row) []string {
	var all []string
	for _, field := range q.by {
		all = append(all, map[string]string{
			"hour": l.Hour.Format("2006-01-02T15:04Z"), "day": l.Hour.Format(time.DateOnly), "month": l.Hour.Format("2006-01"),
			"consumer": l.Consumer, "model": l.Model, "backend": l.Backend,
		}[field])
	}
	for _, n := range [...]int64{l.Requests, l.Tokens.Prompt, l.Tokens.Cached, l.Tokens.Completion, l.Tokens.Reasoning} {
		all = append(all, strconv.FormatInt(n, 10))
	}
	return append(all, strconv.FormatFloat(l.Cost.Amount(), 'f', -1, 64), l.Currency, strconv.FormatInt(l.Unmetered, 10), strconv.FormatInt(l.Broken, 10))
}

func writeUsageCSV(out io.Writer, q *usageQuery, lines []accounting.Row) error {
	w := csv.NewWriter(out)
	_ = w.Write(q.columns()) // Error tells
	for i := range lines {
		_ = w.Write(q.cells(&lines[i]))
	}
	w.Flush()
	return w.Error() //nolint:wrapcheck // the caller prints it
}

// writeUsage prints a table, with the sum of each currency below.
func writeUsage(out io.Writer, q *usageQuery, lines []accounting.Row) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "from %s to %s, whole hours of UTC; what was used in the last half minute may be missing\n\n", q.from.Format(time.RFC3339), q.to.Format(time.RFC3339))
	fmt.Fprintln(w, strings.ToUpper(strings.Join(q.columns(), "\t")))
	for i := range lines {
		fmt.Fprintln(w, strings.Join(q.cells(&lines[i]), "\t"))
	}
	if len(q.by) > 0 {
		totals, err := accounting.Summarize(lines, nil)
		if err != nil {
			return err //nolint:wrapcheck // it says what is wrong
		}
		all := usageQuery{}
		for i := range totals {
			fmt.Fprintln(w, "all"+strings.Repeat("\t", len(q.by))+strings.Join(all.cells(&totals[i]), "\t"))
		}
	}
	return w.Flush() //nolint:wrapcheck // the caller prints it
}
