package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"spillway/handler/internal/telemetry/meter"
)

// Pusher sends metrics on a timer, and spans as they come in batches. Nothing
// waits for it: spans that it cannot take are dropped and counted, and a push
// of metrics that fails is made good by the next.
type Pusher struct {
	Settings Settings
	Resource Resource
	Registry *meter.Registry
	Trouble  func(signal string, err error) // told when pushes begin to fail; nil = nobody is

	began   time.Time
	spans   chan Span
	client  *http.Client
	dropped atomic.Uint64
	failed  atomic.Uint64
	troubled
}

// troubled is which signals could not be pushed last time.
type troubled struct{ metrics, traces atomic.Bool }

// How spans are gathered.
const (
	spanQueue = 2048
	spanBatch = 512
	spanDelay = 5 * time.Second
)

// farewell is how long the last push may take.
const farewell = 2 * time.Second

// NewPusher is a pusher that sends nothing before Run. Trouble may be set until
// then.
func NewPusher(s Settings, r Resource, reg *meter.Registry) *Pusher {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 2, IdleConnTimeout: 2 * time.Minute}
	return &Pusher{
		Settings: s, Resource: append(append(Resource{}, s.Attributes...), r...), Registry: reg,
		began: time.Now(), spans: make(chan Span, spanQueue), client: &http.Client{Transport: transport, Timeout: s.Timeout, CheckRedirect: stay},
	}
}

// Take queues a span that is over. It never waits.
func (p *Pusher) Take(s Span) {
	select {
	case p.spans <- s:
	default:
		p.dropped.Add(1)
	}
}

// Dropped is how many spans were lost, Failed how many pushes.
func (p *Pusher) Dropped() uint64 { return p.dropped.Load() }

// Failed is how many pushes were in vain.
func (p *Pusher) Failed() uint64 { return p.failed.Load() }

// Run pushes until ctx is done, and then what is left.
func (p *Pusher) Run(ctx context.Context) {
	defer p.client.CloseIdleConnections()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.runSpans(ctx)
	}()
	tick := time.NewTicker(p.Settings.Interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			p.pushMetrics(ctx)
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	p.pushMetrics(last)
	<-done
}

func (p *Pusher) pushMetrics(ctx context.Context) {
	body := EncodeMetrics(p.Resource, p.Registry.Gather(), p.began, time.Now())
	_, err := p.post(ctx, "/v1/metrics", body)
	p.note(ctx, "metrics", &p.metrics, err)
}

func (p *Pusher) runSpans(ctx context.Context) {
	var batch []Span
	tick := time.NewTicker(spanDelay)
	defer tick.Stop()
	for {
		select {
		case s := <-p.spans:
			if batch = append(batch, s); len(batch) < spanBatch {
				continue
			}
		case <-tick.C:
		case <-ctx.Done():
			p.lastSpans(ctx, batch)
			return
		}
		p.pushSpans(ctx, batch)
		batch = batch[:0]
	}
}

// lastSpans pushes what is left, once.
func (p *Pusher) lastSpans(ctx context.Context, batch []Span) {
	for len(p.spans) > 0 {
		batch = append(batch, <-p.spans)
	}
	if len(batch) == 0 {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if _, err := p.post(last, "/v1/traces", EncodeSpans(p.Resource, batch)); err != nil {
		p.dropped.Add(uint64(len(batch)))
	}
}

// tries is how often a batch of spans is sent when the other side asks for
// patience.
const tries = 4

func (p *Pusher) pushSpans(ctx context.Context, batch []Span) {
	if len(batch) == 0 {
		return
	}
	body := EncodeSpans(p.Resource, batch)
	var err error
	for try := range tries {
		var wait time.Duration
		wait, err = p.post(ctx, "/v1/traces", body)
		if err == nil || wait < 0 || try == tries-1 {
			break
		}
		timer := time.NewTimer(max(wait, time.Second<<try))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	if err != nil {
		p.dropped.Add(uint64(len(batch)))
	}
	p.note(ctx, "traces", &p.traces, err)
}

// note tells of the first failure of a series. A push that the end cut short is
// none: another one follows.
func (p *Pusher) note(ctx context.Context, signal string, bad *atomic.Bool, err error) {
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.failed.Add(1)
	}
	if was := bad.Swap(err != nil); err != nil && !was && p.Trouble != nil {
		p.Trouble(signal, err)
	}
}

// errRefused is an answer that says no.
var errRefused = errors.New("otlp: the endpoint refused")

// post sends one body. With an error it says how long to wait before another
// try, less than zero when none will help.
func (p *Pusher) post(ctx context.Context, path string, body []byte) (time.Duration, error) {
	req, err := p.request(ctx, path, body)
	if err != nil {
		return -1, err
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("push to %q: %w", req.URL.Redacted(), err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return min(time.Duration(seconds)*time.Second, time.Minute), fmt.Errorf("%w: %s by %q", errRefused, res.Status, req.URL.Redacted())
	}
	return -1, fmt.Errorf("%w: %s by %q", errRefused, res.Status, req.URL.Redacted())
}

func (p *Pusher) request(ctx context.Context, path string, body []byte) (*http.Request, error) {
	if p.Settings.Gzip {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(body) // into memory
		_ = z.Close()
		body = packed.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Settings.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("push to OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	req.Header = p.Settings.Headers.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", scope)
	if p.Settings.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

// stay follows no redirect: the headers of the settings are for one endpoint.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
