package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// ErrUsage is wrapped by errors about flags and arguments. Their text names the
// flag and the fix.
var ErrUsage = errors.New("wrong usage")

// simulation holds the flags.
type simulation struct {
	listen    string
	ports     int
	resources string
	seed      uint64
	fast      bool
	journal   int
}

// Main runs the simulated service until ctx ends. It prints the addresses and the
// control commands to stdout; with --help it prints the flags and returns. Wrong
// usage wraps ErrUsage.
func Main(ctx context.Context, args []string, stdout io.Writer) error {
	sim, flags := newSimulation()
	err := sim.parse(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(stdout, "spillway simulate: several Azure OpenAI resources in one process")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil
	}
	if err != nil {
		return err
	}
	resources, err := sim.load()
	if err != nil {
		return err
	}
	cfg := Config{Resources: resources, Seed: sim.seed, Control: true, Journal: sim.journal}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("--resources: %w", err)
	}
	s := New(cfg)
	defer s.Close()
	if err := sim.open(s); err != nil {
		return err
	}
	s.describe(stdout, sim.ports > 0)
	<-ctx.Done()
	return nil
}

func newSimulation() (*simulation, *flag.FlagSet) {
	sim := &simulation{}
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are returned
	flags.StringVar(&sim.listen, "listen", "127.0.0.1:8700", "`address` of the shared listener, on which resources are path prefixes; port 0 takes a free one")
	flags.IntVar(&sim.ports, "ports", 0, "give each resource a port of its own, from this `port` on")
	flags.StringVar(&sim.resources, "resources", "", "JSON `file` with the resources; without it: a small PTU and two pay-as-you-go")
	flags.Uint64Var(&sim.seed, "seed", 1, "`number` that makes responses, jitter and faults repeatable")
	flags.BoolVar(&sim.fast, "fast", false, "answer without delay")
	flags.IntVar(&sim.journal, "journal", 1000, "how many requests the journal keeps; -1 keeps counters only")
	return sim, flags
}

func (sim *simulation) parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: simulate takes no argument %q", ErrUsage, flags.Arg(0))
	}
	if _, _, err := net.SplitHostPort(sim.listen); err != nil {
		return fmt.Errorf("%w: --listen %q is no address; write it like 127.0.0.1:8700", ErrUsage, sim.listen)
	}
	if sim.ports < 0 || sim.ports > 65000 {
		return fmt.Errorf("%w: --ports %d is no port; choose one from 1024 to 65000", ErrUsage, sim.ports)
	}
	return nil
}

// load reads the resources, or returns the default ones.
func (sim *simulation) load() ([]Resource, error) {
	resources := DefaultResources()
	if sim.resources != "" {
		text, err := os.ReadFile(sim.resources)
		if err != nil {
			return nil, fmt.Errorf("--resources: %w; name a readable JSON file", err)
		}
		resources = nil
		if err := json.Unmarshal(text, &resources); err != nil {
			return nil, fmt.Errorf("--resources: read %q: %w; it must be an array of resources", sim.resources, err)
		}
	}
	if sim.fast {
		for i := range resources {
			removeDelays(resources[i].Deployments)
		}
	}
	return resources, nil
}

func removeDelays(deployments []Deployment) {
	for i := range deployments {
		d := &deployments[i]
		d.TimeToFirstToken, d.PerToken, d.PerPromptToken = 0, 0, 0
	}
}

// open opens the shared listener and, with --ports, one for each resource.
func (sim *simulation) open(s *Service) error {
	if err := s.Listen("", sim.listen); err != nil {
		return fmt.Errorf("--listen: %w; choose a free port", err)
	}
	if sim.ports == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(sim.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	for i, name := range s.order {
		if err := s.Listen(name, net.JoinHostPort(host, strconv.Itoa(sim.ports+i))); err != nil {
			return fmt.Errorf("--ports: %w; choose another base", err)
		}
	}
	return nil
}

// describe prints the addresses and how to cause faults.
func (s *Service) describe(w io.Writer, ports bool) {
	shared := s.URL("")
	_, _ = fmt.Fprintf(w, "simulated Azure OpenAI at %s\n", shared)
	for _, name := range s.order {
		res := s.resources[name]
		_, _ = fmt.Fprintf(w, "  %-14s %s", name, s.URL(name))
		if ports {
			_, _ = fmt.Fprintf(w, " (also %s/%s)", shared, name)
		}
		for _, key := range res.Keys {
			_, _ = fmt.Fprintf(w, "  api-key %s", key)
		}
		_, _ = fmt.Fprintln(w)
		for _, d := range res.order {
			_, _ = fmt.Fprintf(w, "    %s\n", res.deployments[d].spec.Load().describe())
		}
	}
	first := s.order[0]
	_, _ = fmt.Fprintf(w, "throttle one:  curl -X POST '%s/_control/resources/%s/throttle?for=10s'\n", shared, first)
	_, _ = fmt.Fprintf(w, "bring it back: curl -X POST %s/_control/resources/%s/restore\n", shared, first)
	_, _ = fmt.Fprintf(w, "all controls:  curl %s/_control/\n", shared)
}

func (d *Deployment) describe() string {
	switch {
	case d.SKU == Provisioned && d.ProvisionedTokensPerMinute > 0:
		return fmt.Sprintf("%s (%s, provisioned, %d tokens/min)", d.Name, d.Model, d.ProvisionedTokensPerMinute)
	case d.TokensPerMinute > 0:
		return fmt.Sprintf("%s (%s, pay-as-you-go, %d tokens/min)", d.Name, d.Model, d.TokensPerMinute)
	default:
		return fmt.Sprintf("%s (%s, unlimited)", d.Name, d.Model)
	}
}

// DefaultResources are the resources of a run without a file: a small PTU that is
// soon throttled, and two pay-as-you-go resources.
func DefaultResources() []Resource {
	chat := Deployment{
		Name: "gpt-4o", Model: "gpt-4o", ModelVersion: "2024-11-20", ContextWindow: 128000, AnswerTokens: 48,
		TimeToFirstToken: 120 * time.Millisecond, PerToken: 10 * time.Millisecond, Jitter: 0.2,
	}
	ptu := chat
	ptu.SKU, ptu.ProvisionedTokensPerMinute, ptu.TimeToFirstToken = Provisioned, 6000, 60*time.Millisecond
	payg := chat
	payg.TokensPerMinute, payg.RequestsPerMinute = 150_000, 900
	embedding := Deployment{
		Name: "text-embedding-3-large", Model: "text-embedding-3-large", ModelVersion: "1",
		TokensPerMinute: 350_000, TimeToFirstToken: 30 * time.Millisecond, Jitter: 0.2,
	}
	return []Resource{
		{Name: "ptu-uksouth", Region: "uksouth", Keys: []string{"key-ptu-uksouth"}, Deployments: []Deployment{ptu}},
		{Name: "payg-sweden", Region: "swedencentral", Keys: []string{"key-payg-sweden"}, Deployments: []Deployment{payg, embedding}},
		{Name: "payg-france", Region: "francecentral", Keys: []string{"key-payg-france"}, Deployments: []Deployment{payg, embedding}},
	}
}
