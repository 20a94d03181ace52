package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
)

func TestReadyWhileAModelHasAnAvailableBackend(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	soon, past := now.Add(time.Minute), now.Add(-time.Second)
	window := func(until time.Time) health.Throttle {
		return health.Throttle{Until: until, Kind: health.LimitCapacity}
	}
	for name, c := range map[string]struct {
		health health.Health
		ready  bool
	}{
		"healthy":                      {health.Health{}, true},
		"open, failed a moment ago":    {health.Health{State: health.Open, Until: soon, FailedAt: past}, false},
		"open, failed 9.9 s ago":       {health.Health{State: health.Open, Until: soon, FailedAt: now.Add(-9900 * time.Millisecond)}, false},
		"open, untried for 10 s":       {health.Health{State: health.Open, Until: soon, FailedAt: now.Add(-10 * time.Second)}, true},
		"bound by the fleet's circuit": {health.Health{Until: past, FailedAt: past}, false},
		"bound, untried for 10 s":      {health.Health{Until: past, FailedAt: now.Add(-10 * time.Second)}, true},
		"bound, throttled":             {health.Health{Until: past, Throttle: window(soon)}, false},
		"not bound yet":                {health.Health{Until: soon, FailedAt: past}, true},
		"open, never failed here":      {health.Health{State: health.Open, Until: soon}, true},
		"untried for 10 s, throttled":  {health.Health{State: health.Open, Until: soon, Throttle: window(soon)}, false},
		"untried for 10 s, drained":    {health.Health{State: health.Open, Until: soon, Drained: true}, false},
		"open, waits for a probe":      {health.Health{State: health.Open, Until: past, FailedAt: past}, true},
		"probed by this instance":      {health.Health{State: health.HalfOpen, Until: soon, Probe: true}, true},
		"probed by another instance":   {health.Health{State: health.HalfOpen, Until: soon, FailedAt: past}, false},
		"the probe has expired":        {health.Health{State: health.HalfOpen, Until: past}, true},
		"recovering":                   {health.Health{TrafficPercent: 10}, true},
		"throttled":                    {health.Health{Throttle: window(soon)}, false},
		"the window has ended":         {health.Health{Throttle: window(past)}, true},
		"waits for a probe, throttled": {health.Health{State: health.Open, Until: past, Throttle: window(soon)}, false},
		"drained":                      {health.Health{Drained: true}, false},
		"waits for a probe, drained":   {health.Health{Drained: true, State: health.Open, Until: past}, false},
	} {
		t.Run(name, func(t *testing.T) {
			refreshes := 0
			known := &health.Snapshot{Slots: []health.Health{c.health, {Drained: true}}}
			r := api.PoolReadiness{
				Pools: []balancer.Pool{
					{Model: "gpt-4o", Backends: []balancer.Backend{{Name: "a", Slot: 0, Weight: 1}}},
					{Model: "gpt-5", Backends: []balancer.Backend{{Name: "b", Slot: 1, Weight: 1}}},
				},
				Snapshot: func() *health.Snapshot { return known }, Now: func() time.Time { return now },
				Refresh: func() *health.Snapshot { refreshes++; return known },
			}
			ready, models := r.Ready("")
			if ready != c.ready || (models["gpt-4o"] == "available") != c.ready || models["gpt-5"] != string(health.SkipDrained) {
				t.Errorf("ready %v, %v; want %v", ready, models, c.ready)
			}
			// Polls count as traffic only while the instance is not ready.
			if (refreshes == 0) != c.ready {
				t.Errorf("%d refreshes by a poll of an instance whose readiness is %v", refreshes, ready)
			}
			if ready, models := r.Ready("gpt-5"); ready || len(models) != 1 {
				t.Errorf("the drained model alone: %v, %v", ready, models)
			}
			if ready, models := r.Ready("gpt-6"); ready || models["gpt-6"] != "unknown model" {
				t.Errorf("an unknown model: %v, %v", ready, models)
			}
		})
	}
}

func TestHealthNeedsNoCredential(t *testing.T) {
	d := newGateway(t)
	d.authenticate = func() (*consumer.Consumer, error) { return nil, errors.New("no") }
	for path, status := range map[string]int{"/": 200, "/health/live": 200, "/health/ready": 200, "/health/ready?model=down": 200} {
		if res, body := d.send(t, "GET", path, ""); res.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", path, res.StatusCode, body, status)
		}
	}
	d.Draining = func() bool { return true }
	if res, _ := d.send(t, "GET", "/health/ready", ""); res.StatusCode != 503 {
		t.Errorf("ready while draining: %d", res.StatusCode)
	}
}

func TestMisconfiguredReportsFaultsOnReadiness(t *testing.T) {
	s := httptest.NewServer(api.Misconfigured([]string{`backends[0].endpoint: "x" is no URL.`}, func() string { return "req-1" }))
	defer s.Close()
	for path, want := range map[string]int{"/": 200, "/health/live": 200, "/Health/Live": 200, "/health/ready": 503, "/health//Ready/": 503, chat: 503} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
		if res.Header.Get("X-Request-Id") != "req-1" {
			t.Errorf("%s has no request id: %v", path, res.Header)
		}
		if found := strings.Contains(string(body), "backends[0]"); found != strings.HasSuffix(strings.ToLower(strings.Trim(path, "/")), "ready") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

func TestHeadOfPathsWithoutABackend(t *testing.T) {
	d := newGateway(t)
	for path, status := range map[string]int{"/": 200, "/Health/Live": 200, "/health/ready": 200, "/health/ready?model=down": 503, "/openai/v1/models": 200, "/v1/Models/gpt-4o": 200} {
		res, body := d.send(t, "HEAD", path, "")
		if res.StatusCode != status || body != "" || res.Header.Get("X-Request-Id") != "req-1" {
			t.Errorf("HEAD %s: %d, %q, %v; want %d without a body", path, res.StatusCode, body, res.Header, status)
		}
	}
}
