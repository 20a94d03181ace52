package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
)

func usual(f *fixture, took time.Duration, slots ...health.Slot) {
	f.proxy.Latency = latency.New(make([]int, len(f.pool.Backends)))
	for _, s := range slots {
		for range 20 {
			f.proxy.Latency.Record(s, latency.KindOf(false, 0, 0), took)
			f.proxy.Latency.Record(s, latency.KindOf(true, 0, 0), took)
		}
	}
}

func TestSilentAttemptIsHedgedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		usual(f, 100*time.Millisecond, 0, 1)
		f.scripts["a"] = []scripted{{hang: true}}
		r, took := f.forwardTimed(new(proxy.Request), 0, 0)
		wantServed(t, r, "b")
		if took != 2*time.Second || len(r.Attempts) != 2 || !r.Attempts[0].Silent || !r.Attempts[1].Hedge || r.Attempts[1].Silent {
			t.Errorf("after %v: %+v", took, r.Attempts)
		}
		if len(f.silent) != 1 || f.silent[0] != 0 || f.answered != 1 || f.takenBack != 0 {
			t.Errorf("silent %v, answered %d, taken back %d", f.silent, f.answered, f.takenBack)
		}
		if o := r.Attempts[0].Outcome; o.Class != health.Abandoned || o.Reason != "another attempt won" {
			t.Errorf("the silent attempt ended as %+v", o)
		}
	})
}

func TestSilentAttemptMayStillAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		usual(f, 100*time.Millisecond, 0, 1)
		f.scripts["a"] = []scripted{{status: 200, takes: 3 * time.Second}}
		f.scripts["b"] = []scripted{{hang: true}}
		r, took := f.forwardTimed(new(proxy.Request), 0, 0)
		wantServed(t, r, "a")
		if took != 3*time.Second || !r.Attempts[0].Silent || f.answered != 1 || !r.Attempts[1].Hedge {
			t.Errorf("after %v: %+v, answered %d", took, r.Attempts, f.answered)
		}
	})
}

func TestWhatActsIsNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		responses := operations.Operation{Name: "responses", Dialect: operations.Responses, State: operations.Stateful}
		for name, r := range map[string]*proxy.Request{
			"background":   {Parsed: request.ParsedRequest{Background: true}},
			"conversation": {Parsed: request.ParsedRequest{Conversation: "conv_1"}},
			"mcp":          {Operation: responses, Body: []byte(`{"tools":[{"type":"mcp"}]}`)},
			"computer":     {Operation: responses, Body: []byte(`{"tools":[{"type":"computer_use_preview"}]}`)},
			"interpreter":  {Operation: responses, Body: []byte(`{"tools":[{"type":"code_interpreter","container":{}}]}`)},
		} {
			f := newFixture(t, 1, 2)
			usual(f, 100*time.Millisecond, 0, 1)
			f.proxy.ResponseTimeout = 100 * time.Second
			f.scripts["a"] = []scripted{{hang: true}}
			if r, _ := f.forwardTimed(r, 0, 0); !errors.Is(r.Err, proxy.ErrTimeout) || len(r.Attempts) != 1 || !r.Attempts[0].Silent {
				t.Errorf("%s: %v, %+v, want one attempt that is silent", name, r.Err, r.Attempts)
			}
			f = newFixture(t, 1, 2)
			f.scripts["a"] = []scripted{{outcome: health.Outcome{Class: health.Failed, Reason: "reset"}}}
			f.scripts["b"] = []scripted{{outcome: health.Outcome{Class: health.Failed, Reason: "refused"}}}
			if r, _ := f.forwardTimed(r, 0, 0); !errors.Is(r.Err, proxy.ErrUnavailable) {
				t.Errorf("%s: %v, want unavailable: it may have been received", name, r.Err)
			}
			f.wantSent("a")
			f = newFixture(t, 1, 2)
			f.scripts["a"] = []scripted{{outcome: health.Outcome{Class: health.Failed, Reason: "refused"}}}
			r, _ := f.forwardTimed(r, 0, 0)
			wantServed(t, r, "b")
		}
		f := newFixture(t, 1, 2)
		usual(f, 100*time.Millisecond, 0, 1)
		f.scripts["a"] = []scripted{{hang: true}}
		r, _ := f.forwardTimed(&proxy.Request{Operation: responses, Body: []byte(`{"input":"use \"mcp\""}`)}, 0, 0)
		wantServed(t, r, "b") // a plain response is repeated
	})
}

func TestFirstTokenTimeoutIsAtLeastTheThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for took, want := range map[time.Duration]time.Duration{100 * time.Millisecond: 5 * time.Second, 4 * time.Second: 14 * time.Second} {
			f := newFixture(t, 1)
			usual(f, took, 0)
			f.proxy.FirstTokenTimeout = 5 * time.Second
			f.scripts["a"] = []scripted{{hang: true}, failing}
			r, ended := f.forwardTimed(&proxy.Request{Parsed: request.ParsedRequest{Stream: true}}, 0, 0)
			if !errors.Is(r.Err, proxy.ErrTimeout) || ended < want-2*time.Second || ended > want+time.Second {
				t.Errorf("usual %v: %v after %v, want a timeout after about %v", took, r.Err, ended, want)
			}
			if o := r.Attempts[0].Outcome; o.Class != health.Failed || o.Reason != "first token timeout" {
				t.Errorf("ended as %+v", o)
			}
		}
		f := newFixture(t, 1)
		f.proxy.FirstTokenTimeout = 5 * time.Second
		f.scripts["a"] = []scripted{{status: 200, takes: time.Minute}}
		r, _ := f.forwardTimed(new(proxy.Request), 0, 0)
		wantServed(t, r, "a") // no stream: it is hedged, never ended
	})
}

func TestCallerWhoLeavesAfterTheSilenceAbandons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1)
		usual(f, 100*time.Millisecond, 0)
		f.scripts["a"] = []scripted{{hang: true}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		if r := f.do(ctx, nil); !errors.Is(r.Err, proxy.ErrCallerLeft) || !r.Attempts[0].Silent {
			t.Errorf("%v, %+v", r.Err, r.Attempts)
		}
		if len(f.silent) != 1 || len(f.reports) != 1 || f.reports[0].Class != health.Abandoned {
			t.Errorf("silent %v, reports %+v, want the silence and an abandoned attempt", f.silent, f.reports)
		}
		if !f.proxy.Latency.OnTime(0) {
			t.Error("an attempt that is over still counts as late")
		}
	})
}

func TestLoserOfASilenceHedgeIsPaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newHedgeFixture(balancer.Hedge{})
		k.delays["a"], k.wasted = []time.Duration{time.Minute}, usage.Tokens{Prompt: 7}
		r, got := k.do(t.Context())
		if r.ServedBy.Name != "b" || got.text.String() != "bbbbbbbbbb" || r.Wasted().Prompt != 7 || got.commits.Load() != 1 {
			t.Errorf("%+v, %q, wasted %+v", r.Attempts, got.text.String(), r.Wasted())
		}
	})
}

func TestTrialOfTheOnlyBackend(t *testing.T) {
	f := newFixture(t, 1)
	f.health[0] = health.Health{State: health.Open, Until: time.Now().Add(time.Hour)}
	r := f.do(t.Context(), nil)
	wantServed(t, r, "a")
	if len(r.Attempts) != 1 || !r.Attempts[0].Trial || f.refreshes != 1 || f.answered != 1 {
		t.Errorf("%+v, %d refreshes, %d answers", r.Attempts, f.refreshes, f.answered)
	}
	f.health[0].Drained = true
	if r := f.do(t.Context(), nil); !errors.Is(r.Err, proxy.ErrUnavailable) || len(r.Attempts) != 0 {
		t.Errorf("%v, %+v: a drained backend is not tried", r.Err, r.Attempts)
	}
}

func TestRefusalOfEveryBackendIsRelayed(t *testing.T) {
	refusal := func(status int, body string) scripted {
		return scripted{status: status, body: body, outcome: health.Outcome{Class: health.Misconfigured, Reason: "refused"}}
	}
	const unknownVersion = `{"error":{"message":"API version not supported"}}`
	for name, c := range map[string]struct {
		with    scripted
		then    scripted
		relayed string
		status  int
	}{
		"an error object":                  {refusal(404, unknownVersion), refusal(404, `{"error":{}}`), unknownVersion, 404},
		"our own credential":               {refusal(401, `{"error":{"message":"Access denied"}}`), refusal(401, ""), "", 401},
		"that of one, and of the request":  {refusal(401, `{"error":{"message":"Access denied"}}`), refusal(404, unknownVersion), unknownVersion, 404},
		"no deployment, and no credential": {refusal(410, `{"error":{"message":"gone"}}`), refusal(401, ""), "", 401},
		"HTML":                             {refusal(404, "<html>"), refusal(404, `{"error":{}}`), "", 404},
		"the name of a backend's":          {refusal(404, `{"error":{"message":"no secret-deployment"}}`), refusal(404, `{"error":{}}`), "", 404},
	} {
		f := newFixture(t, 1, 2)
		f.pool.Backends[0].Deployment, f.pool.Backends[1].Deployment = "secret-deployment", "m"
		f.scripts["a"], f.scripts["b"] = []scripted{c.with}, []scripted{c.then}
		var delivered string
		f.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
			body, _ := io.ReadAll(a.Response.Body)
			delivered = string(body)
			return proxy.Delivery{Committed: true}
		}
		r := f.do(t.Context(), nil)
		f.wantSent("ab")
		if c.relayed != "" && (r.Err != nil || delivered != c.relayed || r.Status() != c.status) {
			t.Errorf("%s: %v, %d, delivered %q", name, r.Err, r.Status(), delivered)
		}
		if c.relayed == "" && (!errors.Is(r.Err, proxy.ErrRefused) || r.Refusal != c.status || delivered != "") {
			t.Errorf("%s: %v, refusal %d, delivered %q", name, r.Err, r.Refusal, delivered)
		}
	}
}

func TestPanicOfASilenceHedgeReachesTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		usual(f, 100*time.Millisecond, 0, 1)
		f.scripts["a"] = []scripted{{hang: true}}
		f.deliver = func(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
			if !a.Hooks.MayCommit() {
				t.Error("the hedge may not answer")
			}
			panic(http.ErrAbortHandler)
		}
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) || f.released != 1 {
				t.Errorf("recovered %v, released %d", err, f.released)
			}
		}()
		f.do(t.Context(), nil)
	})
}

func TestEffortIsPartOfTheKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, 2)
		f.proxy.Latency = latency.New([]int{0, 0})
		for range 20 {
			f.proxy.Latency.Record(0, latency.KindOf(false, 0, latency.HighEffort), 20*time.Second)
			f.proxy.Latency.Record(0, latency.KindOf(false, 0, latency.DefaultEffort), 100*time.Millisecond)
		}
		chat := operations.Operation{Name: "chat", Dialect: operations.Chat}
		for body, want := range map[string]string{
			`{"reasoning_effort" : "high"}`: "a", `{"reasoning":{"summary":"auto","effort":"high"}}`: "a", `{"input":"x","output_config":{"effort": "xhigh"}}`: "a",
			`{"messages":"\"effort\":\"high\""}`: "b", `{"messages":[{"effort":"high"}]}`: "b", `{"reasoning":{"summary":"high"}}`: "b", `{"reasoning":null}`: "b",
		} {
			f.scripts["a"] = []scripted{{status: 200, takes: 10 * time.Second}}
			parsed, err := request.Parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			r, _ := f.forwardTimed(&proxy.Request{Operation: chat, Body: []byte(body), Parsed: parsed}, 0, 0)
			if r.ServedBy == nil || r.ServedBy.Name != want {
				t.Errorf("%s: served by %+v, want %s", body, r.ServedBy, want)
			}
		}
	})
}

func bodyOr(text, otherwise string) io.ReadCloser {
	if text == "" {
		text = otherwise
	}
	return io.NopCloser(strings.NewReader(text))
}

// When everything is slow, trials are late and have not failed: those who wait for
// them try for themselves, and nobody is refused.
func TestLateTrialRefusesNobody(t *testing.T) {
	w := newWorld(1, 1)
	w.openAfter = 0
	w.health[0].State, w.health[0].Until = health.Open, w.now.Add(time.Hour)
	for range 20 {
		w.env.Latency.Record(0, 0, 100*time.Millisecond) // late = after 2 s
	}
	w.behaviour = func(int, int) reaction { return reaction{after: 20 * time.Second} }
	for n := range 5 {
		w.arrive(time.Duration(n)*400*time.Millisecond, plain())
	}
	w.run()
	for n, q := range w.requests {
		if q.end.Err != nil || len(q.sends) != 1 {
			t.Errorf("request %d ended with %v after %d attempts", n, q.end.Err, len(q.sends))
		}
	}
}

func requestOf(name string) *proxy.Request {
	return &proxy.Request{Consumer: &consumer.Consumer{Name: name}}
}

// The trial that failed may be the fault of its consumer's requests: those of another
// try next, and are not refused for it.
func TestFailedTrialOfAnotherConsumerRefusesNobody(t *testing.T) {
	w := newWorld(1, 1)
	w.openAfter = 0
	w.health[0].State, w.health[0].Until = health.Open, w.now.Add(time.Hour)
	w.behaviour = func(_, sent int) reaction {
		if sent == 0 {
			return reaction{after: time.Second, outcome: health.Outcome{Class: health.Failed, Reason: "500"}, status: 500}
		}
		return reaction{after: 5 * time.Second}
	}
	w.arrive(0, requestOf("bad"))
	other := w.arrive(100*time.Millisecond, requestOf("bad"))
	first, second := w.arrive(200*time.Millisecond, requestOf("good")), w.arrive(300*time.Millisecond, requestOf("good"))
	w.run()
	for n, q := range []*simulated{first, second} {
		if q.end.Err != nil || len(q.sends) != 1 {
			t.Errorf("request %d ended with %v after %d attempts", n, q.end.Err, len(q.sends))
		}
	}
	if len(first.sends) == 1 && first.sends[0].waited > 900*time.Millisecond {
		t.Errorf("the consumer whose trial failed had the next one, too: %+v", other.sends)
	}
}

// A probe that is free, and not for this consumer, refuses nobody when no other backend
// is left.
func TestProbeForOthersRefusesNobody(t *testing.T) {
	w := newWorld(1, 1)
	w.noProbes = true
	w.health[0].State, w.health[0].Probe = health.HalfOpen, true
	w.behaviour = func(int, int) reaction { return reaction{after: time.Second} }
	first, second := w.arrive(0, plain()), w.arrive(100*time.Millisecond, plain())
	w.run()
	for n, q := range []*simulated{first, second} {
		if q.end.Err != nil || len(q.sends) != 1 {
			t.Errorf("request %d ended with %v after %d attempts", n, q.end.Err, len(q.sends))
		}
	}
}
