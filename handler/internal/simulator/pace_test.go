package simulator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/simulator"
)

// paced is a service of one deployment on synctest's clock.
func paced(d simulator.Deployment) *simulator.Service {
	d.Name, d.Model = "gpt-4o", "gpt-4o"
	return simulator.New(simulator.Config{Seed: 3, Resources: []simulator.Resource{
		{Name: "one", Auth: simulator.AuthAnonymous, Deployments: []simulator.Deployment{d}},
	}})
}

func TestAnswersTakeTheTimeOfTheirTokens(t *testing.T) {
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
				s := paced(tt.d)
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

func TestBrownOutIsSlowAndFailsInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paced(simulator.Deployment{TimeToFirstToken: time.Second})
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

func TestJitterIsSpreadAndSeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		measure := func() (out []time.Duration) {
			s := paced(simulator.Deployment{TimeToFirstToken: time.Second, Jitter: 0.2})
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

func TestLoadSlowsEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := paced(simulator.Deployment{TimeToFirstToken: time.Second, LoadFactor: 0.5})
		go call(t, s, chatPath, hello)
		synctest.Wait()
		begin := time.Now()
		call(t, s, chatPath, hello)
		if got := time.Since(begin); got != 1500*time.Millisecond {
			t.Errorf("with one other in flight: took %v", got)
		}
	})
}
