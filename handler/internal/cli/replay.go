package cli

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/cli/replay"
	"spillway/handler/internal/config"
)

// replayFlags is the command line of `spillway replay`.
type replayFlags struct {
	configs, capacities, throughputs []string
	columns                          map[string]string
	model, zone, synthetic           string
	sizing                           replay.Sizing
	price                            float64
	instances                        int
	maxWait                          time.Duration
	seed                             uint64
	html                             string
	csv, json, quiet                 bool
}

func replayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use: "replay [LOG...]", Short: "Print what the requests of a log would have met with another pool document, or with more provisioned capacity",
		Long: "Runs the requests of LOG (- for standard input; .gz is read too) once more, in virtual\ntime, through the balancer, circuit breakers, throttles and limits of each --config, against\nmodels of its backends. It sends nothing, and needs no secret.\n\n" +
			"LOG is the program's own log, an export of Application Insights or Log Analytics (CSV or\nJSON), or any CSV with times and tokens. docs/replay.md has the columns, the models of the\nbackends and their assumptions.\n\n" +
			"The pool document does not say how much a backend can do: --capacity does. Without it a\npay-as-you-go backend has no limit. With several documents a capacity may begin with the\nname of one: new:ptu=100ptu.",
		Example: "  spillway replay spillway.log --config new.json --config old.json --capacity ptu=100ptu --capacity payg=450ktpm,2700rpm\n" +
			"  spillway replay trace.csv --columns time=TIMESTAMP,prompt=ContextTokens,completion=GeneratedTokens --model gpt-4o --config pool.json --size gpt-4o --from 0 --to 300 --step 25 --ptu-price 1 --html report.html\n" +
			"  spillway replay --synthetic office-hours,peak=40rps,model=gpt-4o --config pool.json --size gpt-4o --ptu-price 1",
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	flags := c.Flags()
	flags.StringArrayVar(&f.configs, "config", nil, "`FILE` of a pool document; repeatable")
	flags.StringArrayVar(&f.capacities, "capacity", nil, "what a backend, or backend/model, can do: `NAME=100ptu` or NAME=450ktpm,2700rpm; repeatable")
	flags.StringArrayVar(&f.throughputs, "ptu-tokens", nil, "what a provisioned unit of a model does: `MODEL=2500x3`, prompt tokens a minute and the weight of a token of an answer; repeatable")
	flags.StringToStringVar(&f.columns, "columns", nil, "what a log calls its columns, such as `time=TIMESTAMP,prompt=ContextTokens`")
	flags.StringVar(&f.model, "model", "", "the `model` of requests that name none")
	flags.StringVar(&f.zone, "timezone", "UTC", "the `zone` of times without one, such as Europe/Berlin")
	flags.StringVar(&f.synthetic, "synthetic", "", "replay generated traffic: `SHAPE,peak=40rps,...`, SHAPE one of office-hours, constant, bursts (docs/replay.md#synthetic-traffic)")
	flags.StringVar(&f.sizing.Model, "size", "", "try numbers of provisioned units of this `model`")
	flags.IntVar(&f.sizing.From, "from", 0, "the fewest `units`, with --size")
	flags.IntVar(&f.sizing.To, "to", 300, "the most `units`, with --size")
	flags.IntVar(&f.sizing.Step, "step", 25, "`units` between two sizes")
	flags.Float64Var(&f.price, "ptu-price", 0, "what one provisioned unit costs for an hour, in the currency of the prices")
	flags.IntVar(&f.instances, "instances", 1, "how many instances share the requests")
	flags.DurationVar(&f.maxWait, "max-wait", 2*time.Second, "SPILLWAY_MAX_WAIT of the instances; 0 = none")
	flags.Uint64Var(&f.seed, "seed", 1, "what decides all chance: the same `number` gives the same result")
	flags.StringVar(&f.html, "html", "", "write a report with plots to `FILE`")
	flags.BoolVar(&f.csv, "csv", false, "print CSV: the sizes with --size, else a row for each configuration and backend")
	flags.BoolVar(&f.quiet, "quiet", false, "show no progress")
	jsonFlag(c, &f.json)
	c.MarkFlagsMutuallyExclusive("csv", "json")
	return c
}

func (f *replayFlags) run(c *cobra.Command, args []string) error {
	if err := f.check(c, args); err != nil {
		return err
	}
	scenarios, err := f.scenarios(c)
	if err != nil {
		return err
	}
	progress := &progressLine{out: c.ErrOrStderr(), quiet: f.quiet, shown: time.Now()}
	log, err := f.read(args, c.InOrStdin(), progress)
	if err != nil {
		return err
	}
	report, err := f.replay(c, log, scenarios, progress)
	if err != nil {
		return err
	}
	progress.end()
	if f.html != "" {
		if err := writeReport(f.html, report); err != nil {
			return err
		}
		fmt.Fprintln(c.ErrOrStderr(), "the report is in "+f.html)
	}
	return f.print(c.OutOrStdout(), report)
}

func (f *replayFlags) check(c *cobra.Command, args []string) error {
	switch {
	case len(f.configs) == 0:
		return usageError(c, "--config is missing: name a pool document to replay with")
	case (len(args) > 0) == (f.synthetic != ""):
		return usageError(c, "name a log, or --synthetic traffic")
	case f.sizing.Model != "" && len(f.configs) > 1:
		return usageError(c, "--size tries sizes with one --config")
	case f.price < 0 || f.instances < 1 || f.instances > 100 || f.maxWait < 0:
		return usageError(c, "--ptu-price and --max-wait are not below 0, --instances is 1 to 100")
	}
	if err := replay.CheckColumns(f.columns); err != nil {
		return usageError(c, "--columns: %w", err)
	}
	return nil
}

// scenarios are the configurations, with the capacities that concern them.
func (f *replayFlags) scenarios(c *cobra.Command) ([]*replay.Scenario, error) {
	units := replay.AzureThroughputs()
	for _, text := range f.throughputs {
		if err := units.Parse(text); err != nil {
			return nil, usageError(c, "--ptu-tokens: %w", err)
		}
	}
	all := make([]*replay.Scenario, len(f.configs))
	for i, file := range f.configs {
		text, err := readDocument(file, c.InOrStdin())
		if err != nil {
			return nil, err
		}
		cfg, err := new(config.Config).WithDocument(filepath.Base(file), text)
		if err != nil {
			return nil, err
		}
		wait := f.maxWait
		if wait == 0 {
			wait = -1
		}
		all[i] = &replay.Scenario{
			Name: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), Config: cfg, Capacity: replay.Capacities{}, Units: units,
			Instances: f.instances, MaxWait: wait, PTUPrice: f.price, Seed: f.seed,
		}
	}
	return all, f.capacity(c, all)
}

// capacity gives the configurations their capacities: one that begins with the name of a
// configuration concerns that one alone.
func (f *replayFlags) capacity(c *cobra.Command, all []*replay.Scenario) error {
	for _, text := range f.capacities {
		name, rest, own := strings.Cut(text, ":")
		found := false
		for _, s := range all {
			if own && name != s.Name {
				continue
			}
			if !own {
				rest = text
			}
			found = true
			if err := s.Capacity.Parse(rest); err != nil {
				return usageError(c, "--capacity: %w", err)
			}
		}
		if !found {
			return usageError(c, "--capacity %s: there is no --config of the name %q", text, name)
		}
	}
	return nil
}

// read reads the logs, or generates one.
func (f *replayFlags) read(files []string, in io.Reader, progress *progressLine) (*replay.Log, error) {
	if f.synthetic != "" {
		s, err := replay.ParseSynthetic(f.synthetic)
		if err != nil {
			return nil, fmt.Errorf("%w: --synthetic: %w", errUsage, err)
		}
		if s.Model == "" {
			s.Model = f.model
		}
		return s.Log(), nil
	}
	zone, err := time.LoadLocation(f.zone)
	if err != nil {
		return nil, fmt.Errorf("%w: --timezone: %w", errUsage, err)
	}
	r := &replay.Reader{Columns: f.columns, Model: f.model, Zone: zone, Progress: func(lines int) { progress.show("read %d lines", lines) }}
	for _, file := range files {
		if err := addFile(r, file, in); err != nil {
			return nil, err
		}
	}
	return r.Log()
}

func addFile(r *replay.Reader, file string, in io.Reader) error {
	if file == "-" {
		return r.Add("standard input", in)
	}
	opened, err := os.Open(file) //nolint:gosec // the operator names it
	if err != nil {
		return &failure{err, err.Error(), "name a log, or - for standard input"}
	}
	defer func() { _ = opened.Close() }()
	return r.Add(filepath.Base(file), opened)
}

// replay runs the log with each configuration, or with each size.
func (f *replayFlags) replay(c *cobra.Command, log *replay.Log, scenarios []*replay.Scenario, progress *progressLine) (*replay.Report, error) {
	configs := make([]*config.Config, len(scenarios))
	for i, s := range scenarios {
		configs[i] = s.Config
	}
	times := replay.Learn(log, configs...)
	for _, s := range scenarios {
		s.Times = times
		s.Progress = func(arrived int) {
			progress.show("%s: %d %% of %d requests", s.Name, 100*arrived/len(log.Records), len(log.Records))
		}
	}
	if f.sizing.Model != "" {
		sizes, err := replay.RunSizes(c.Context(), log, scenarios[0], f.sizing)
		if err != nil {
			return nil, err
		}
		return replay.NewReport(log, times, nil, sizes), nil
	}
	var outcomes []*replay.Outcome
	for _, s := range scenarios {
		o, err := replay.Run(c.Context(), log, s)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, o)
	}
	return replay.NewReport(log, times, outcomes, nil), nil
}

func writeReport(file string, report *replay.Report) error {
	out, err := os.Create(file) //nolint:gosec // the operator names it
	if err != nil {
		return &failure{err, err.Error(), "name a file that can be written"}
	}
	err = report.WriteHTML(out)
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}

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

// progressLine shows how far a command is: over and over in one line of a terminal, else
// in a line now and then.
type progressLine struct {
	out   io.Writer
	quiet bool

	mu    sync.Mutex // sizes are tried at once
	shown time.Time
	any   bool
}

func (p *progressLine) show(format string, values ...any) {
	every, end := 200*time.Millisecond, "\x1b[K\r"
	if !isTerminal(p.out) {
		every, end = 5*time.Second, "\n"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet || time.Since(p.shown) < every {
		return
	}
	p.shown, p.any = time.Now(), true
	fmt.Fprintf(p.out, format+end, values...)
}

func (p *progressLine) end() {
	if p.any && isTerminal(p.out) {
		fmt.Fprint(p.out, "\x1b[K")
	}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
