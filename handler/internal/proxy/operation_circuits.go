package proxy

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
)

// OperationCircuits remembers, for this process alone, which backends refuse an
// operation that others serve: a wrong credential, a deployment of another model,
// an api-version that the resource does not have. It never leaves the process: what
// is wrong for one caller or one app harms nobody else. It does not read a clock.
// The zero OperationCircuits is ready for use; it is safe for concurrent use.
type OperationCircuits struct {
	TripDuration    time.Duration // how long a circuit stays open at first; 0 = 10 s
	MaxTripDuration time.Duration // the longest, as it doubles; 0 = 5 min

	// Opened is called when a circuit opens; nil = not wanted. It must not block.
	Opened func(c OpenedOperation)

	served  sync.Map // operationAt → *atomic.Int64, when it was last served
	known   atomic.Int64
	unfit   atomic.Int64 // how many are in suspects: most of the time none
	mu      sync.Mutex
	suspect map[refusalKey]*suspicion
	refused map[refusedRequest]refusedMemory // requests that every backend refused
	faulty  atomic.Bool                      // some of refused have a reason
}

// OpenedOperation is a circuit that opened, or what every backend of a model refuses.
type OpenedOperation struct {
	Slot       health.Slot // with Model "" only
	Model      string      // every backend of it refuses the operation; "" = that of the slot does
	Operation  string
	APIVersion string // "" = the request named none
	Consumer   string // whose requests are refused; "" = all
	Reason     string
	Since      time.Time
	Until      time.Time
}

// operationKey is what a backend either serves or refuses. The API version is the
// caller's text, so entries are made only of what was served, or are bounded.
type operationKey struct{ operation, version string }

// refusalKey is a refused operation. consumer is whose requests are refused; "" when
// that is certainly not for what a request holds.
type refusalKey struct {
	operationAt
	consumer string
}

type operationAt struct {
	slot health.Slot
	operationKey
}

type refusedRequest struct {
	consumer, model string
	operationKey
}

// refusedMemory is what every backend said to such a request, for how long, and when
// one of them asks all again: somebody may serve it by then.
type refusedMemory struct {
	until, askAll time.Time
	since         time.Time
	reason        string // our credential or the deployment; "" = it may be the request
	refusals      []refusal
}

// refusal is what a backend said to a request.
type refusal struct {
	slot   health.Slot
	status int
	reason string
}

// suspicion is what is known of a backend that refused an operation.
type suspicion struct {
	refusals int
	trips    int
	until    time.Time // not used before
	since    time.Time // of the first refusal
	reason   string    // of the latest
}

const (
	firstDetour      = time.Second      // after the first refusal
	lately           = 10 * time.Minute // how long a served operation is evidence
	askOne           = time.Minute      // how long what every backend refused is not asked of all,
	askAll           = time.Second      // but for one request in this time
	claimed          = 5 * time.Second  // for one request to try again
	maxOperations    = 4096             // served ones that are remembered
	maxSuspicions    = 1024
	defaultTrip      = 10 * time.Second
	defaultMaxTrip   = 5 * time.Minute
	servedResolution = time.Second
)

// operationOf is the key of a request.
func operationOf(r *Request) operationKey {
	version, _ := operations.APIVersion(r.Query)
	return operationKey{r.Operation.Name, version[:min(len(version), 64)]}
}

// recordServed records that the backend served a consumer the operation.
func (o *OperationCircuits) recordServed(slot health.Slot, key operationKey, consumer string, now time.Time) {
	at := operationAt{slot, key}
	known, ok := o.served.Load(at)
	if !ok {
		if o.known.Add(1) > maxOperations {
			o.known.Add(-1)
			return
		}
		at.version = strings.Clone(at.version) // the query is the request's
		known, _ = o.served.LoadOrStore(at, new(atomic.Int64))
	}
	last := known.(*atomic.Int64)
	if ns := now.UnixNano(); ns-last.Load() >= int64(servedResolution) {
		last.Store(ns)
	}
	if o.unfit.Load() > 0 {
		o.mu.Lock()
		delete(o.suspect, refusalKey{operationAt: at})
		delete(o.suspect, refusalKey{at, consumer})
		o.unfit.Store(int64(len(o.suspect)))
		o.mu.Unlock()
	}
}

// servedWithin reports whether the backend served the operation within this time.
func (o *OperationCircuits) servedWithin(d time.Duration, slot health.Slot, key operationKey, now time.Time) bool {
	known, ok := o.served.Load(operationAt{slot, key})
	return ok && now.Sub(time.Unix(0, known.(*atomic.Int64).Load())) < d
}

// unfitUntil reports until when, and why, the backend is not to be used for a
// consumer's operation.
func (o *OperationCircuits) unfitUntil(slot health.Slot, key operationKey, consumer string, now time.Time) (until time.Time, cause string, unfit bool) {
	o.suspicions(slot, key, consumer, func(s *suspicion) {
		if now.Before(s.until) && s.until.After(until) {
			until, cause, unfit = s.until, s.reason, true
		}
	})
	return until, cause, unfit
}

// suspicions calls f for what is known against the backend.
func (o *OperationCircuits) suspicions(slot health.Slot, key operationKey, consumer string, f func(s *suspicion)) {
	if o.unfit.Load() == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	at := refusalKey{operationAt: operationAt{slot, key}}
	if s := o.suspect[at]; s != nil {
		f(s)
	}
	if at.consumer = consumer; consumer != "" && o.suspect[at] != nil {
		f(o.suspect[at])
	}
}

// claim has one request try a backend that refused the operation; others do not for
// a while.
func (o *OperationCircuits) claim(slot health.Slot, key operationKey, consumer string, now time.Time) {
	o.suspicions(slot, key, consumer, func(s *suspicion) {
		if !now.Before(s.until) {
			s.until = now.Add(claimed)
		}
	})
}

// unclaim ends a claim whose attempt showed nothing.
func (o *OperationCircuits) unclaim(slot health.Slot, key operationKey, consumer string, now time.Time) {
	o.suspicions(slot, key, consumer, func(s *suspicion) {
		if s.until.Sub(now) <= claimed {
			s.until = now
		}
	})
}

// refuse records that the backend refused the operation although another one, or
// itself a while ago, serves it: it is left alone for a second after the first time,
// and its circuit opens at the second. consumer is the only one that this binds; "" =
// all are bound.
func (o *OperationCircuits) refuse(slot health.Slot, key operationKey, consumer, reason string, now time.Time) {
	at := refusalKey{operationAt{slot, key}, consumer}
	o.mu.Lock()
	s := o.suspect[at]
	if s == nil {
		if len(o.suspect) >= maxSuspicions {
			o.mu.Unlock()
			return
		}
		if o.suspect == nil {
			o.suspect = map[refusalKey]*suspicion{}
		}
		at.version = strings.Clone(at.version)
		s = &suspicion{since: now}
		o.suspect[at] = s
		o.unfit.Store(int64(len(o.suspect)))
	}
	if s.refusals > 0 && now.Before(s.until) && s.until.Sub(now) > claimed {
		o.mu.Unlock() // of a request that was under way when it opened
		return
	}
	s.reason = reason
	opened, circuit := o.count(s, now), openedOperation(&at, s)
	o.mu.Unlock()
	if opened && o.Opened != nil {
		o.Opened(circuit)
	}
}

func openedOperation(at *refusalKey, s *suspicion) OpenedOperation {
	return OpenedOperation{
		Slot: at.slot, Operation: at.operation, APIVersion: at.version, Consumer: at.consumer, Reason: s.reason, Since: s.since, Until: s.until,
	}
}

// List is the circuits that are open, those that nobody has tried since their
// time was over included, for ten minutes; and what every backend of a model lately
// refused for our credential or its deployment. The order is not defined.
func (o *OperationCircuits) List(now time.Time) []OpenedOperation {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []OpenedOperation
	for at, s := range o.suspect {
		if s.trips > 0 && now.Sub(s.until) < lately {
			all = append(all, openedOperation(&at, s))
		}
	}
	for at, memory := range o.refused {
		if memory.reason != "" && now.Before(memory.until) {
			all = append(all, OpenedOperation{
				Model: at.model, Operation: at.operation, APIVersion: at.version, Consumer: at.consumer,
				Reason: memory.reason, Since: memory.since, Until: memory.until,
			})
		}
	}
	return all
}

// count adds a refusal, and reports whether the circuit opened.
func (o *OperationCircuits) count(s *suspicion, now time.Time) bool {
	if s.refusals++; s.refusals == 1 {
		s.until = now.Add(firstDetour)
		return false
	}
	trip, longest := o.TripDuration, o.MaxTripDuration
	if trip <= 0 {
		trip = defaultTrip
	}
	if longest <= 0 {
		longest = defaultMaxTrip
	}
	s.until = now.Add(min(trip<<min(s.trips, 16), longest))
	s.trips++
	return true
}

// allRefused records what every backend said to the request, which is not asked again
// for a minute, but once a second. reason is why, unless the request may be.
func (o *OperationCircuits) allRefused(r *Request, model, reason string, refusals []refusal, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.refused) >= maxSuspicions {
		for k, memory := range o.refused {
			if !now.Before(memory.until) {
				delete(o.refused, k)
			}
		}
		if len(o.refused) >= maxSuspicions {
			return
		}
	}
	if o.refused == nil {
		o.refused = map[refusedRequest]refusedMemory{}
	}
	key := refusedKey(r, model)
	key.version = strings.Clone(key.version)
	since := now
	if was, ok := o.refused[key]; ok && now.Before(was.until) {
		since = was.since
	}
	o.refused[key] = refusedMemory{until: now.Add(askOne), askAll: now.Add(askAll), since: since, reason: reason, refusals: refusals}
	if reason != "" {
		o.faulty.Store(true)
	}
}

// mended forgets why every backend refused such requests, whoever sent them: one
// serves the operation. Which are asked does not change.
func (o *OperationCircuits) mended(key operationKey, model string) {
	if !o.faulty.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	faulty := false
	for k, memory := range o.refused {
		if k.model == model && k.operationKey == key {
			memory.reason = ""
			o.refused[k] = memory
		}
		faulty = faulty || memory.reason != ""
	}
	o.faulty.Store(faulty)
}

// wasRefused is what every backend said to such a request within the last minute;
// nil = some did not, or this is the one that asks all again.
func (o *OperationCircuits) wasRefused(r *Request, model string, now time.Time) []refusal {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := refusedKey(r, model)
	memory, ok := o.refused[key]
	if !ok || !now.Before(memory.until) {
		return nil
	}
	if now.Before(memory.askAll) {
		return memory.refusals
	}
	memory.askAll = now.Add(askAll)
	o.refused[key] = memory
	return nil
}

// spared is the slots of the backends that need not be asked after one said this:
// each said the same before, and has served nobody the operation since, nor shortly
// before.
func (o *OperationCircuits) spared(before []refusal, said refusal, key operationKey, now time.Time) (slots []health.Slot) {
	for _, r := range before {
		said.slot = r.slot
		if r == said && o.known.Load() < maxOperations && !o.servedWithin(askOne+servedResolution, r.slot, key, now) {
			slots = append(slots, r.slot)
		}
	}
	return slots
}

// notRefused ends what allRefused recorded: such a request was served.
func (o *OperationCircuits) notRefused(r *Request, model string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.refused, refusedKey(r, model))
}

func refusedKey(r *Request, model string) refusedRequest {
	return refusedRequest{r.consumerName(), model, operationOf(r)}
}
