package cli

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"spillway/handler/internal/cli/replay"
)

func (f *replayFlags) print(out io.Writer, r *replay.Report) error {
	switch {
	case f.json:
		return printJSON(out, r)
	case f.csv && r.Sizes != nil:
		return printSizesCSV(out, r.Sizes)
	case f.csv:
		return printOutcomesCSV(out, r.Outcomes)
	}
	printLog(out, &r.Log)
	if r.Sizes != nil {
		return printSizes(out, r)
	}
	return printOutcomes(out, r)
}

func printLog(out io.Writer, s *replay.Summary) {
	fmt.Fprintf(out, "%d requests of %d lines, %s to %s, %d in the busiest second\n", s.Requests, s.Lines, s.Begin.Format(time.RFC3339), s.End.Format(time.RFC3339), s.Busiest)
	for _, o := range s.Omitted {
		fmt.Fprintf(out, "left out: %d lines: %s (first: %s)\n", o.Lines, o.Why, o.Example)
	}
	if x := s.Reality; x != nil {
		fmt.Fprintf(out, "in the log: %d refused, %d spilled; served by %s\n", x.Refused, x.Spilled, counts(x.Served))
	}
	fmt.Fprintln(out)
}

func printNotes(out io.Writer, r *replay.Report) {
	fmt.Fprintln(out)
	for _, note := range r.Notes {
		fmt.Fprintln(out, "note: "+note)
	}
}

// printOutcomes prints the configurations side by side, then what their backends and
// consumers did.
func printOutcomes(out io.Writer, r *replay.Report) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name string, of func(o *replay.Outcome) string) {
		fmt.Fprint(w, name)
		for _, o := range r.Outcomes {
			fmt.Fprint(w, "\t"+of(o))
		}
		fmt.Fprintln(w)
	}
	part := func(n, of int) string { return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(max(of, 1))) }
	three := func(p replay.Percentiles) string { return fmt.Sprintf("%.0f / %.0f / %.0f", p.P50, p.P95, p.P99) }
	row("", func(o *replay.Outcome) string { return strings.ToUpper(o.Name) })
	row("served", func(o *replay.Outcome) string { return part(o.Served, o.Requests) })
	row("  by provisioned capacity", func(o *replay.Outcome) string { return fmt.Sprintf("%.1f %%", 100*o.ProvisionedShare()) })
	row("spilled", func(o *replay.Outcome) string { return part(o.Spilled, o.Requests) })
	row("refused", func(o *replay.Outcome) string { return part(o.Refused, o.Requests) })
	row("429s of backends", func(o *replay.Outcome) string { return strconv.Itoa(o.Throttle) })
	row("waited for capacity", func(o *replay.Outcome) string { return strconv.Itoa(o.Waited) })
	row("added p50 / p95 / p99 ms", func(o *replay.Outcome) string { return three(o.Added) })
	row("first token p50 / p95 / p99 ms", func(o *replay.Outcome) string { return three(o.FirstToken) })
	row("cost of tokens", func(o *replay.Outcome) string { return fmt.Sprintf("%.2f %s", o.TokenCost, o.Currency) })
	row("cost of units", func(o *replay.Outcome) string { return fmt.Sprintf("%.2f %s", o.PTUCost, o.Currency) })
	fmt.Fprintln(w)
	fmt.Fprintln(w, "CONFIG\tBACKEND\tMODEL\tCAPACITY\tSERVED\t429S\tPROMPT\tCOMPLETION\tCOST\tIN USE\tBUSIEST")
	for _, o := range r.Outcomes {
		for i := range o.Backends {
			fmt.Fprintln(w, strings.Join(backendRow(o, &o.Backends[i]), "\t"))
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "CONFIG\tCONSUMER\tREQUESTS\tSERVED\tSPILLED\tREFUSED\tCOST")
	for _, o := range r.Outcomes {
		for _, c := range o.Consumers {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%.4f\n", o.Name, orDash(c.Consumer), c.Requests, c.Served, c.Spilled, c.Refused, c.Cost)
		}
	}
	for _, o := range r.Outcomes {
		if o.Refused > 0 {
			fmt.Fprintf(w, "\n%s refuses: %s\n", o.Name, counts(o.RefusedFor))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printNotes(out, r)
	return nil
}

// counts are numbers by name, in order of the names.
func counts(all map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, fmt.Sprintf("%s: %d", name, all[name]))
	}
	return strings.Join(parts, ", ")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func backendRow(o *replay.Outcome, b *replay.ByBackend) []string {
	row := []string{
		o.Name, b.Backend, b.Model, b.Limit, strconv.Itoa(b.Served), strconv.Itoa(b.Throttled), strconv.FormatInt(b.Prompt, 10), strconv.FormatInt(b.Completion, 10),
		strconv.FormatFloat(b.Cost, 'f', 4, 64), "", "",
	}
	if b.Provisioned {
		row[9], row[10] = fmt.Sprintf("%.1f %%", b.Utilization), fmt.Sprintf("%.1f %%", b.Busiest)
	}
	return row
}

func printOutcomesCSV(out io.Writer, all []*replay.Outcome) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"config", "backend", "model", "capacity", "served", "throttled", "prompt_tokens", "completion_tokens", "cost", "utilization", "busiest", "currency", "requests", "spilled", "refused"}}
	for _, o := range all {
		for i := range o.Backends {
			b := &o.Backends[i]
			row := backendRow(o, b)
			row[9], row[10] = decimal(b.Utilization), decimal(b.Busiest)
			rows = append(rows, append(row, o.Currency, strconv.Itoa(o.Requests), strconv.Itoa(o.Spilled), strconv.Itoa(o.Refused)))
		}
	}
	return w.WriteAll(rows)
}

func decimal(n float64) string { return strconv.FormatFloat(n, 'f', 4, 64) }

func printSizes(out io.Writer, r *replay.Report) error {
	z := r.Sizes
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "UNITS\tSERVED BY UNITS\tSPILLED\tREFUSED\tIN USE\tUNITS COST\tTOKENS COST\tTOGETHER\tA UNIT PAYS UP TO\tFIRST TOKEN P95\t")
	for i := range z.All {
		s, mark := &z.All[i], ""
		if s.Units == z.Knee {
			mark += " knee"
		}
		if s.Units == z.Cheapest {
			mark += " least cost"
		}
		fmt.Fprintf(w, "%d\t%.1f %%\t%.1f %%\t%.1f %%\t%.1f %%\t%.2f\t%.2f\t%.2f\t%.3f\t%.0f ms\t%s\n",
			s.Units, 100*s.Provisioned, 100*s.Spilled, 100*s.Refused, s.Utilization, s.PTUCost, s.TokenCost, s.Cost, s.BreakEven, s.FirstToken, strings.TrimSpace(mark))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\n"+z.Sentence())
	printNotes(out, r)
	return nil
}

func printSizesCSV(out io.Writer, z *replay.Sizes) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"units", "provisioned_share", "spilled_share", "refused_share", "utilization", "provisioned_cost", "token_cost", "cost", "break_even", "first_token_p95_ms", "currency"}}
	for i := range z.All {
		s := &z.All[i]
		rows = append(rows, []string{
			strconv.Itoa(s.Units), decimal(s.Provisioned), decimal(s.Spilled), decimal(s.Refused), decimal(s.Utilization),
			decimal(s.PTUCost), decimal(s.TokenCost), decimal(s.Cost), decimal(s.BreakEven), decimal(s.FirstToken), z.Currency,
		})
	}
	return w.WriteAll(rows)
}
