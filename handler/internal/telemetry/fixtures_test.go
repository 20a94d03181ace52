package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

// What the exchanges of these tests are made of.
var (
	testTime = time.Date(2026, 11, 21, 12, 0, 0, 250e6, time.UTC)
	gpt4o    = &balancer.Pool{Model: "gpt-4o", Price: usage.Price{Currency: "USD", Input: 2.5, CachedInput: 1.25, Output: 10}, Backends: []balancer.Backend{
		{Name: "ptu", Index: 0, Slot: 0, Region: "uksouth", Priority: 1, Weight: 1, Provisioned: true},
		{Name: "payg", Index: 1, Slot: 1, Region: "swedencentral", Priority: 2, Weight: 1},
		{Name: "spare", Index: 2, Slot: 2, Region: "eastus", Priority: 3, Weight: 1},
	}}
	teamA = &consumer.Consumer{Name: "team-a"}
)

// callerTraceparent is a caller's trace context.
const callerTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func at(ms int) time.Time { return testTime.Add(time.Duration(ms) * time.Millisecond) }

func ms(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// served is a request that the first backend answered.
func served() *api.RequestRecord {
	ptu := &gpt4o.Backends[0]
	return &api.RequestRecord{
		ID: "req_SERVED", Start: testTime, Duration: ms(812.5), Method: http.MethodPost, Operation: "chat", Family: "v1", Route: "/v1/chat/completions",
		Consumer: teamA, KeyID: "k1", Model: "gpt-4o", Status: 200, Backend: ptu,
		Result: &proxy.Result{
			Pool: gpt4o, ServedBy: ptu,
			Decision: balancer.Decision{Model: "gpt-4o", Version: 7, Eligible: 3, Candidates: candidates("", "", "")},
			Attempts: []proxy.Attempt{{Backend: ptu, Status: 200, Duration: ms(810)}},
			Delivery: proxy.Delivery{
				Committed: true, FirstToken: at(311), FinishReason: "stop", Bytes: 2048,
				Usage: usage.Tokens{Prompt: 1200, Cached: 1000, Completion: 80, Reasoning: 30},
			},
		},
		Charges: []metering.Charge{{
			Pool: gpt4o, Backend: ptu, Tokens: usage.Tokens{Prompt: 1200, Cached: 1000, Completion: 80, Reasoning: 30}, Cost: 0.00255, Delivered: true,
		}},
	}
}

// spilled is one that the first was throttled for and the second failed.
func spilled() *api.RequestRecord {
	x := served()
	x.ID, x.Stream, x.Trace = "req_SPILLED", true, remoteTrace(callerTraceparent)
	d := balancer.Decision{Model: "gpt-4o", Version: 9, Eligible: 2, Candidates: candidates("", "", health.SkipThrottled)}
	d.Candidates[0], d.Candidates[1], d.Candidates[2] = d.Candidates[1], d.Candidates[2], d.Candidates[0]
	d.Candidates[1].Reason, d.Candidates[2].Reason = "", health.SkipThrottled
	d.Candidates[2].Until = at(4200)
	x.Result.Decision = d
	x.Result.Attempts = []proxy.Attempt{
		{Backend: &gpt4o.Backends[1], Status: 503, Duration: ms(20), Outcome: health.Outcome{Class: health.Failed, Reason: "503"}},
		{Backend: &gpt4o.Backends[2], Status: 200, Duration: ms(700), Probe: true},
	}
	x.Result.ServedBy, x.Backend = &gpt4o.Backends[2], &gpt4o.Backends[2]
	x.Result.Waited = ms(12.25)
	return x
}

// hedged is one whose first backend was silent, so that another one was asked too.
func hedged() *api.RequestRecord {
	x := served()
	x.ID, x.Backend, x.Result.ServedBy = "req_HEDGED", &gpt4o.Backends[1], &gpt4o.Backends[1]
	x.Result.Attempts = []proxy.Attempt{
		{Backend: &gpt4o.Backends[0], Duration: ms(700), Silent: true, SilentAfter: 600 * time.Millisecond, Outcome: health.Outcome{Class: health.Abandoned, Reason: "another answered"}},
		{Backend: &gpt4o.Backends[1], Status: 200, Duration: ms(500), Hedge: true},
	}
	return x
}

// tried is one that was served although every circuit was open.
func tried() *api.RequestRecord {
	x := served()
	x.ID, x.Result.Decision.Eligible = "req_TRIED", 0
	x.Result.Decision.Candidates = candidates(health.SkipOpen, health.SkipOpen, health.SkipOpen)
	x.Result.Decision.Candidates[1].Cause, x.Result.Decision.Candidates[1].Own = "503", true
	x.Result.Attempts = []proxy.Attempt{
		{Backend: &gpt4o.Backends[0], Status: 503, Duration: ms(20), Trial: true, Outcome: health.Outcome{Class: health.Failed, Reason: "503"}},
		{Backend: &gpt4o.Backends[0], Status: 200, Duration: ms(300), Trial: true},
	}
	return x
}

// recovering is one that spilled because its first backend takes a share only.
func recovering() *api.RequestRecord {
	x := served()
	x.ID, x.Backend, x.Result.ServedBy = "req_RECOVERING", &gpt4o.Backends[1], &gpt4o.Backends[1]
	x.Result.Decision.Candidates, x.Result.Decision.Eligible = candidates(balancer.Recovering, "", ""), 3
	x.Result.Attempts = []proxy.Attempt{{Backend: &gpt4o.Backends[1], Status: 200, Duration: ms(500)}}
	return x
}

// polled is one that shows that a background response has ended.
func polled() *api.RequestRecord {
	x := served()
	x.ID, x.Method, x.Operation = "req_POLLED", "GET", "response"
	estimate := metering.Charge{Pool: gpt4o, Backend: &gpt4o.Backends[0], Tokens: usage.Tokens{Prompt: 1200, Completion: 400}, Cost: 0.007, Delivered: true, Correction: true}
	reported := estimate
	estimate.Withdrawn, reported.Tokens.Completion, reported.Cost = true, 48, 0.00348
	x.Charges = []metering.Charge{{Pool: gpt4o, Backend: &gpt4o.Backends[0], Delivered: true}, estimate, reported}
	x.Result.Delivery.Usage = usage.Tokens{}
	return x
}

// throttled is one that nobody served.
func throttled() *api.RequestRecord {
	x := served()
	x.ID, x.Status, x.Code, x.Rule, x.Backend = "req_THROTTLED", 429, "rate_limit_exceeded", "throttle", nil
	x.Duration, x.Cause, x.Charges = ms(40), proxy.ErrThrottled, nil
	x.Result = &proxy.Result{
		Pool: gpt4o, Err: proxy.ErrThrottled, RetryAt: at(7040),
		Decision: balancer.Decision{Model: "gpt-4o", Version: 3, Eligible: 1, Candidates: candidates("", health.SkipOpen, balancer.OutsideGeographies)},
		Attempts: []proxy.Attempt{{Backend: &gpt4o.Backends[0], Status: 429, Duration: ms(38), Outcome: health.Outcome{
			Class: health.Throttled, Reason: "429 provisioned", Limit: health.LimitProvisioned, Wait: 7 * time.Second, RawWait: 7 * time.Second,
		}}},
	}
	x.Result.Decision.Candidates[1].Until = at(30_000)
	return x
}

// broken is a stream whose backend went away, behind one whose credential is
// refused.
func broken() *api.RequestRecord {
	x := served()
	x.ID, x.Stream = "req_BROKEN", true
	x.Result.Attempts = append([]proxy.Attempt{{
		Backend: &gpt4o.Backends[1], Status: 401, Duration: ms(5), Outcome: health.Outcome{Class: health.Misconfigured, Reason: "401"},
	}}, x.Result.Attempts...)
	x.Result.Delivery.Broken, x.Result.Delivery.Usage, x.Result.Delivery.FinishReason = true, usage.Tokens{}, ""
	c := &x.Charges[0]
	c.Tokens, c.Cost, c.Broken, c.Estimated = usage.Tokens{Prompt: 1200, Completion: 20}, 0.0032, true, true
	return x
}

// left is a stream whose caller closed its connection.
func left() *api.RequestRecord {
	x := served()
	x.ID, x.Stream = "req_LEFT", true
	x.Result.Attempts[0].Outcome = health.Outcome{Class: health.Abandoned, Reason: "caller left"}
	x.Result.Delivery.Broken, x.Result.Delivery.CallerLeft, x.Charges[0].Broken = true, true, true
	return x
}

// standIn is one that a second backend served for one that refuses the gateway.
func standIn() *api.RequestRecord {
	x := broken()
	x.ID, x.Result.Delivery.Broken = "req_STANDIN", false
	return x
}

// alike is one that every backend refused alike: its caller's own mistake.
func alike() *api.RequestRecord {
	x := served()
	x.ID, x.Status, x.Charges = "req_ALIKE", 404, nil
	x.Result.Attempts[0].Status, x.Result.Attempts[0].Outcome = 404, health.Outcome{Class: health.Misconfigured, Reason: "operation not supported"}
	x.Result.Delivery = proxy.Delivery{Committed: true, Bytes: 120}
	return x
}

// undeployed is one whose deployment no backend has.
func undeployed() *api.RequestRecord {
	x := alike()
	x.ID, x.Result.Attempts[0].Outcome.Reason = "req_UNDEPLOYED", "deployment not found"
	return x
}

// fallback is one that another model answered.
func fallback() *api.RequestRecord {
	x := served()
	x.ID, x.Consumer, x.KeyID, x.Requested = "req_FALLBACK", nil, "", "chat-default"
	x.Charges[0].Cost = 0 // it has no price
	x.Result.Pool = &balancer.Pool{Model: "gpt-4o-mini"}
	return x
}

// refused is one that was not let in.
func refused() *api.RequestRecord {
	return &api.RequestRecord{
		ID: "req_REFUSED", Start: testTime, Duration: ms(0.0305), Method: http.MethodGet, Status: 401, Code: "invalid_api_key", Rule: "credential",
		Cause: errors.New("consumer: \"unknown\"\nkey"),
	}
}

// remoteTrace reads a trace context as a caller sends it.
func remoteTrace(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	return trace.SpanContextFromContext(ctx)
}

// testProvider is a provider with these variables set.
func testProvider(tb testing.TB, env ...string) *Provider {
	tb.Helper()
	p, _ := loggedProvider(tb, env...)
	return p
}

// loggedProvider is a provider with these variables set, and its log.
func loggedProvider(tb testing.TB, env ...string) (*Provider, *sink) {
	tb.Helper()
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		tb.Setenv(name, value)
	}
	log := new(sink)
	var endpoints []*url.URL
	for _, b := range gpt4o.Backends {
		endpoints = append(endpoints, &url.URL{Scheme: "https", Host: b.Name + ".openai.azure.com"})
	}
	return NewProvider(tb.Context(), Config{
		Version: "1.2.3", Instance: "i-1", Region: "uksouth", Slots: slots, Endpoints: endpoints, Log: slog.New(slog.NewJSONHandler(log, nil)),
	}), log
}

func candidates(reasons ...health.SkipReason) []balancer.Candidate {
	var all []balancer.Candidate
	for i, reason := range reasons {
		all = append(all, balancer.Candidate{Backend: &gpt4o.Backends[i], Reason: reason})
	}
	return all
}

// sink keeps what is written to it.
type sink struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
