// Package pool decides which backend is tried first, and which next.
package balancer

import (
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// Strategy is how a priority group shares its requests. The zero Strategy is
// Weighted.
type Strategy uint8

// The strategies (design.md §5.1).
const (
	Weighted      Strategy = iota // exponential keys over weights
	RoundRobin                    // exactly in turn
	LeastBusy                     // in flight per weight, the better of two
	LowestLatency                 // all within the sensitivity of the fastest, by weight
)

// Backend is one deployment of the model at one resource.
type Backend struct {
	Name        string
	Index       int         // place of the resource in the pool document: which target it is sent to
	Slot        health.Slot // where its health is
	Deployment  string      // the resource's name for the model; "" passes the caller's on
	Region      string
	Geography   string
	Priority    int // lower is tried first; already bent by priorityIn for this region
	Weight      int // share of its priority group; 0 = drained
	Provisioned bool
	Stateful    bool // files, batches and the like of this model live here
	OpenAI      bool // an OpenAI-compatible base URL, not an Azure OpenAI resource
}

// Affinity says whether requests with a common prompt prefix stay together.
type Affinity uint8

// The affinities. The zero Affinity is PromptCache.
const (
	PromptCache Affinity = iota
	NoAffinity
)

// Hedge is a second attempt when the first is slow. The zero Hedge is off.
type Hedge struct {
	After      time.Duration // fixed delay; 0 with Percentile 0 = off
	Percentile float64       // or: this percentile of the recent time to first token, e.g. 0.95
	MaxPercent float64       // extra attempts are at most this share of requests
}

// Pool is the backends that serve one model, with how they are chosen. It is
// immutable once configured.
type Pool struct {
	Model              string
	Aliases            []string
	Backends           []Backend
	Strategy           Strategy
	LatencySensitivity time.Duration
	Affinity           Affinity
	Fallbacks          []string
	FirstToken         time.Duration // overrides the process setting; 0 = does not
	Hedge              Hedge
	Price              usage.Price
}
