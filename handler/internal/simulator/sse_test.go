package simulator_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/simulator"
)

// countDeltas counts the events that carry text.
func countDeltas(body string) int {
	return strings.Count(body, `"delta":{"content":"`)
}

func TestStreamFaults(t *testing.T) {
	tests := []struct {
		action  string
		want    error // how the body ends
		content int
		holds   string
		lacks   string
	}{
		{"cut-clean", nil, 3, "", "[DONE]"},
		{"cut-abort", io.ErrUnexpectedEOF, 3, "", "[DONE]"},
		{"cut-reset", syscall.ECONNRESET, 3, "", "[DONE]"},
		{"stream-error", nil, 3, "data: {\"error\":{\"code\":\"server_error\"", "[DONE]"},
		{"stream-429", nil, 3, "data: {\"error\":{\"code\":\"429\",\"message\":\"Your requests to gpt-4o-2024-11-20 for gpt-4o-2024-11-20 in swedencentral have exceeded token rate limit.\"}}\n\n", "[DONE]"},
		{"stream-404", nil, 3, "Could not find an existing deployment to match the model in the request.", "[DONE]"},
		{"no-done", nil, 16, `"finish_reason":"stop"`, "[DONE]"},
		{"no-finish", nil, 16, "[DONE]", `"finish_reason":"stop"`},
		{"bad-json", nil, 17, "{\"content\":\"half\n\n", "half\"}"}, // the half one comes on top
		{"huge-event", nil, 16, strings.Repeat("x", 1<<20+1), ""},
		{"no-blank-line", nil, 17, "}\ndata: {", ""},
		{"bad-utf8", nil, 16, "\xff\xfe", ""},
		{"nul", nil, 16, "\x00", ""},
		{"bom", nil, 16, "\ufeffdata: {", ""},
		{"cr-lines", nil, 16, "}\r\rdata: [DONE]\r\r", "\n"},
		{"drip-stream", nil, 16, "[DONE]", ""},
	}
	s := simulator.Start(t, pool())
	for _, tt := range tests {
		t.Run(tt.action, func(t *testing.T) {
			s.Reset()
			s.Next("payg", simulator.Fault{Action: tt.action, Chunks: 3, Pause: time.Nanosecond})
			r := post(t, s, "payg", chatPath, helloAloud)
			if r.status != 200 || !errors.Is(r.err, tt.want) || (tt.want == nil && r.err != nil) {
				t.Fatalf("got %d, end %v; want %v", r.status, r.err, tt.want)
			}
			if got := countDeltas(r.body); got != tt.content && tt.want == nil {
				t.Errorf("got %d content events, want %d:\n%.2000s", got, tt.content, r.body)
			}
			if !strings.Contains(r.body, tt.holds) || (tt.lacks != "" && strings.Contains(r.body, tt.lacks)) {
				t.Errorf("want %.80q and not %q in %.3000s", tt.holds, tt.lacks, r.body)
			}
			if e := s.Journal()[0]; e.Fault != tt.action || !e.Done || e.CompletionTokens > 16 {
				t.Errorf("the journal has %q, done %v, %d tokens", e.Fault, e.Done, e.CompletionTokens)
			}
		})
	}
}

func TestStreamFaultAppliesAtTheEndOfShortStream(t *testing.T) {
	s := simulator.Start(t, pool())
	s.Next("payg", simulator.Fault{Action: "cut-clean", Chunks: 99})
	r := post(t, s, "payg", chatPath, helloAloud)
	if countDeltas(r.body) != 16 || strings.Contains(r.body, "stop") {
		t.Errorf("got %s", r.body)
	}
}

func TestStreamErrorBeforePreamble(t *testing.T) {
	s := simulator.Start(t, pool())
	for _, tt := range []struct {
		order string
		first string
	}{{"", `data: {"error":{`}, {"created-error-failed", `data: {"id":"","object":""`}} {
		s.Next("payg", simulator.Fault{Action: "stream-429", Order: tt.order, RetryAfter: 5 * time.Second})
		r := post(t, s, "payg", chatPath, helloAloud)
		if r.status != 200 || !strings.HasPrefix(r.body, tt.first) || r.header.Get("retry-after") != "" {
			t.Errorf("order %q: got %d, retry-after %q, %s", tt.order, r.status, r.header.Get("retry-after"), r.body)
		}
	}
	if e := s.Journal()[0]; e.Outcome != simulator.Throttled || e.Status != 200 {
		t.Errorf("the journal has %q with status %d, want throttled with 200", e.Outcome, e.Status)
	}
}

func TestStreamFaultsDoNotApplyToPlainRequests(t *testing.T) {
	s := simulator.Start(t, pool())
	s.Fault("payg", simulator.Fault{Action: "cut-clean"})
	if r := post(t, s, "payg", chatPath, hello); r.status != 200 || s.Journal()[0].Fault != "" {
		t.Errorf("got %d, fault %q", r.status, s.Journal()[0].Fault)
	}
}

// open begins a stream and reads its first n content events.
func open(ctx context.Context, t *testing.T, s *simulator.Service, n int) (*bufio.Reader, io.Closer) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL("payg")+chatPath, strings.NewReader(helloAloud))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Api-Key", "key-payg")
	res, err := keepAlive(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(res.Body)
	for n > 0 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		n -= countDeltas(line)
	}
	return lines, res.Body
}

func TestDisconnectIsRecordedWithTokensSoFar(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments[0].PerToken = 2 * time.Millisecond
	cfg.Resources[1].Deployments[0].AnswerTokens = 100000
	s := simulator.Start(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, body := open(ctx, t, s, 3)
	_ = body.Close()
	e, err := s.WaitDisconnect(ctx, "payg")
	if err != nil {
		t.Fatal(err)
	}
	if e.Outcome != simulator.Disconnected || e.CompletionTokens < 3 || e.CompletionTokens > 10000 || e.DisconnectedAt.Before(e.Time) {
		t.Errorf("outcome %q, %d tokens, left %v", e.Outcome, e.CompletionTokens, e.DisconnectedAt)
	}
}

func TestStreamHang(t *testing.T) {
	s := simulator.Start(t, pool())
	s.Next("payg", simulator.Fault{Action: "hang-mid-stream", Chunks: 2, Hold: time.Millisecond})
	if r := post(t, s, "payg", chatPath, helloAloud); countDeltas(r.body) != 16 || !strings.HasSuffix(r.body, "[DONE]\n\n") {
		t.Errorf("after the stall: %s", r.body)
	}
	s.Next("payg", simulator.Fault{Action: "hang-mid-stream", Chunks: 2})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, body := open(ctx, t, s, 2)
	_ = body.Close()
	if e, err := s.WaitDisconnect(ctx, "payg"); err != nil || e.CompletionTokens != 2 {
		t.Errorf("got %v with %d tokens, want 2", err, e.CompletionTokens)
	}
}

func TestTokensArePaced(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments[0].PerToken = time.Hour
	s := simulator.Start(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, body := open(ctx, t, s, 1) // would block if nothing were flushed
	_ = body.Close()
}

// newPaced is a service of one deployment on synctest's clock.
func newPaced(d simulator.Deployment) *simulator.Service {
	d.Name, d.Model = "gpt-4o", "gpt-4o"
	return simulator.New(simulator.Config{Seed: 3, Resources: []simulator.Resource{
		{Name: "one", Auth: simulator.AuthAnonymous, Deployments: []simulator.Deployment{d}},
	}})
}

func TestResponseTimeGrowsWithTokens(t *testing.T) {
	tests := []struct {
		name string
		d    simulator.Deployment
		f    *simulator.Fault
		body string
		want time.Duration
	}{
		{"at once", simulator.Deployment{}, nil, hello, 0},
		{"plain", simulator.Deployment{TimeToFirstToken: time.Second, PerToken: 100 * time.Millisecond, AnswerTokens: 11}, nil, hello, 2 * time.Second},
		{"streamed", simulator.Deployment{TimeToFirstToken: time.Second, PerToken: 100 * time.Millisecond, AnswerTokens: 11}, nil, helloAloud, 2 * time.Second},
		{"in bursts", simulator.Deployment{PerToken: 100 * time.Millisecond, AnswerTokens: 11, FilterBurst: 5}, nil, helloAloud, time.Second},
		{"slowed", simulator.Deployment{TimeToFirstToken: time.Second}, &simulator.Fault{Action: "slow", Factor: 10, Latency: time.Minute}, hello, 70 * time.Second},
		{"late refusal", simulator.Deployment{}, &simulator.Fault{Action: "500", Latency: time.Minute}, hello, time.Minute},
		{"late first token", simulator.Deployment{}, &simulator.Fault{Action: "slow", Latency: 20 * time.Second}, helloAloud, 20 * time.Second},
		{"slow upload", simulator.Deployment{}, &simulator.Fault{Action: "slow-upload", Pause: time.Second}, hello, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newPaced(tt.d)
				if tt.f != nil {
					s.Fault("one", *tt.f)
				}
				begin := time.Now()
				call(t, s, chatPath, tt.body)
				if got := time.Since(begin); got != tt.want {
					t.Errorf("took %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestBrownOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPaced(simulator.Deployment{TimeToFirstToken: time.Second})
		s.BrownOut("one", time.Hour)
		failed := 0
		for range 200 {
			begin := time.Now()
			r := call(t, s, chatPath, hello)
			switch took := time.Since(begin); {
			case r.status == 503:
				failed++
			case took != 10*time.Second:
				t.Fatalf("got %d after %v", r.status, took)
			}
		}
		if failed < 40 || failed > 80 {
			t.Errorf("%d of 200 failed", failed)
		}
		time.Sleep(time.Hour)
		begin := time.Now()
		if r := call(t, s, chatPath, hello); r.status != 200 || time.Since(begin) != time.Second {
			t.Errorf("afterwards: %d after %v", r.status, time.Since(begin))
		}
	})
}

func TestJitterIsSeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		measure := func() (out []time.Duration) {
			s := newPaced(simulator.Deployment{TimeToFirstToken: time.Second, Jitter: 0.2})
			for range 200 {
				begin := time.Now()
				call(t, s, chatPath, hello)
				out = append(out, time.Since(begin))
			}
			return out
		}
		first, again := measure(), measure()
		var sum time.Duration
		distinct := map[time.Duration]bool{}
		for i, d := range first {
			if d != again[i] {
				t.Fatalf("request %d took %v and then %v", i, d, again[i])
			}
			sum += d
			distinct[d] = true
		}
		if mean := sum / 200; mean < 950*time.Millisecond || mean > 1050*time.Millisecond || len(distinct) < 190 {
			t.Errorf("mean %v, %d distinct", mean, len(distinct))
		}
	})
}

func TestLoadFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPaced(simulator.Deployment{TimeToFirstToken: time.Second, LoadFactor: 0.5})
		go call(t, s, chatPath, hello)
		synctest.Wait()
		begin := time.Now()
		call(t, s, chatPath, hello)
		if got := time.Since(begin); got != 1500*time.Millisecond {
			t.Errorf("with one other in flight: took %v", got)
		}
	})
}
