package admin

import (
	"net/http"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// decision is one request that is over, in memory of its own: an exchange
// leads to its caller's body, which must not be kept.
type decision struct {
	id, method, operation, family string
	consumer, caller, key         string
	model, pool, code, cause, end string
	finish                        string
	began                         time.Time
	took, waited, first           time.Duration // first < 0: there was no first token
	status                        int
	stream, broken                bool
	served                        *balancer.Backend
	version                       uint64
	line                          int
	candidates                    []balancer.Candidate
	attempts                      []proxy.Attempt
	tokens                        usage.Tokens
	cost                          float64
	currency                      string
	retryAt                       time.Time
}

// take copies the exchange over an older one, whose memory it uses again.
func (d *decision) take(x *api.Exchange) {
	candidates, attempts := d.candidates[:0], d.attempts[:0]
	*d = decision{
		id: x.ID, method: knownMethod(x.Method), operation: x.Operation, family: x.Family, caller: x.Caller, key: x.KeyID, model: x.Model,
		began: x.Began, took: x.Took, status: x.Status, code: x.Code, stream: x.Stream, first: noToken,
	}
	if x.Consumer != nil {
		d.consumer = x.Consumer.Name
	}
	if x.Cause != nil {
		d.cause = shorten(x.Cause.Error())
	}
	if x.Result != nil {
		candidates = append(candidates, x.Result.Decision.Candidates...)
		attempts = append(attempts, x.Result.Attempts...)
		d.story(x)
	}
	d.candidates, d.attempts = candidates, attempts
}

func (d *decision) story(x *api.Exchange) {
	r := x.Result
	d.served, d.version, d.line, d.waited, d.retryAt = r.ServedBy, r.Decision.Version, r.Decision.Eligible, r.Waited, r.RetryAt
	d.finish, d.broken, d.tokens = r.Delivery.FinishReason, r.Delivery.Broken, r.Delivery.Usage
	if r.Pool != nil {
		d.pool, d.currency, d.cost = r.Pool.Model, r.Pool.Price.Currency, r.Pool.Price.Cost(r.Delivery.Usage)
	}
	if r.Err != nil {
		d.end = shorten(r.Err.Error())
	}
	if !r.Delivery.FirstToken.IsZero() {
		d.first = max(r.Delivery.FirstToken.Sub(x.Began), 0)
	}
}

// shorten bounds what an error says.
func shorten(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// copyOf is a decision that nobody will write over.
func (d *decision) copyOf() decision {
	c := *d
	c.candidates = append([]balancer.Candidate(nil), d.candidates...)
	c.attempts = append([]proxy.Attempt(nil), d.attempts...)
	return c
}

// find is the decision of this id, or of the newest ones when it is "".
func (r *Recent) find(id string, most int) []decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []decision
	for i := range min(r.seen, uint64(len(r.ring))) {
		d := &r.ring[(r.next-1-int(i)+2*len(r.ring))%len(r.ring)]
		if id != "" && d.id != id {
			continue
		}
		if found = append(found, d.copyOf()); len(found) == most {
			break
		}
	}
	return found
}

// kept is how many decisions are remembered, and when the oldest of them began.
func (r *Recent) kept() (int, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := int(min(r.seen, uint64(len(r.ring))))
	if n == 0 {
		return 0, time.Time{}
	}
	return n, r.ring[(r.next-n+len(r.ring))%len(r.ring)].began
}

// knownMethod keeps a caller's own words off the page.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "_OTHER"
}
