package proxy

import (
	"errors"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// What a request can end in when no backend served it.
var (
	// ErrThrottled: every backend is throttled, or failing with at least one
	// only throttled. Waiting until Result.RetryAt may help.
	ErrThrottled = errors.New("proxy: every backend is throttled")
	// ErrUnavailable: every backend is failing, open or drained.
	ErrUnavailable = errors.New("proxy: no backend is available")
	// ErrConstrainedOut: the consumer's geographies or reserved groups leave no backend.
	ErrConstrainedOut = errors.New("proxy: no backend within the consumer's bounds")
	// ErrNotDeployed: the backends that take any model have none of this name.
	ErrNotDeployed = errors.New("proxy: no backend has such a deployment")
	// ErrBody: the caller's body ended early, or is over the limit; Request.Tail
	// says which.
	ErrBody = errors.New("proxy: the request's body could not be read to its end")
	// ErrTimeout: the caller's deadline, or every attempt's, ran out.
	ErrTimeout = errors.New("proxy: no backend answered in time")
	// ErrCallerLeft: the caller closed its connection.
	ErrCallerLeft = errors.New("proxy: the caller left")
)

// Attempt is one attempt as the log tells it.
type Attempt struct {
	Backend *balancer.Backend
	Began   time.Time
	Outcome health.Outcome
	Status  int // of the backend's answer; 0 = none
	Probe   bool
	Took    time.Duration // until the verdict; of a stream, until its end
	Hedge   bool          // it began because the one before it was slow
	Wasted  usage.Tokens  // what is known to have been used for nothing
}

// Result is the whole story of one request.
type Result struct {
	Pool     *balancer.Pool // the last one tried
	Decision balancer.Decision
	Attempts []Attempt
	Waited   time.Duration // in the waiting room, for a throttled pool
	Delivery Delivery
	ServedBy *balancer.Backend // nil with Err
	Err      error
	RetryAt  time.Time // with ErrThrottled and ErrUnavailable: soonest reopening; zero = unknown
}

// Wasted is what the attempts are known to have used that did not reach the
// caller: the backends bill it all the same.
func (r *Result) Wasted() usage.Tokens {
	var sum usage.Tokens
	for i := range r.Attempts {
		sum = sum.Add(r.Attempts[i].Wasted)
	}
	return sum
}

// Status is that of the answer that was carried to the caller; 0 = none was.
func (r *Result) Status() int {
	for i := len(r.Attempts) - 1; i >= 0; i-- {
		if r.Attempts[i].Backend == r.ServedBy {
			return r.Attempts[i].Status
		}
	}
	return 0
}
