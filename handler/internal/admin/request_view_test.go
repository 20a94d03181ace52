package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

func TestRequestExplanation(t *testing.T) {
	at := loopingClock(time.Unix(1_700_000_000, 0))
	w := newFakeFleet(at, []string{"gpt-4o", "gpt-4o-mini"}, threeBackends())
	w.addConsumers()
	w.cfg.Key = testKey
	p, mini := &w.cfg.Pools[0], &w.cfg.Pools[1]
	w.finish(fakeRequest{
		id: "req_spilled", consumer: &w.cfg.Consumers[0], pool: p, status: 200, took: 1500 * time.Millisecond, tokens: tokens(900, 100),
		attempts: []proxy.Attempt{failedBy(&p.Backends[1], "503", 503), served(&p.Backends[2], 1200*time.Millisecond, -1)},
		skipped:  []balancer.Candidate{{Backend: &p.Backends[0], Reason: health.SkipThrottled, Until: at().Add(10 * time.Second)}},
	})
	probe := served(&p.Backends[0], time.Second, -1)
	probe.Probe = true
	w.finish(fakeRequest{id: "req_probe", pool: p, status: 200, took: time.Second, attempts: []proxy.Attempt{probe}})
	w.cfg.Recent.RequestDone(&api.RequestRecord{ID: "req_stranger", Start: at(), Method: "POST", Status: 401, Code: "invalid_api_key", Cause: errors.New("no such key")})
	w.cfg.Recent.RequestDone(&api.RequestRecord{
		ID: "req_fallback", Start: at(), Duration: 3 * time.Second, Model: p.Model, Status: 200,
		Result: &proxy.Result{
			Pool: mini, ServedBy: &mini.Backends[1], Waited: 250 * time.Millisecond, Delivery: proxy.Delivery{Broken: true, Committed: true},
			Decision: balancer.Decision{Candidates: []balancer.Candidate{{Backend: &p.Backends[0]}}, Eligible: 1},
			Attempts: []proxy.Attempt{throttledBy(&p.Backends[0], 20*time.Second), served(&mini.Backends[1], 2*time.Second, -1)},
		},
	})
	w.cfg.Recent.RequestDone(&api.RequestRecord{
		ID: "req_refused", Start: at(), Duration: time.Millisecond, Model: p.Model, Status: 429, Code: "rate_limit_exceeded",
		Result: &proxy.Result{
			Pool: p, Err: proxy.ErrThrottled, RetryAt: at().Add(9 * time.Second),
			Decision: balancer.Decision{Candidates: []balancer.Candidate{{Backend: &p.Backends[0], Reason: health.SkipThrottled}}},
		},
	})
	h := mount(w.cfg)
	for id, want := range map[string][]string{
		"req_spilled": {
			"ptu-uksouth (priority 1) was skipped: throttled for another 11.5 s.",
			"payg-sweden (priority 2) was tried first and failed (503) after 31 ms.",
			"payg-france (priority 2) was tried next and served with 200 in 1.2 s.",
			"The caller got 200 from payg-france in 1.5 s.",
		},
		"req_probe": {
			"ptu-uksouth (priority 1) was tried as the half-open probe and served with 200 in 1 s.",
			"The caller got 200 from ptu-uksouth in 1 s.",
		},
		"req_stranger": {"Rejected with 401 (invalid_api_key) before a backend was selected: no such key."},
		"req_fallback": {
			"ptu-uksouth (priority 1) was tried first and was throttled (429 provisioned, wait 20 s) after 9 ms.",
			"payg-sweden (priority 2) was tried next and served with 200 in 2 s.",
			"It waited 250 ms until a backend could be tried.",
			"Every backend of gpt-4o was exhausted, so its fallback gpt-4o-mini was tried.",
			"The caller got 200, and the response was cut off: it ended with an error event and an aborted connection.",
		},
		"req_refused": {
			"ptu-uksouth (priority 1) was skipped: throttled.", "No backend was left to try.",
			"The caller got 429: every backend is throttled; the first backend reopens 9 s later.",
		},
	} {
		got := testRequest{path: "/ops/api/requests?id=" + id, header: map[string]string{keyHeader: testKey}}.to(t, h)
		var r Request
		if err := json.Unmarshal(got.Body.Bytes(), &r); err != nil || got.Code != 200 || r.ID != id || r.Instance != "flex-7c41-a" {
			t.Errorf("%s: %d %s", id, got.Code, got.Body)
		}
		if !slices.Equal(r.Why, want) {
			t.Errorf("%s:\n%s\nwant\n%s", id, strings.Join(r.Why, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestRequestFigures(t *testing.T) {
	at := func() time.Time { return time.Unix(1_700_000_000, 0) }
	w := newFakeFleet(at, []string{"gpt-4o"}, threeBackends())
	w.addConsumers()
	p := &w.cfg.Pools[0]
	w.finish(fakeRequest{
		id: "req_a", consumer: &w.cfg.Consumers[0], pool: p, status: 200, took: time.Second, tokens: tokens(1000, 100),
		attempts: []proxy.Attempt{throttledBy(&p.Backends[1], 2*time.Second), served(&p.Backends[2], 800*time.Millisecond, -1)},
		skipped:  []balancer.Candidate{{Backend: &p.Backends[0], Reason: health.SkipOpen, Until: at().Add(4 * time.Second)}},
	})
	r := New(w.cfg).requestView(&w.cfg.Recent.find("req_a", 1)[0])
	if r.Consumer != "team-a" || r.Backend != "payg-france" || r.TotalMS != 1000 || r.FirstMS != 209 || r.Cost != 0.0035 || r.Currency != "USD" || r.Tokens == nil || r.Tokens.Prompt != 1000 {
		t.Errorf("request: %+v", r)
	}
	wantPlaced := []CandidateStatus{
		{Backend: "payg-sweden", Priority: 2, Position: 1},
		{Backend: "payg-france", Priority: 2, Position: 2},
		{Backend: "ptu-uksouth", Priority: 1, Reason: "circuit open", LeftMS: 5000},
	}
	if !slices.Equal(r.Candidates, wantPlaced) {
		t.Errorf("candidates: %+v, want %+v", r.Candidates, wantPlaced)
	}
	if a := r.Attempts[0]; a.Verdict != "throttled" || a.Status != 429 || a.WaitMS != 2000 || a.TookMS != 9 {
		t.Errorf("the first attempt: %+v", a)
	}
}

func TestUnknownRequestNamesTheInstance(t *testing.T) {
	h := mount(keyedScenario().cfg)
	key := map[string]string{keyHeader: testKey}
	got := testRequest{path: "/ops/api/requests?id=req_nowhere", header: key}.to(t, h)
	var body struct {
		Instance string
		Kept     int
	}
	if code, says := errorOf(t, got); got.Code != 404 || code != "request_not_found" || !strings.Contains(says, "flex-7c41-a") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if err := json.Unmarshal(got.Body.Bytes(), &body); err != nil || body.Instance != "flex-7c41-a" || body.Kept != 100 {
		t.Errorf("%s", got.Body)
	}
	for _, query := range []string{"", "?id=", "?last=0", "?last=-1", "?last=x", "?id=%20"} {
		if got := (testRequest{path: "/ops/api/requests" + query, header: key}).to(t, h); got.Code != 400 {
			t.Errorf("%q: %d", query, got.Code)
		}
	}
	for query, want := range map[string]int{"?last=5": 5, "?last=100000": 100} {
		var all Requests
		got := testRequest{path: "/ops/api/requests" + query, header: key}.to(t, h)
		if err := json.Unmarshal(got.Body.Bytes(), &all); err != nil || len(all.Requests) != want || all.Kept != 100 || all.Since.IsZero() {
			t.Errorf("%q: %d requests of %d", query, len(all.Requests), all.Kept)
		}
	}
}

func FuzzHandler(f *testing.F) {
	for _, s := range append(hostileNames(), "?id=x", "?last=5", "?from=2026-01-01&to=x", "?by=hour,,x&format=csv", "/../..", "%") {
		f.Add("/api/requests", s)
		f.Add("/api/usage", s)
		f.Add("/api/backends/x/drain", s)
	}
	w := keyedScenario()
	h := New(w.cfg)
	f.Fuzz(func(t *testing.T, path, query string) {
		r := sentRequest(t, mountPath+path, query)
		if r == nil {
			t.Skip("no request line")
		}
		r.Header.Set(keyHeader, testKey)
		rec := record(h, r)
		if rec.Code >= 500 || rec.Code >= 300 && rec.Code < 400 {
			t.Errorf("%s?%s: %d", path, query, rec.Code)
		}
		if kind := rec.Header().Get("Content-Type"); kind == "application/json" && !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%s?%s: no JSON: %s", path, query, rec.Body)
		}
		r.Header.Set(keyHeader, fmt.Sprint("wrong", query))
		if rec := record(h, r); strings.HasPrefix(path, "/api/") && rec.Code != 401 {
			t.Errorf("%s?%s without the key: %d", path, query, rec.Code)
		}
	})
}

// An attempt that lost to a hedge did not end because the caller left, and what was
// silent was so for its own threshold.
func TestAbandonedAttemptSaysWhy(t *testing.T) {
	abandoned := func(reason string) *proxy.Attempt {
		return &proxy.Attempt{Duration: 3 * time.Second, Outcome: health.Outcome{Class: health.Abandoned, Reason: reason}}
	}
	lost := abandoned("another attempt won")
	lost.Silent, lost.SilentAfter = true, 2*time.Second
	for want, a := range map[string]*proxy.Attempt{
		"was abandoned (another attempt won) after 3 s, silent for longer than 2 s": lost,
		"was abandoned (caller left) after 3 s":                                     abandoned("caller left"),
	} {
		if got := attemptOutcome(a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
