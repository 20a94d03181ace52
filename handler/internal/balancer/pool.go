// Package balancer puts the backends of a model in the order in which a request
// tries them: constraints, priority groups, the strategy within a group, prompt
// affinity. A decision is a value that holds the reason for each backend.
//
// It does not know the clock, consumers, or how a request is sent.
package balancer

import (
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// Strategy is how a priority group shares its requests. The zero Strategy is
// Weighted.
type Strategy uint8

// The strategies.
const (
	Weighted      Strategy = iota // at random by weight
	RoundRobin                    // by weight, exactly
	LeastBusy                     // the less loaded of two drawn by weight
	LowestLatency                 // by weight among those about as fast as the fastest
)

// Backend is a backend as the pool of one model has it: with its deployment, and its slot.
type Backend struct {
	Name        string
	Index       int         // of its resource in the pool document
	Slot        health.Slot // of its health in a snapshot
	Deployment  string      // "" = the name that the caller used
	Region      string
	Geography   string
	Priority    int // lower is tried first; priorityIn is applied
	Weight      int // within its priority group; 0 = no new requests, only what it alone holds
	Provisioned bool
	Stateful    bool         // holds the files, batches and other stored objects of its model
	Adopt       string       // the consumer to whom belong stored objects of which no maker is known; "" = nobody
	OpenAI      bool         // an OpenAI-compatible base URL, not an Azure OpenAI resource
	Price       *usage.Price // of this deployment; nil = the pool's
}

// Affinity is whether requests with a common prompt prefix go to the same backend.
type Affinity uint8

// The affinities. The zero Affinity is PromptCache.
const (
	PromptCache Affinity = iota
	NoAffinity
)

// Hedge is when a second attempt is added to a slow one. The zero Hedge is never.
type Hedge struct {
	After      time.Duration // fixed delay; 0 with Percentile 0 = off
	Percentile float64       // or this percentile of the recent time to first token, such as 0.95
	MaxPercent float64       // of requests that may be hedged
}

// Pool is the backends that serve one model, and how one is selected. It is
// immutable.
type Pool struct {
	Model              string
	Aliases            []string
	Backends           []Backend
	Strategy           Strategy
	LatencySensitivity time.Duration
	Affinity           Affinity
	Fallbacks          []string
	FilteredFallBack   bool          // what the content filter refuses is tried at the fallbacks
	FirstToken         time.Duration // the longest wait for it; 0 = SPILLWAY_FIRST_TOKEN_TIMEOUT
	Attempts           int           // how many backends one request tries at most; 0 = all of them
	Hedge              Hedge
	Price              usage.Price // unless the backend has its own
	MaxOutputTokens    int64       // the largest answer of the model; 0 = not known
}

// PriceAt is the price of the model at a backend.
func (p *Pool) PriceAt(b *Backend) *usage.Price {
	if b != nil && b.Price != nil {
		return b.Price
	}
	return &p.Price
}
