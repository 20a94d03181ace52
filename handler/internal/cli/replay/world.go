package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/fleet/coroutine"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/memory"
)

// world is the instances and the backends of one run.
type world struct {
	clock
	log         *Log
	scenario    *Scenario
	times       *Latency
	random      *rand.Rand
	store       memory.Store
	instances   []*instance
	slots       []*deployment // by health.Slot
	deployments []*deployment // each once
	pools       [][]*balancer.Pool
	consumers   []*consumer.Consumer // by number in the log; nil = the document does not have it
	limits      *limits              // nil = no consumer has any
	tally       tally
	arrived     int
	underWay    int
}

// deployment is a model at a backend.
type deployment struct {
	simulator.Deployment
	simulator.Capacity
	kind   capacityKind
	units  int
	weight float64 // of a token of an answer, in those of a prompt
	policy classify.Policy
	rates  bool // its headers matter: throttle.leaveAt is set
	number int  // into Outcome.Backends
}

// newWorld builds the instances and the backends, a little before the first request.
func newWorld(log *Log, s *Scenario) (*world, error) {
	w := &world{log: log, scenario: s, random: random(s.Seed), times: s.Times}
	w.now.Store(log.Records[0].At - int64(lead))
	w.store.Now = w.time
	if w.times == nil {
		w.times = Learn(log, s.Config)
	}
	if err := w.deploy(); err != nil {
		return nil, fmt.Errorf("replay with %s: %w", s.Name, err)
	}
	w.resolveNames()
	w.limits = newLimits(w)
	w.tally.begin(w)
	for range max(1, s.Instances) {
		w.startInstance()
	}
	return w, nil
}

// deploy makes the deployments. Models that have the same one at a backend share it.
func (w *world) deploy() error {
	cfg, units := w.scenario.Config, w.scenario.Units
	if units == nil {
		units = AzureThroughputs()
	}
	if name := w.scenario.Capacity.unknown(cfg.Pools); name != "" {
		return fmt.Errorf("--capacity names %q, which is no backend of it, nor backend/model", name)
	}
	w.slots = make([]*deployment, len(cfg.Slots))
	known := map[string]*deployment{}
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		for k := range p.Backends {
			b := &p.Backends[k]
			key := b.Name + "/" + strings.ToLower(b.Deployment)
			if b.Deployment == "" {
				key = b.Name + "/" + p.Model
			}
			if known[key] == nil {
				d, err := w.deployment(b, p.Model, units)
				if err != nil {
					return err
				}
				known[key], d.number = d, len(w.deployments)
				w.deployments = append(w.deployments, d)
			}
			w.slots[b.Slot] = known[key]
		}
	}
	return nil
}

func (w *world) deployment(b *balancer.Backend, model string, units Throughputs) (*deployment, error) {
	capacity := w.scenario.Capacity.of(b, model)
	d := &deployment{Deployment: simulator.Deployment{Name: b.Name, Model: model}, kind: kindOf(b.Provisioned)}
	if b.Weight > 0 { // else nothing is sent to it
		var err error
		if d.Deployment, d.weight, err = capacity.limits(b, model, units); err != nil {
			return nil, err
		}
		d.units = capacity.Units
	}
	r := &w.scenario.Config.Resources[b.Index]
	d.policy = classify.Policy{DefaultWait: r.Throttle.DefaultWait, MaxWait: r.Throttle.MaxWait, IgnoreWaits: r.IgnoreWaits, Provisioned: b.Provisioned}
	d.rates = r.Throttle.LeaveAt != health.LeaveAt{}
	d.Capacity = simulator.NewCapacity(d.Deployment, w.time())
	return d, nil
}

// resolveNames finds the pools of the log's models, and the document's consumers of the
// log's.
func (w *world) resolveNames() {
	cfg := w.scenario.Config
	w.pools = make([][]*balancer.Pool, max(1, len(w.log.Models.All)))
	for i := range w.pools {
		if name := w.log.Models.name(uint16(i)); name != "" {
			w.pools[i] = cfg.CandidatePools(name)
		} else if len(cfg.Pools) == 1 {
			w.pools[i] = cfg.CandidatePools(cfg.Pools[0].Model)
		}
	}
	w.consumers = make([]*consumer.Consumer, max(1, len(w.log.Consumers.All)))
	for i := range cfg.Consumers {
		if at := slices.Index(w.log.Consumers.All, cfg.Consumers[i].Name); at > 0 {
			w.consumers[at] = &cfg.Consumers[i]
		}
	}
}

// instance is one process of the fleet.
type instance struct {
	*fleet.Replica
	pacer *coroutine.Pacer
	env   proxy.Environment
}

// responseTimeout is SPILLWAY_RESPONSE_TIMEOUT.
const responseTimeout = 220 * time.Second

func (w *world) startInstance() {
	s, cfg := w.scenario, w.scenario.Config
	i := &instance{pacer: &coroutine.Pacer{After: w.after}}
	models := make([]int, len(cfg.Slots))
	for p := range cfg.Pools {
		for k := range cfg.Pools[p].Backends {
			models[cfg.Pools[p].Backends[k].Slot] = p
		}
	}
	tracker := latency.New(models)
	i.Replica = fleet.New(fleet.Config{
		Store: &w.store, Slots: cfg.Slots, Identities: cfg.Identities, Instance: fmt.Sprintf("replay-%d", len(w.instances)), Breakers: cfg.Breakers, Throttles: cfg.Throttles,
		Usual: tracker.Usual, Environment: fleet.Environment{Now: w.time, Wall: w.time, Rand: w.random.Int64N, Pacer: i.pacer},
	})
	i.env = proxy.Environment{
		Health: i, Latency: tracker, Load: proxy.NewLoad(len(cfg.Slots)), RoundRobin: &proxy.RoundRobin{Start: w.random.Uint64()}, Hedges: new(proxy.Hedges),
		Trials: new(proxy.Trials), Queue: &proxy.WaitQueue{Capacity: proxy.MostWaiting}, Operations: new(proxy.OperationCircuits), Rand: w.random.Float64,
		MaxWait: s.MaxWait, ResponseTimeout: responseTimeout,
	}
	w.instances = append(w.instances, i)
	i.Snapshot()
	i.pacer.Start(0, func() { i.Run(context.Background()) })
}

// stop ends what the run has started.
func (w *world) stop() {
	for _, i := range w.instances {
		i.pacer.Stop()
	}
	w.limits.stop()
}

// arrivals has the requests arrive, one after another.
func (w *world) arrivals() {
	w.at(w.log.Records[w.arrived].At, func() {
		x := &w.log.Records[w.arrived]
		w.arrived++
		if w.arrived < len(w.log.Records) {
			w.arrivals()
		}
		w.arrive(x)
	})
}

// checkEvery is how many events happen between two looks at the context.
const checkEvery = 1 << 14

// run lets time pass until the last request has ended.
func (w *world) run(ctx context.Context) error {
	for n := 0; w.arrived < len(w.log.Records) || w.underWay > 0; n++ {
		if n%checkEvery == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if w.scenario.Progress != nil {
				w.scenario.Progress(w.arrived)
			}
		}
		e := w.pop()
		w.tally.reach(w, e.at)
		w.now.Store(e.at)
		e.do()
	}
	w.tally.reach(w, w.now.Load()+w.tally.step)
	return nil
}
