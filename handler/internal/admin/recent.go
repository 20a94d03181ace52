package admin

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

var _ api.Observer = (*Recent)(nil)

// Recent keeps this instance's latest requests, its traffic of the last minute and
// of the last hours, and the latest events, in bounded memory. It is safe
// for concurrent use.
type Recent struct {
	now         func() time.Time
	instance    string
	names       []string // of the slots
	slots       []rates
	utilization []utilization // by slot
	consumers   consumerRates

	mu    sync.Mutex
	ring  []requestRecord // a ring buffer: next is the oldest
	next  int
	total uint64

	events  timeline
	history history
	alone   chan struct{} // this instance found something out by itself: the others see it in its next row
}

// NewRecent keeps up to keep requests of an instance, whose slots have these names.
func NewRecent(instance string, slots []string, keep int, now func() time.Time) *Recent {
	return &Recent{
		now: now, instance: instance, names: slots,
		slots: make([]rates, len(slots)), utilization: make([]utilization, len(slots)), ring: make([]requestRecord, keep),
		alone: make(chan struct{}, 1),
	}
}

// RequestDone records a finished request.
func (r *Recent) RequestDone(x *api.RequestRecord) {
	r.countRequest(x)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next].copyFrom(x)
	r.next = (r.next + 1) % len(r.ring)
	r.total++
}

// countRequest adds the request to the last minute.
func (r *Recent) countRequest(x *api.RequestRecord) {
	end := x.Start.Add(x.Duration)
	c := counts{Attempts: 1}
	if x.Result != nil {
		c.Served, c.Tokens = boolToInt(x.Result.Served()), x.Result.Delivery.Usage.Total()
		for i := range x.Result.Attempts {
			r.countAttempt(x.Result, i, end)
		}
	}
	if x.Consumer != nil {
		over, exceeded := errors.AsType[*quota.ExceededError](x.Cause)
		c.Throttled = boolToInt(exceeded && !over.Unknown)
		r.consumers.add(x.Consumer.Name, end, c)
	}
	r.history.count(x, c)
}

func (r *Recent) countAttempt(result *proxy.Result, i int, end time.Time) {
	a := &result.Attempts[i]
	slot := int(a.Backend.Slot)
	if slot < 0 || slot >= len(r.slots) {
		return
	}
	c, first := counts{Attempts: 1}, noFirstToken
	switch a.Outcome.Class {
	case health.Throttled:
		c.Throttled = 1
	case health.Failed, health.Misconfigured:
		c.Failed = 1
	case health.Served, health.Abandoned:
	}
	c.Silent, c.Hedges = boolToInt(a.Silent), boolToInt(a.Hedge)
	if a == result.ServingAttempt() {
		c.Served, c.Tokens = boolToInt(result.Served()), result.Delivery.Usage.Total()
		if at := result.Delivery.FirstToken; !at.IsZero() {
			first = max(at.Sub(a.Start), 0)
		}
	}
	r.slots[slot].add(end, c, first)
	r.utilization[slot].record(end, a.Outcome.Signals)
}

// noFirstToken is the time to the first token of a request without one.
const noFirstToken = time.Duration(-1)

func boolToInt(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// requestRecord is a copy of a finished request. An api.RequestRecord refers to
// the caller's body, which must not be retained.
type requestRecord struct {
	id, method, operation, family     string
	consumer, caller, key             string
	model, pool, code, cause, errText string
	finish                            string
	began                             time.Time
	took, waited, firstToken          time.Duration // firstToken < 0: there was none
	status                            int
	stream, broken                    bool
	served                            *balancer.Backend
	version                           uint64
	eligible                          int
	candidates                        []balancer.Candidate
	attempts                          []proxy.Attempt
	tokens                            usage.Tokens
	cost                              float64
	currency                          string
	retryAt                           time.Time
}

// copyFrom copies x over an older request, and reuses its memory.
func (d *requestRecord) copyFrom(x *api.RequestRecord) {
	candidates, attempts := d.candidates[:0], d.attempts[:0]
	*d = requestRecord{
		id: x.ID, method: knownMethod(x.Method), operation: x.Operation, family: x.Family, caller: x.Caller, key: x.KeyID, model: x.Model,
		began: x.Start, took: x.Duration, status: x.Status, code: x.Code, stream: x.Stream, firstToken: noFirstToken,
	}
	if x.Consumer != nil {
		d.consumer = x.Consumer.Name
	}
	if x.Cause != nil {
		d.cause = truncate(x.Cause.Error())
	}
	if x.Result != nil {
		candidates = append(candidates, x.Result.Decision.Candidates...)
		attempts = append(attempts, x.Result.Attempts...)
		d.copyResult(x)
	}
	d.candidates, d.attempts = candidates, attempts
}

func (d *requestRecord) copyResult(x *api.RequestRecord) {
	r := x.Result
	d.served, d.version, d.eligible, d.waited, d.retryAt = r.ServedBy, r.Decision.Version, r.Decision.Eligible, r.Waited, r.RetryAt
	d.finish, d.broken, d.tokens = r.Delivery.FinishReason, r.Delivery.Broken, r.Delivery.Usage
	if r.Pool != nil {
		d.pool, d.currency = r.Pool.Model, r.Pool.Price.Currency
		_, d.cost, _ = metering.Total(x.Charges)
	}
	if r.Err != nil {
		d.errText = truncate(r.Err.Error())
	}
	if !r.Delivery.FirstToken.IsZero() {
		d.firstToken = max(r.Delivery.FirstToken.Sub(x.Start), 0)
	}
}

// truncate bounds the text of an error.
func truncate(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// clone is a copy that is not overwritten.
func (d *requestRecord) clone() requestRecord {
	c := *d
	c.candidates = append([]balancer.Candidate(nil), d.candidates...)
	c.attempts = append([]proxy.Attempt(nil), d.attempts...)
	return c
}

// find is the requests with this id, newest first; "" = any.
func (r *Recent) find(id string, most int) []requestRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []requestRecord
	for i := range min(r.total, uint64(len(r.ring))) {
		d := &r.ring[(r.next-1-int(i)+2*len(r.ring))%len(r.ring)]
		if id != "" && d.id != id {
			continue
		}
		if found = append(found, d.clone()); len(found) == most {
			break
		}
	}
	return found
}

// finished is how many requests were recorded.
func (r *Recent) finished() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// retained is how many requests are kept, and when the oldest began.
func (r *Recent) retained() (int, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := int(min(r.total, uint64(len(r.ring))))
	if n == 0 {
		return 0, time.Time{}
	}
	return n, r.ring[(r.next-n+len(r.ring))%len(r.ring)].began
}

// knownMethod replaces methods that are not standard: they are text of the caller.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "_OTHER"
}
