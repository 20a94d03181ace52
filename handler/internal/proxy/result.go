package proxy

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// Why no backend served a request, besides [overload.ErrOverloaded].
var (
	// ErrThrottled: no backend serves, and most of them are throttled. A retry after
	// Result.RetryAt may succeed, unless Result.TooLarge.
	ErrThrottled = errors.New("proxy: every backend is throttled")
	// ErrUnavailable: no backend serves, and most of them are failing, open or drained.
	ErrUnavailable = errors.New("proxy: no backend is available")
	// ErrConstrainedOut: the consumer's geographies and least priority leave no
	// backend.
	ErrConstrainedOut = errors.New("proxy: no backend within the consumer's bounds")
	// ErrNotDeployed: no backend has a deployment of this name.
	ErrNotDeployed = errors.New("proxy: no backend has such a deployment")
	// ErrRefused: every backend says that the operation is not there, or not for us;
	// Result.Refusal is the status of the first.
	ErrRefused = errors.New("proxy: every backend refuses the operation")
	// ErrBody: the caller's body ended early or exceeds the limit;
	// Request.StreamedBody.Err is which.
	ErrBody = errors.New("proxy: the request's body could not be read to its end")
	// ErrTimeout: the caller's deadline, ResponseTimeout or the first token
	// timeout of the attempts passed.
	ErrTimeout = errors.New("proxy: no backend answered in time")
	// ErrCallerLeft: the caller closed its connection.
	ErrCallerLeft = errors.New("proxy: the caller left")
)

// Fence is a bound of a consumer's choice of backends, by its name in the
// configuration.
type Fence string

// The fences.
const (
	NoFence          Fence = ""
	FenceGeographies Fence = "geographies"
	FenceMinPriority Fence = "minPriority"
)

// Attempt is one attempt of a request.
type Attempt struct {
	Backend     *balancer.Backend
	Start       time.Time
	Outcome     health.Outcome
	Status      int // of the backend's response; 0 = none
	Probe       bool
	Duration    time.Duration // until its outcome; of a stream, until its end
	Hedge       bool          // started because the one before was slow
	Repeat      bool          // at a backend that had failed this request, or hung: nobody else was left, or it answers others again
	Trial       bool          // at a backend with an open circuit, because nobody else was left
	Resent      bool          // sent twice: a reused connection was closed without an answer
	Silent      bool          // no first content within SilentAfter: counted as a failure until it was answered
	SilentAfter time.Duration // three times the usual, or longer while that is not known
	Filtered    bool          // the content filter refused the prompt, by an error status
	Wasted      usage.Tokens  // known usage of a response that was not delivered
	try         int           // in the order in which they began
}

// Result is what became of one request.
type Result struct {
	Pool     *balancer.Pool // the last one tried
	Decision balancer.Decision
	Attempts []Attempt
	Waited   time.Duration // for a throttled pool to reopen, or for the trial of another request
	Delivery Delivery
	ServedBy *balancer.Backend // nil when Err is set
	Err      error
	RetryAt  time.Time // soonest reopening, with ErrThrottled and ErrUnavailable; zero = unknown
	TooLarge bool      // with ErrThrottled: backends refuse this request for its size and serve smaller ones
	Fence    Fence     // with ErrConstrainedOut: which; else which kept backends from it that might serve others
	Refusal  int       // with ErrRefused: the status of the first refusal; 0 = it came with status 200
}

// Served reports whether the caller got the answer of a backend, as far as it stayed
// for it: not a refusal, nor an answer that broke off.
func (r *Result) Served() bool {
	a := r.ServingAttempt()
	return a != nil && (a.Outcome.Class == health.Served || a.Outcome.Class == health.Abandoned)
}

// OurFault reports whether no backend served the request, and one refused our
// credential or has no such deployment, or none any more.
func (r *Result) OurFault() bool {
	return !r.Served() && slices.ContainsFunc(r.Attempts, func(a Attempt) bool {
		return a.Outcome.Class == health.Misconfigured && atFault(a.Status, a.Outcome.Reason)
	})
}

// atFault reports whether a refusal is about our credential or the deployment,
// whatever the request holds.
func atFault(status int, reason string) bool {
	return unauthorized(status) || status == http.StatusGone || reason == NotDeployed
}

// PassedOver reports whether the state of a candidate kept it back, and none of the
// attempts was made there all the same.
func PassedOver(c *balancer.Candidate, attempts []Attempt) bool {
	return c.Reason != health.NotSkipped && !slices.ContainsFunc(attempts, func(a Attempt) bool { return a.Backend == c.Backend })
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
	if a := r.ServingAttempt(); a != nil {
		return a.Status
	}
	return 0
}

// ServingAttempt is the attempt whose response the caller got, whole or in part;
// nil = none. Of two at its backend it is the last.
func (r *Result) ServingAttempt() *Attempt {
	for i := len(r.Attempts) - 1; i >= 0 && r.ServedBy != nil; i-- {
		if a := &r.Attempts[i]; a.Backend == r.ServedBy {
			return a
		}
	}
	return nil
}
