package proxy

import (
	"errors"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// Why no backend served a request.
var (
	// ErrThrottled: every backend is throttled or failing, and at least one is
	// throttled. A retry after Result.RetryAt may succeed.
	ErrThrottled = errors.New("proxy: every backend is throttled")
	// ErrUnavailable: every backend is failing, open or drained.
	ErrUnavailable = errors.New("proxy: no backend is available")
	// ErrConstrainedOut: the consumer's geographies and least priority leave no
	// backend.
	ErrConstrainedOut = errors.New("proxy: no backend within the consumer's bounds")
	// ErrNotDeployed: no backend has a deployment of this name.
	ErrNotDeployed = errors.New("proxy: no backend has such a deployment")
	// ErrBody: the caller's body ended early or exceeds the limit;
	// Request.StreamedBody.Err is which.
	ErrBody = errors.New("proxy: the request's body could not be read to its end")
	// ErrTimeout: the caller's deadline, ResponseTimeout or the first token
	// timeout of the attempts passed.
	ErrTimeout = errors.New("proxy: no backend answered in time")
	// ErrCallerLeft: the caller closed its connection.
	ErrCallerLeft = errors.New("proxy: the caller left")
)

// Attempt is one attempt of a request.
type Attempt struct {
	Backend  *balancer.Backend
	Start    time.Time
	Outcome  health.Outcome
	Status   int // of the backend's response; 0 = none
	Probe    bool
	Duration time.Duration // until its outcome; of a stream, until its end
	Hedge    bool          // started because the one before was slow
	Wasted   usage.Tokens  // known usage of a response that was not delivered
}

// Result is what became of one request.
type Result struct {
	Pool     *balancer.Pool // the last one tried
	Decision balancer.Decision
	Attempts []Attempt
	Waited   time.Duration // for a throttled pool to reopen
	Delivery Delivery
	ServedBy *balancer.Backend // nil when Err is set
	Err      error
	RetryAt  time.Time // soonest reopening, with ErrThrottled and ErrUnavailable; zero = unknown
}

// Wasted is the known usage of attempts that were not delivered, which the backends
// bill all the same.
func (r *Result) Wasted() usage.Tokens {
	var sum usage.Tokens
	for i := range r.Attempts {
		sum = sum.Add(r.Attempts[i].Wasted)
	}
	return sum
}

// Status is that of the delivered response; 0 = none was.
func (r *Result) Status() int {
	for i := len(r.Attempts) - 1; i >= 0; i-- {
		if r.Attempts[i].Backend == r.ServedBy {
			return r.Attempts[i].Status
		}
	}
	return 0
}
