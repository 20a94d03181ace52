// Package backend sends requests to the backends. It builds the URL and the
// headers from the configuration, adds our own credential, sends the request
// over connections that are kept, and classifies the response or its absence.
// It does not know callers' connections, other backends or shared state.
package backend

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

var _ proxy.Sender = (*Client)(nil)

// Client makes attempts. It is safe for concurrent use; its fields are set
// before the first attempt and not changed after it.
type Client struct {
	Targets      []*Target // by balancer.Backend.Index
	APIVersion   string    // of requests that need one and whose caller sent none; "" adds none
	RequestUsage bool      // add stream_options.include_usage to chat streams without it

	// InjectTrace, when set, writes an attempt's trace context into the headers;
	// a nil value removes a header. Unset, the caller's trace context passes.
	InjectTrace func(r *proxy.Request, b *balancer.Backend, h http.Header)

	pool          bufferPool
	usageRefusals usageRefusals
}

// Target is one resource: its address, our credential for it, and the
// connections to it. It is immutable once in use.
type Target struct {
	Name       string
	Endpoint   *url.URL // scheme, host and base path; nothing else of it is used
	NoUsage    bool     // streams are never asked for their usage
	OpenAI     bool     // an OpenAI-compatible base URL: {base}/{path}, model in the body
	Credential Credential
	Transport  *Transport
	Policy     classify.Policy // Provisioned and CallerAuth are filled in

	// Deployments maps a model to this resource's deployment of it, for the
	// header that names a second deployment. Nil passes names unchanged.
	Deployments map[string]string

	// CallerHeader is the canonical name of the header that carries the caller's
	// id; "" sends none.
	CallerHeader string

	// PassHeaders are canonical names of headers that reach the resource from fenced
	// requests, too.
	PassHeaders []string
}

// Send makes one attempt at one backend. It returns the response with its body
// unread when its status is a success or concerns the caller alone, and with a
// short body in memory when it is of class Misconfigured, else nil and the outcome. The caller closes the body, which ends the attempt; until
// then the end of ctx ends it. beforeSend is nil unless the attempt is a probe:
// it is called before the first byte, again if the transport takes another
// connection; its error cancels the attempt. Probes are sent on a new
// connection.
//
// A backend that refuses what was added to the request gets it once more without
// that, or with a bound of the answer that it knows.
func (c *Client) Send(ctx context.Context, b *balancer.Backend, r *proxy.Request, beforeSend func() error) (*http.Response, health.Outcome) {
	t := c.Targets[b.Index]
	added := additions{bound: r.AnswerBound}
	added.usage = c.RequestUsage && !t.NoUsage && canRequestUsage(t, r) && !r.Parsed.IncludeUsage && !c.usageRefusals.has(b, r)
	res, o, text := c.sendOnce(ctx, t, b, r, beforeSend, added)
	for {
		fewer := added.without(&o, text)
		if fewer == added {
			return res, o
		}
		if res != nil {
			_ = res.Body.Close()
		}
		leftOut := added.usage && !fewer.usage
		added = fewer
		res, o, text = c.sendOnce(ctx, t, b, r, beforeSend, added)
		if leftOut && res != nil && res.StatusCode < http.StatusMultipleChoices {
			c.usageRefusals.add(b, r)
		}
		o.Resent = true
	}
}

// sendOnce is Send with these additions. It returns what was read of an error, too.
func (c *Client) sendOnce(ctx context.Context, t *Target, b *balancer.Backend, r *proxy.Request, beforeSend func() error, added additions) (*http.Response, health.Outcome, []byte) {
	a := newAttempt(ctx, t, beforeSend)
	a.repeatable, a.streamed = !r.Acts(), r.StreamedBody
	a.namesObject = r.Subpath != ""
	a.passThrottled = r.PinnedTo != nil && r.PinnedTo.Backend != "" || r.Operation.State.Stored()
	name := deploymentName(b, r)
	req, body := c.newRequest(t, name, b, r), c.newBody(a, t, name, r, added)
	if err := t.Credential.Apply(a.ctx, req.Header, r.Header); err != nil {
		defer a.finish()
		a.release()
		res, o := credentialOutcome(a, err)
		return res, o, nil
	}
	if r.Family == operations.Anthropic && !t.OpenAI {
		renameKey(req.Header)
	}
	res, err := a.send(t, req, &body)
	a.release()
	if err != nil {
		defer a.finish()
		o := a.failure(err)
		if a.reused && (o.Class == health.Failed || a.timedOut()) {
			t.Transport.replace(a.pool)
		}
		o.Resent = a.sends.Load() > 1
		return nil, o, nil
	}
	res, o, text := c.classifyResponse(a, t, b, res)
	o.Resent = a.sends.Load() > 1
	return res, o, text
}

// newRequest is an attempt's request without its body and credential.
func (c *Client) newRequest(t *Target, deployment string, b *balancer.Backend, r *proxy.Request) *http.Request {
	req := &http.Request{
		Method: r.Method, URL: c.requestURL(t, deployment, r), Host: t.Endpoint.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: t.newHeader(r),
	}
	if c.InjectTrace != nil {
		c.InjectTrace(r, b, req.Header)
	}
	return req
}

// credentialOutcome is the outcome of an attempt that was not sent for lack of
// a credential: a failure if this process has no token, misconfigured if the
// identity was refused, and an answer to the caller if it sent no token of its
// own.
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
