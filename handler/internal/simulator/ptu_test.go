package simulator_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// ptu drains 100 tokens a second; 1,000 fill it.
func ptu() simulator.Deployment {
	return simulator.Deployment{SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 6000, AnswerTokens: 390}
}

func TestBucketFillsRefusesAndDrains(t *testing.T) {
	s, clock := one(ptu())
	// Each request costs 10 prompt tokens and 390 completion tokens.
	for i, want := range []string{"40.0%", "80.0%", "120.0%"} {
		r := call(t, s, chatPath, costing(400))
		if got := r.header.Get("azure-openai-deployment-utilization"); r.status != 200 || got != want {
			t.Fatalf("request %d: got %d at %s, want 200 at %s", i, r.status, got, want)
		}
		if r.header.Get("x-ratelimit-remaining-tokens") != "" {
			t.Fatal("a provisioned deployment reports its utilization instead of x-ratelimit-*")
		}
	}
	clock.pass(500 * time.Millisecond)
	r := call(t, s, chatPath, costing(400))
	if r.status != 429 || r.header.Get("retry-after-ms") != "1500" || r.header.Get("retry-after") != "2" {
		t.Fatalf("got %d, retry-after-ms %s, retry-after %s; want 429, 1500, 2", r.status, r.header.Get("retry-after-ms"), r.header.Get("retry-after"))
	}
	if got := r.header.Get("azure-openai-deployment-utilization"); got != "115.0%" {
		t.Errorf("got %s, want 115.0%%", got)
	}
	clock.pass(1499 * time.Millisecond)
	if r := call(t, s, chatPath, costing(400)); r.status != 429 || r.header.Get("retry-after-ms") != "1" {
		t.Errorf("a millisecond early: got %d, retry-after-ms %s", r.status, r.header.Get("retry-after-ms"))
	}
	clock.pass(time.Millisecond)
	if r := call(t, s, chatPath, costing(400)); r.status != 200 {
		t.Errorf("after exactly retry-after-ms: got %d, want 200", r.status)
	}
}

func TestProvisionedErrorForms(t *testing.T) {
	for path, want := range map[string]string{chatPath: `"code":"429"`, v1ChatPath: `"type":"too_many_requests","param":null,"code":"rate_limit_exceeded"`} {
		s, _ := one(ptu())
		for range 3 {
			call(t, s, path, costing(400))
		}
		if r := call(t, s, path, costing(400)); r.status != 429 || !strings.Contains(r.body, want) {
			t.Errorf("%s: got %d %s", path, r.status, r.body)
		}
	}
}

func TestBucketIsCorrectedByUse(t *testing.T) {
	d := ptu()
	d.AnswerTokens = 40
	s, _ := one(d)
	call(t, s, chatPath, costing(1000)) // estimated 1,000, used 10 + 40
	if got := s.PTU("one", "gpt-4o").Utilization; got != 5 {
		t.Errorf("got %v %%, want 5", got)
	}
}

func TestCachedTokensDoNotFillTheBucket(t *testing.T) {
	s, clock := one(simulator.Deployment{SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 60000, AnswerTokens: 10})
	long := `{"max_tokens":10,"messages":[{"role":"user","content":"` + strings.Repeat("word", 2000) + `"}]}`
	call(t, s, chatPath, long)
	clock.pass(time.Minute)
	call(t, s, chatPath, long)
	entries := s.Journal()
	if entries[1].CachedTokens != 1920 {
		t.Fatalf("got %d cached tokens, want 1024 + 7×128", entries[1].CachedTokens)
	}
	if got := s.PTU("one", "gpt-4o").Utilization; got != 0.9 {
		t.Errorf("got %v %%, want (2000 − 1920 + 10) / 10000", got)
	}
}

// TestBucketInvariants walks a bucket at random: what it worked off never exceeds its
// rate, and a client that waits exactly as long is always admitted.
func TestBucketInvariants(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s, clock := one(ptu())
		begin := clock.Now()
		for range 200 {
			clock.pass(time.Duration(rng.Int64N(int64(3 * time.Second))))
			r := call(t, s, chatPath, costing(11+rng.IntN(389)))
			if r.status == 429 {
				wait, err := time.ParseDuration(r.header.Get("retry-after-ms") + "ms")
				if err != nil || wait <= 0 {
					t.Fatalf("seed %d: retry-after-ms %q", seed, r.header.Get("retry-after-ms"))
				}
				clock.pass(wait)
				if r := call(t, s, chatPath, costing(20)); r.status != 200 {
					t.Fatalf("seed %d: waited %v and got %d", seed, wait, r.status)
				}
			}
		}
		report := s.PTU("one", "gpt-4o")
		if elapsed := clock.Now().Sub(begin); report.Elapsed != elapsed || report.Drained > 100*elapsed.Seconds()+1e-6 {
			t.Fatalf("seed %d: drained %v in %v of %v", seed, report.Drained, report.Elapsed, elapsed)
		}
		if report.Busy > report.Elapsed || report.Saturated > report.Busy {
			t.Fatalf("seed %d: saturated %v, busy %v, elapsed %v", seed, report.Saturated, report.Busy, report.Elapsed)
		}
	}
}

func TestPTUReportCountsIdleTime(t *testing.T) {
	s, clock := one(ptu())
	for range 3 {
		call(t, s, chatPath, costing(400)) // 1,200 tokens: saturated for 2 s
	}
	call(t, s, chatPath, costing(400)) // refused
	clock.pass(7 * time.Second)        // 5 s longer than asked for
	call(t, s, chatPath, costing(400))
	got := s.PTU("one", "gpt-4o")
	if got.Saturated != 2*time.Second || got.Idle != 5*time.Second || got.Busy != 7*time.Second || got.Admitted != 4 || got.Refused != 1 {
		t.Errorf("got %+v", got)
	}
	clock.pass(93 * time.Second)
	if got := s.PTU("one", "gpt-4o"); got.Busy != 16*time.Second || got.BusyShare() != 0.16 {
		t.Errorf("1,600 tokens at 100 a second: busy %v, share %v", got.Busy, got.BusyShare())
	}
}
