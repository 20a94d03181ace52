package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	if err := f.print(c.OutOrStdout(), report); err != nil || f.html == "" {
		return err
	}
	if err := writeReport(f.html, report); err != nil {
		return err
	}
	fmt.Fprintln(c.ErrOrStderr(), "the report is in "+f.html)
	return nil
}

// mostPrice is more than a unit costs for an hour in any currency.
const mostPrice = 1_000_000

func (f *replayFlags) check(c *cobra.Command, args []string) error {
	switch {
	case len(f.configs) == 0:
		return usageError(c, "--config is missing: name a pool document to replay with")
	case f.csv && f.json:
		return errCSVAndJSON(c)
	case (len(args) > 0) == (f.synthetic != ""):
		return usageError(c, "name a log, or --synthetic traffic")
	case f.sizing.Model != "" && len(f.configs) > 1:
		return usageError(c, "--size tries sizes with one --config")
	case !(f.price >= 0 && f.price <= mostPrice) || f.instances < 1 || f.instances > 100 || f.maxWait < 0:
		return usageError(c, "--ptu-price is 0 to 1,000,000, --max-wait not below 0, --instances 1 to 100")
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
		all[i] = &replay.Scenario{
			Name: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), Config: cfg, Capacity: replay.Capacities{}, Units: units,
			Instances: f.instances, MaxWait: f.maxWait, PTUPrice: f.price, Seed: f.seed,
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
