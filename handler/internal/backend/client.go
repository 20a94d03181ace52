package backend

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

var _ proxy.Sender = (*Client)(nil)

// Client makes attempts. It is safe for concurrent use; its fields are set
// before the first one and not after.
type Client struct {
	Targets      []*Target // by pool.Backend.Index
	APIVersion   string    // for classic calls whose caller named none; "" adds none
	Timeouts     Timeouts
	RequestUsage bool            // ask chat streams for their usage when the caller did not
	Policy       classify.Policy // how answers are judged; Provisioned and CallerAuth are filled in

	// InjectTrace, when set, writes an attempt's trace context over the caller's
	// headers; a nil value takes one away. Unset, the caller's own goes through.
	InjectTrace func(r *proxy.Request, b *balancer.Backend, h http.Header)

	pool bufferPool
}

// Timeouts bound how long an attempt waits for an answer's headers, from its
// beginning. Zero is no limit.
type Timeouts struct {
	Response          time.Duration            // of an answer in one piece
	FirstToken        time.Duration            // of a stream
	FirstTokenByModel map[string]time.Duration // a model's own first token limit, ahead of FirstToken
}

// errorBodyTimeout is how long the body of a refusal may take once its status is
// known.
const errorBodyTimeout = 5 * time.Second

// Send makes one attempt at one backend. It returns the response with its body
// unread when the status line promises service or the answer is the caller's
// business, else nil and the outcome. The caller closes the body, which ends
// the attempt; until then ctx ends it. before is asked just ahead of the first
// byte on the wire, again if the transport takes another connection.
func (c *Client) Send(ctx context.Context, b *balancer.Backend, r *proxy.Request, before func() error) (*http.Response, health.Outcome) {
	t := c.Targets[b.Index]
	a := newAttempt(ctx, t, before)
	a.repeatable, a.tail = r.Operation.State != operations.Pinned, r.StreamedBody
	a.passThrottled = r.PinnedTo != nil && r.PinnedTo.Backend != "" || r.Operation.State.Stored()
	a.startTimeout(c.Timeouts.of(r))
	m := c.compose(a, t, b, r)
	if err := t.Credential.Apply(a.ctx, m.own, r.Header); err != nil {
		defer a.finish()
		a.release()
		return credentialOutcome(a, err)
	}
	res, err := a.send(t, &m)
	a.release()
	if err != nil {
		defer a.finish()
		return nil, a.failure(err)
	}
	return c.classifyResponse(a, t, b, res)
}

func (l *Timeouts) of(r *proxy.Request) (time.Duration, error) {
	if !r.Parsed.Stream {
		return l.Response, errResponseTimeout
	}
	if own, ok := l.FirstTokenByModel[r.Model]; ok {
		return own, errFirstTokenTimeout
	}
	return l.FirstToken, errFirstTokenTimeout
}

// message is one attempt's request.
type message struct {
	method   string
	url      *url.URL
	host     string
	caller   http.Header            // what came in …
	forwards func(name string) bool // … of which these go on
	own      http.Header            // what we write ourselves
	body     requestBody
}

// compose builds the request. Its bytes are the caller's own unless a part of
// them had to be replaced.
func (c *Client) compose(a *attempt, t *Target, b *balancer.Backend, r *proxy.Request) message {
	name := deploymentName(b, r)
	pass := headerFilter(r.Header)
	m := message{
		method: r.Method, url: c.requestURL(t, name, r), host: t.Endpoint.Host,
		caller: r.Header, forwards: pass, own: t.ownHeaders(r, pass), body: c.body(a, t, name, r),
	}
	if c.InjectTrace != nil {
		c.InjectTrace(r, b, m.own)
	}
	return m
}

// credentialOutcome is the attempt that was not made for want of a credential.
// One that this process could not get is a failure; one that is refused is a
// wrong configuration; one that the caller lacks is the caller's business.
func credentialOutcome(a *attempt, err error) (*http.Response, health.Outcome) {
	o := health.Outcome{Class: health.Failed, Reason: "credential unavailable", Signals: health.NoSignals()}
	switch {
	case errors.Is(err, ErrNoCallerToken):
		return missingCallerToken(), health.Outcome{Reason: "no token to pass through", Signals: health.NoSignals()}
	case a.aborted():
		return nil, a.failure(err)
	case errors.Is(err, ErrIdentityRefused):
		o.Class = health.Misconfigured
	}
	return nil, o
}
