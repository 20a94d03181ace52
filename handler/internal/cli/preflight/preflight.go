// Package preflight checks a valid configuration against the outside world: the
// deployments exist, the credentials are accepted, the backends of a pool serve
// the same model, the table can be written, and host.json is right. It does not
// know where settings come from, and writes nothing but one row, which it
// deletes.
package preflight

import (
	"cmp"
	"context"
	"sync"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
)

// Input is what is checked. Targets are by balancer.Backend.Index, in the order
// of the pool document.
type Input struct {
	Targets    []*backend.Target
	Pools      []balancer.Pool
	APIVersion string // that the gateway adds to requests without one
	State      State
	Host       Host
	Timeout    time.Duration    // of each backend, and of the table; 0 = 15 s
	Now        func() time.Time // nil = time.Now
}

const (
	defaultTimeout = 15 * time.Second
	maxConcurrent  = 4 // backends checked at the same time
)

// Run makes all checks and returns the findings in the order of the pool
// document: backends, pools, the table, the host. It ends with ctx, or when
// each check has had its timeout.
func Run(ctx context.Context, in *Input) *Report {
	checks := make([]*resourceCheck, len(in.Targets))
	slots := make(chan struct{}, maxConcurrent)
	var running sync.WaitGroup
	for i, target := range in.Targets {
		c := &resourceCheck{target: target, place: place(i, target.Name), apiVersion: in.APIVersion, deployments: deploymentsOf(in.Pools, i), now: in.now()}
		checks[i] = c
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, in.timeout())
			defer cancel()
			c.run(ctx)
		})
	}
	var table findings
	running.Go(func() { in.checkTable(ctx, &table) })
	running.Wait()
	return in.report(checks, table)
}

// report puts the findings into their order.
func (in *Input) report(checks []*resourceCheck, table findings) *Report {
	r := &Report{Backends: len(checks)}
	for _, c := range checks {
		r.Findings = append(r.Findings, c.findings...)
		r.Requests += c.requests
		r.Paid += c.paid
	}
	var others findings
	for i := range in.Pools {
		compareModels(&in.Pools[i], checks, &others)
		checkSharedQuota(&in.Pools[i], in.Targets, &others)
	}
	others = append(others, table...)
	in.Host.check(&others)
	r.Findings = append(r.Findings, others...)
	return r
}

func (in *Input) timeout() time.Duration { return cmp.Or(in.Timeout, defaultTimeout) }

func (in *Input) now() time.Time {
	if in.Now == nil {
		return time.Now()
	}
	return in.Now()
}

// deployment is a deployment of a resource, which one or more models are mapped
// to.
type deployment struct {
	name        string
	model       string // one of the models
	provisioned bool

	found       bool   // it exists
	servedModel string // as its headers report it; "" = unknown
	bodyModel   string // as the body of an answer reports it
	utilization bool   // its responses have the header of provisioned deployments
}

// deploymentsOf are the deployments of a resource to which requests are routed,
// each once.
func deploymentsOf(pools []balancer.Pool, resource int) []*deployment {
	var all []*deployment
	known := map[string]bool{}
	for i := range pools {
		for _, b := range pools[i].Backends {
			if b.Index == resource && b.Deployment != "" && !known[b.Deployment] {
				known[b.Deployment] = true
				all = append(all, &deployment{name: b.Deployment, model: pools[i].Model, provisioned: b.Provisioned})
			}
		}
	}
	return all
}
