// Package doctor asks the outside world whether a valid configuration is also
// true: the deployments exist, the credential is let in, the backends of a
// pool serve the same model, the table can be written, the host is told what
// it must be told. Each thing found is one line with its place and its fix.
// It knows no settings and writes nothing but one row that it deletes again.
package preflight

import (
	"cmp"
	"context"
	"sync"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
)

// Input is what is examined. Targets are by pool.Backend.Index, in the order
// of the document.
type Input struct {
	Targets    []*backend.Target
	Pools      []balancer.Pool
	APIVersion string // the one that classic calls without their own are given
	State      State
	Host       Host
	Timeout    time.Duration    // for each backend, and for the table; 0 = 15 s
	Now        func() time.Time // nil = time.Now
}

const (
	defaultTimeout = 15 * time.Second
	maxConcurrent  = 4 // backends that are asked at the same time
)

// Run looks at everything and returns what was found in the order of the
// document: backends, pools, the table, the host. It ends with ctx, or else
// when every backend had its patience.
func Run(ctx context.Context, s *Input) *Report {
	visits := make([]*resourceCheck, len(s.Targets))
	turn := make(chan struct{}, maxConcurrent)
	var asking sync.WaitGroup
	for i, target := range s.Targets {
		v := &resourceCheck{target: target, place: place(i, target.Name), apiVersion: s.APIVersion, deployments: deploymentsOf(s.Pools, i)}
		visits[i] = v
		asking.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			ctx, cancel := context.WithTimeout(ctx, s.timeout())
			defer cancel()
			v.run(ctx)
		})
	}
	var kept findings
	asking.Go(func() { s.checkTable(ctx, &kept) })
	asking.Wait()
	return s.report(visits, kept)
}

// report puts the findings of all into the order of the document.
func (s *Input) report(visits []*resourceCheck, kept findings) *Report {
	r := &Report{Backends: len(visits)}
	for _, v := range visits {
		r.Findings = append(r.Findings, v.findings...)
		r.Requests += v.requests
		r.Paid += v.paid
	}
	var rest findings
	for i := range s.Pools {
		compareModels(&s.Pools[i], visits, &rest)
		checkSharedQuota(&s.Pools[i], s.Targets, &rest)
	}
	rest = append(rest, kept...)
	s.Host.check(&rest)
	r.Findings = append(r.Findings, rest...)
	return r
}

func (s *Input) timeout() time.Duration { return cmp.Or(s.Timeout, defaultTimeout) }

func (s *Input) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// deployment is what a resource calls one or more models.
type deployment struct {
	name        string
	model       string // the first of them
	provisioned bool

	found       bool   // it exists
	servedModel string // what it says it serves, in its headers; "" = unknown
	bodyModel   string // the same, in the body of an answer
	utilization bool   // it answers as a provisioned one does
}

// deploymentsOf are the deployments of a resource that requests are sent to,
// each once. Those that only callers name are not among them.
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
