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
	Targets    []*Target // by pool.Backend.Index
	APIVersion string    // for classic calls whose caller named none; "" adds none
	Limits     Limits
	CountUsage bool            // ask chat streams for their usage when the caller did not
	Policy     classify.Policy // how answers are judged; Provisioned and CallerAuth are filled in

	// Annotate, when set, writes an attempt's trace context over the caller's
	// headers; a nil value takes one away. Unset, the caller's own goes through.
	Annotate func(r *proxy.Request, b *balancer.Backend, h http.Header)

	buffers buffers
}

// Limits bound how long an attempt waits for an answer's headers, from its
// beginning. Zero is no limit.
type Limits struct {
	Response   time.Duration            // of an answer in one piece
	FirstToken time.Duration            // of a stream
	Models     map[string]time.Duration // a model's own first token limit, ahead of FirstToken
}

// errBodyLimit is how long the body of a refusal may take once its status is
// known.
const errBodyLimit = 5 * time.Second

// Send makes one attempt at one backend. It returns the response with its body
// unread when the status line promises service or the answer is the caller's
// business, else nil and the outcome. The caller closes the body, which ends
// the attempt; until then ctx ends it. before is asked just ahead of the first
// byte on the wire, again if the transport takes another connection.
func (c *Client) Send(ctx context.Context, b *balancer.Backend, r *proxy.Request, before func() error) (*http.Response, health.Outcome) {
	t := c.Targets[b.Index]
	a := newAttempt(ctx, t, before)
	a.repeatable, a.tail = r.Operation.State != operations.Pinned, r.StreamedBody
	a.asIs = r.PinnedTo != nil && r.PinnedTo.Backend != "" || r.Operation.State.Stored()
	a.within(c.Limits.of(r))
	m := c.compose(a, t, b, r)
	if err := t.Credential.Put(a.ctx, m.over, r.Header); err != nil {
		defer a.end()
		a.letGo()
		return refusedCredential(a, err)
	}
	res, err := a.send(t, &m)
	a.letGo()
	if err != nil {
		defer a.end()
		return nil, a.verdict(err)
	}
	return c.receive(a, t, b, res)
}

func (l *Limits) of(r *proxy.Request) (time.Duration, error) {
	if !r.Parsed.Stream {
		return l.Response, errResponseTimeout
	}
	if own, ok := l.Models[r.Model]; ok {
		return own, errFirstTokenTimeout
	}
	return l.FirstToken, errFirstTokenTimeout
}

// message is one attempt's request.
type message struct {
	method  string
	url     *url.URL
	host    string
	caller  http.Header            // what came in …
	passes  func(name string) bool // … of which these go on
	over    http.Header            // what we write ourselves
	content content
}

// compose builds the request. Its bytes are the caller's own unless a part of
// them had to be replaced.
func (c *Client) compose(a *attempt, t *Target, b *balancer.Backend, r *proxy.Request) message {
	name := deployment(b, r)
	pass := passes(r.Header)
	m := message{
		method: r.Method, url: c.address(t, name, r), host: t.Endpoint.Host,
		caller: r.Header, passes: pass, over: t.header(r, pass), content: c.content(a, t, name, r),
	}
	if c.Annotate != nil {
		c.Annotate(r, b, m.over)
	}
	return m
}

// refusedCredential is the attempt that was not made for want of a credential.
// One that this process could not get is a failure; one that is refused is a
// wrong configuration; one that the caller lacks is the caller's business.
func refusedCredential(a *attempt, err error) (*http.Response, health.Outcome) {
	o := health.Outcome{Class: health.Failed, Reason: "credential unavailable", Signals: health.NoSignals()}
	switch {
	case errors.Is(err, ErrCallerToken):
		return callerUnproven(), health.Outcome{Reason: "no token to pass through", Signals: health.NoSignals()}
	case a.over():
		return nil, a.verdict(err)
	case errors.Is(err, ErrIdentity):
		o.Class = health.Misconfigured
	}
	return nil, o
}
