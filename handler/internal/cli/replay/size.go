package replay

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// Sizing is how much provisioned capacity of a model is tried.
type Sizing struct {
	Model          string
	From, To, Step int // units
}

// mostSizes bounds how many sizes are tried.
const mostSizes = 200

// check says what is wrong with it.
func (s Sizing) check() error {
	if s.From < 0 || s.To < s.From || s.Step < 1 || (s.To-s.From)/s.Step >= mostSizes {
		return fmt.Errorf("sizes from %d to %d in steps of %d: write at most %d sizes, from 0 on, in steps of at least 1", s.From, s.To, s.Step, mostSizes)
	}
	return nil
}

// Size is what would have happened with so many units.
type Size struct {
	Units       int     `json:"units"`
	Provisioned float64 `json:"provisionedShare"` // of the model's served requests
	Spilled     float64 `json:"spilledShare"`     // of all requests
	Refused     float64 `json:"refusedShare"`
	Utilization float64 `json:"utilization"` // percent
	PTUCost     float64 `json:"provisionedCost"`
	TokenCost   float64 `json:"tokenCost"`
	Cost        float64 `json:"cost"`
	FirstToken  float64 `json:"firstTokenP95"` // milliseconds
	BreakEven   float64 `json:"breakEven"`     // price of a unit and hour up to which they cost no more than the tokens that they save; 0 = not known
}

// Sizes is what each size would have done.
type Sizes struct {
	Model    string  `json:"model"`
	Backend  string  `json:"backend"` // that has the units
	Currency string  `json:"currency"`
	Hours    float64 `json:"hours"` // of the log
	PTUPrice float64 `json:"provisionedPrice"`
	All      []Size  `json:"sizes"`
	Knee     int     `json:"knee"`     // units from which on more serve little more; -1 = there is none
	Cheapest int     `json:"cheapest"` // units of the least total cost
	Note     string  `json:"note,omitempty"`

	Outcomes []*Outcome `json:"-"`
}

// RunSizes replays the log with each size. The pool's first provisioned backend of the
// model has the units; a pool without one gets one in front.
func RunSizes(ctx context.Context, log *Log, s *Scenario, z Sizing) (*Sizes, error) {
	if err := z.check(); err != nil {
		return nil, err
	}
	cfg, backend, err := withProvisioned(s.Config, z.Model)
	if err != nil {
		return nil, err
	}
	pool, _ := cfg.Pool(z.Model)
	out := &Sizes{Model: pool.Model, Backend: backend, PTUPrice: s.PTUPrice, Hours: log.End().Sub(log.Begin()).Hours()}
	for n := z.From; n <= z.To; n += z.Step {
		out.All = append(out.All, Size{Units: n})
	}
	out.Outcomes = make([]*Outcome, len(out.All))
	times := s.Times
	if times == nil {
		times = Learn(log, cfg)
	}
	var failed sync.Map
	var running sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range out.All {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			one := s.sized(cfg, pool.Model, backend, out.All[i].Units)
			one.Times = times
			o, err := Run(ctx, log, one)
			if err != nil {
				failed.Store(i, err)
				return
			}
			out.Outcomes[i] = o
		})
	}
	running.Wait()
	for i := range out.All {
		if err, ok := failed.Load(i); ok {
			return nil, err.(error)
		}
		out.All[i].read(out.Outcomes[i], pool.Model, backend)
		out.Currency = out.Outcomes[i].Currency
	}
	out.judge(s.Units)
	return out, nil
}

// read takes what is told of a size from its outcome.
func (z *Size) read(o *Outcome, model, backend string) {
	served, byUnits := 0, 0
	for i := range o.Backends {
		b := &o.Backends[i]
		if b.Model == model {
			served += b.Served
			if b.Backend == backend {
				byUnits += b.Served
				z.Utilization = b.Utilization
			}
		}
	}
	z.Provisioned, z.Spilled, z.Refused = share(byUnits, served), share(o.Spilled, o.Requests), share(o.Refused, o.Requests)
	z.PTUCost, z.TokenCost, z.Cost, z.FirstToken = o.PTUCost, o.TokenCost, o.Cost(), o.FirstToken.P95
}

// judge finds the knee, the least cost, and up to which price each size pays.
func (z *Sizes) judge(units Throughputs) {
	for i := range z.All {
		if n := z.All[i].Units; n > 0 && z.All[0].Units == 0 && z.Hours > 0 {
			z.All[i].BreakEven = (z.All[0].TokenCost - z.All[i].TokenCost) / (float64(n) * z.Hours)
		}
	}
	best := slices.MinFunc(z.All, func(a, b Size) int {
		switch {
		case a.Cost < b.Cost:
			return -1
		case a.Cost > b.Cost:
			return 1
		}
		return a.Units - b.Units
	})
	z.Cheapest, z.Knee = best.Units, knee(z.All)
	if units == nil {
		units = AzureThroughputs()
	}
	if least := units[z.Model].Least; best.Units > 0 && best.Units < least {
		z.Note = fmt.Sprintf("%d units are fewer than Azure sells: at least %d, regional at least %d.", best.Units, least, units[z.Model].Regional)
	}
}

// knee is where the curve of the share that units serve is farthest above the line from
// its first to its last size, if a unit more serves less than half of what one did
// before: from there on more units serve little more. -1 = nowhere.
func knee(all []Size) int {
	at, most := 0, 0.0
	for i := range all {
		if above := all[i].Provisioned - all[0].Provisioned - slope(all, 0, len(all)-1)*float64(all[i].Units-all[0].Units); above > most {
			at, most = i, above
		}
	}
	if at == 0 || slope(all, at, len(all)-1) >= slope(all, 0, at)/2 {
		return -1
	}
	return all[at].Units
}

// slope is how much more a unit serves between two sizes.
func slope(all []Size, from, to int) float64 {
	return (all[to].Provisioned - all[from].Provisioned) / math.Max(float64(all[to].Units-all[from].Units), 1)
}

// sized is the scenario with so many units at the backend; with none, nothing is sent to
// it.
func (s *Scenario) sized(cfg *config.Config, model, backend string, units int) *Scenario {
	one := *s
	one.Name, one.Capacity = fmt.Sprintf("%d PTU", units), Capacities{}
	for name, c := range s.Capacity {
		one.Capacity[name] = c
	}
	one.Capacity[backend+"/"+model] = Capacity{Units: units}
	one.Config = cfg
	if units == 0 {
		one.Config = without(cfg, model, backend)
		delete(one.Capacity, backend+"/"+model)
	}
	return &one
}

// without is the configuration in which nothing is sent to the backend for the model.
func without(cfg *config.Config, model, backend string) *config.Config {
	next := *cfg
	next.Pools = slices.Clone(cfg.Pools)
	for i := range next.Pools {
		if p := &next.Pools[i]; p.Model == model {
			p.Backends = slices.DeleteFunc(slices.Clone(p.Backends), func(b balancer.Backend) bool { return b.Name == backend })
		}
	}
	return &next
}

// addedBackend is the backend that a pool without provisioned capacity gets.
const addedBackend = "provisioned"

// withProvisioned is the configuration with a provisioned backend of the model, and its
// name.
func withProvisioned(cfg *config.Config, model string) (*config.Config, string, error) {
	pool, ok := cfg.Pool(model)
	if !ok || pool.Model == document.Wildcard {
		return nil, "", fmt.Errorf("no backend of the pool document names the model %q", model)
	}
	for i := range pool.Backends {
		if b := &pool.Backends[i]; b.Provisioned {
			return cfg, b.Name, nil
		}
	}
	d := inFront(cfg.Document, pool.Model)
	next, err := new(config.Config).WithDocument("with provisioned capacity", string(d.Print()))
	return next, d.Backends[len(d.Backends)-1].Name, err
}

// inFront is the document with a provisioned backend of the model, which is tried before
// all others.
func inFront(before *document.Document, model string) *document.Document {
	d := *before
	d.Backends, d.Consumers = slices.Clone(d.Backends), slices.Clone(d.Consumers)
	var b document.Backend
	jsondoc.SetDefaults(&b)
	b.Name, b.Endpoint, b.Capacity = addedBackend, "https://provisioned.openai.azure.com", "provisioned"
	b.Deployments = jsondoc.Pairs{{Name: model, Value: model}}
	for slices.ContainsFunc(d.Backends, func(o document.Backend) bool { return o.Name == b.Name }) {
		b.Name += "-new"
	}
	b.Priority = slices.MinFunc(d.Backends, func(a, b document.Backend) int { return a.Priority - b.Priority }).Priority - 1
	if b.Priority < 0 { // no number is lower: the others move
		b.Priority = 0
		for i := range d.Backends {
			d.Backends[i].Priority++
		}
		for i := range d.Consumers {
			if d.Consumers[i].MinPriority > 0 {
				d.Consumers[i].MinPriority++
			}
		}
	}
	d.Backends = append(d.Backends, b)
	return &d
}
