package metering

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore/memory"
)

var (
	mini  = &balancer.Pool{Model: "mini", Price: usage.Price{Currency: "USD", Input: 1, Output: 2}, Backends: []balancer.Backend{{Name: "a", Slot: 0}, {Name: "b", Slot: 1}}}
	large = &balancer.Pool{Model: "large", Price: usage.Price{Currency: "USD", Input: 10, Output: 20}, Backends: []balancer.Backend{{Name: "a", Slot: 2}}, MaxOutputTokens: 4000}
	team  = &consumer.Consumer{Name: "team-a", TokensPerMinute: 100_000, RequestsPerMinute: 100}
	began = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
)

func chat(stream bool, promptBytes, most int64) *proxy.Request {
	return &proxy.Request{
		Consumer: team, Operation: *operations.ByName("chat"), Tokens: promptBytes/4 + most,
		Parsed: request.ParsedRequest{Stream: stream, PromptBytes: promptBytes, MaxOutputTokens: most},
	}
}

// served is a request that the pool's first backend served in so long.
func served(p *balancer.Pool, took time.Duration, d proxy.Delivery) *proxy.Result {
	d.Committed = true
	return &proxy.Result{Pool: p, ServedBy: &p.Backends[0], Delivery: d, Attempts: []proxy.Attempt{{Backend: &p.Backends[0], Start: began, Status: 200, Duration: took}}}
}

// ended is a request whose attempts were delivered to nobody.
func ended(p *balancer.Pool, attempts ...proxy.Attempt) *proxy.Result {
	return &proxy.Result{Pool: p, Attempts: attempts, Err: proxy.ErrCallerLeft}
}

func abandoned(b *balancer.Backend, why string, took time.Duration) proxy.Attempt {
	return proxy.Attempt{Backend: b, Start: began, Duration: took, Outcome: health.Outcome{Class: health.Abandoned, Reason: why}}
}

// newMeter is a meter with a limiter of its own, whose clock stands still.
func newMeter(t *testing.T, consumers ...*consumer.Consumer) *Meter {
	t.Helper()
	l := quota.New(quota.Config{Store: new(memory.Store), Consumers: consumers})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return New(l, []*balancer.Pool{mini, mini, large}, nil)
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Helper()
		synctest.Test(t, test)
	})
}

// settled reserves and settles, and returns what the limits per minute lost.
func settled(t *testing.T, m *Meter, r *proxy.Request, result *proxy.Result) (charges []Charge, tokens, requests int64) {
	t.Helper()
	before := m.RateLimits(chat(true, 400, 0), mini)
	x, err := m.Reserve(t.Context(), r, []*balancer.Pool{mini, large})
	if err != nil {
		t.Fatal(err)
	}
	charges = m.Settle(x, r, result)
	after := m.RateLimits(chat(true, 400, 0), mini)
	return charges, before.Tokens.Remaining - after.Tokens.Remaining, before.Requests.Remaining - after.Requests.Remaining
}

func TestWhatIsCharged(t *testing.T) {
	known := usage.Tokens{Prompt: 100, Completion: 500}
	answered := proxy.Delivery{Usage: known, TextBytes: 2000, FirstToken: began.Add(time.Second)}
	cut := proxy.Delivery{Broken: true, TextBytes: 800, FirstToken: began.Add(time.Second)}
	lost := ended(mini, abandoned(&mini.Backends[1], lostHedge, 2*time.Second))
	lost.ServedBy, lost.Delivery = &mini.Backends[0], answered
	lost.Attempts = append(lost.Attempts, proxy.Attempt{Backend: &mini.Backends[0], Start: began, Status: 200, Duration: 6 * time.Second})
	wasted := served(mini, 6*time.Second, answered)
	wasted.Attempts = append([]proxy.Attempt{{Backend: &mini.Backends[1], Status: 200, Wasted: known, Outcome: health.Outcome{Class: health.Failed}}}, wasted.Attempts...)
	begun := proxy.Delivery{Broken: true, Usage: usage.Tokens{Prompt: 120, Completion: 1}, TextBytes: 800, FirstToken: began.Add(time.Second)}
	finished := begun
	finished.FinishReason = "end_turn"
	early := proxy.Delivery{Usage: usage.Tokens{Prompt: 120, Completion: 1}, TextBytes: 2000, LaterText: 2000, FirstToken: began.Add(time.Second), FinishReason: "stop"}
	transcript := proxy.Delivery{Usage: usage.Tokens{Seconds: 3}, TextBytes: 2000, LaterText: 2000}
	wrong := served(mini, time.Second, proxy.Delivery{})
	wrong.Attempts[0].Status = 400
	refused := proxy.Attempt{Backend: &mini.Backends[0], Status: 400, Filtered: true}
	filtered := served(mini, time.Second, proxy.Delivery{})
	filtered.Attempts[0] = refused
	passed := served(large, 6*time.Second, answered)
	passed.Attempts = append([]proxy.Attempt{refused}, passed.Attempts...)
	told := abandoned(&mini.Backends[0], "caller left", 2*time.Second)
	told.Wasted = usage.Tokens{Prompt: 120, Completion: 1}
	for name, c := range map[string]struct {
		result           *proxy.Result
		charges          []Charge
		tokens, requests int64 // that the limits lose
	}{
		"reported":                       {served(mini, 6*time.Second, answered), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: known, Cost: 0.0011, Delivered: true}}, 600, 1},
		"a fallback":                     {served(large, 6*time.Second, answered), []Charge{{Pool: large, Backend: &large.Backends[0], Tokens: known, Cost: 0.011, Delivered: true}}, 600, 1},
		"cut":                            {served(mini, 3*time.Second, cut), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 100, Completion: 200}, Cost: 0.0005, Delivered: true, Broken: true, Estimated: true}}, 300, 1},
		"cut, with the usage so far":     {served(mini, 3*time.Second, begun), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 120, Completion: 200}, Cost: 0.00052, Delivered: true, Broken: true, Estimated: true}}, 320, 1},
		"cut behind its end":             {served(mini, 3*time.Second, finished), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 120, Completion: 1}, Cost: 0.000122, Delivered: true, Broken: true}}, 121, 1},
		"usage ahead of the text":        {served(mini, 3*time.Second, early), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 120, Completion: 500}, Cost: 0.00112, Delivered: true, Estimated: true}}, 620, 1},
		"billed by its length":           {served(mini, 3*time.Second, transcript), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Seconds: 3}, Delivered: true}}, 0, 1},
		"silent before a cut":            {served(mini, 6*time.Second, cut), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 100, Completion: 500}, Cost: 0.0011, Delivered: true, Broken: true, Estimated: true}}, 600, 1},
		"unmetered":                      {served(mini, 3*time.Second, proxy.Delivery{TextBytes: 800, FirstToken: began.Add(time.Second)}), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 100, Completion: 200}, Cost: 0.0005, Delivered: true, Estimated: true}}, 300, 1},
		"aborted":                        {ended(mini, abandoned(&mini.Backends[0], "caller left", 2*time.Second)), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 100, Completion: 100}, Cost: 0.0003, Estimated: true}}, 200, 1},
		"aborted behind the first usage": {ended(mini, told), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 120, Completion: 100}, Cost: 0.00032, Estimated: true}}, 220, 1},
		"aborted late":                   {ended(mini, abandoned(&mini.Backends[0], "caller left", time.Hour)), []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 100, Completion: 3000}, Cost: 0.0061, Estimated: true}}, 3100, 1},
		"never sent":                     {ended(mini, proxy.Attempt{Backend: &mini.Backends[0], Outcome: health.Outcome{Class: health.Failed, Reason: "refused"}}), nil, 0, 0},
		"queued only":                    {ended(mini), nil, 0, 0},
		"refused by all":                 {ended(mini, proxy.Attempt{Backend: &mini.Backends[0], Status: 500, Outcome: health.Outcome{Class: health.Failed, Reason: "500"}}), nil, 0, 1},
		"the caller's error":             {wrong, []Charge{{Pool: mini, Backend: &mini.Backends[0], Delivered: true}}, 0, 1},
		"filtered":                       {filtered, []Charge{{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 100}, Cost: 0.0001, Delivered: true, Estimated: true}}, 100, 1},
		"filtered, and served by a fallback": {passed, []Charge{
			{Pool: mini, Backend: &mini.Backends[0], Tokens: usage.Tokens{Prompt: 100}, Cost: 0.0001, Estimated: true},
			{Pool: large, Backend: &large.Backends[0], Tokens: known, Cost: 0.011, Delivered: true},
		}, 700, 1},
		"the loser of a hedge": {lost, []Charge{
			{Pool: mini, Backend: &mini.Backends[1], Tokens: usage.Tokens{Prompt: 100, Completion: 100}, Cost: 0.0003, Estimated: true, Overhead: true},
			{Pool: mini, Backend: &mini.Backends[0], Tokens: known, Cost: 0.0011, Delivered: true},
		}, 600, 1},
		"a useless answer": {wasted, []Charge{
			{Pool: mini, Backend: &mini.Backends[1], Tokens: known, Cost: 0.0011, Overhead: true},
			{Pool: mini, Backend: &mini.Backends[0], Tokens: known, Cost: 0.0011, Delivered: true},
		}, 600, 1},
	} {
		bubble(t, name, func(t *testing.T) {
			m := newMeter(t, team)
			for range 10 { // four bytes are a token, and a second is 100 of them after the first
				settled(t, m, chat(true, 400, 3000), served(mini, 6*time.Second, answered))
			}
			charges, tokens, requests := settled(t, m, chat(true, 400, 3000), c.result)
			for i := range charges {
				charges[i].Cost = math.Round(charges[i].Cost*1e9) / 1e9
			}
			if d := cmp.Diff(c.charges, charges); d != "" || tokens != c.tokens || requests != c.requests {
				t.Errorf("%d tokens and %d requests of the limits, want %d and %d; charges (-want +got):\n%s", tokens, requests, c.tokens, c.requests, d)
			}
		})
	}
}

// Before anything is known, a token is four bytes, and fifty are generated in a
// second.
func TestEstimateOfTheFirstAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		result *proxy.Result
		want   int64
	}{
		"cut after text":                {served(mini, time.Minute, proxy.Delivery{Broken: true, TextBytes: 800, FirstToken: began.Add(time.Second)}), 200},
		"abandoned before a first byte": {ended(mini, abandoned(&mini.Backends[0], "caller left", 4*time.Second)), 200},
	} {
		bubble(t, name, func(t *testing.T) {
			charges, _, _ := settled(t, newMeter(t, team), chat(true, 400, 0), c.result)
			if len(charges) != 1 || charges[0].Tokens != (usage.Tokens{Prompt: 100, Completion: c.want}) {
				t.Errorf("%+v, want %d tokens", charges, c.want)
			}
		})
	}
}

// Answers that come at once do not tell how fast tokens are generated: plain ones,
// whose first token is their last, and short ones.
func TestAnswersThatComeAtOnceTellNoSpeed(t *testing.T) {
	atOnce := func(completion int64) proxy.Delivery {
		return proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: completion}, TextBytes: 4 * completion, FirstToken: began.Add(2 * time.Second)}
	}
	left := ended(mini, abandoned(&mini.Backends[0], "caller left", 4*time.Second))
	for name, c := range map[string]struct {
		stream bool
		answer proxy.Delivery
		want   int64
	}{
		"plain answers":         {false, atOnce(120), 240}, // 60 a second
		"short streams":         {true, atOnce(20), 100},   // 50 a second, after two seconds
		"long streams, at once": {true, atOnce(1000), 1000},
	} {
		bubble(t, name, func(t *testing.T) {
			m := newMeter(t, team)
			settled(t, m, chat(c.stream, 400, 0), served(mini, 2*time.Second+time.Millisecond, c.answer))
			charges, _, _ := settled(t, m, chat(true, 400, 0), left)
			if len(charges) != 1 || !charges[0].Estimated || charges[0].Tokens.Completion != c.want {
				t.Errorf("%+v, want %d tokens", charges, c.want)
			}
		})
	}
}

// A background response is charged when it is started, since its usage is reported
// later and to whoever asks.
func TestBackgroundResponseIsCharged(t *testing.T) {
	for _, answers := range []int{0, 10} {
		bubble(t, fmt.Sprint(answers, " answers are known"), func(t *testing.T) {
			m := newMeter(t, team)
			r := chat(false, 400, 900)
			r.Operation, r.Parsed.Background = *operations.ByName("responses"), true
			want := int64(900)
			for range answers {
				known := chat(false, 400, 900)
				known.Operation = r.Operation
				settled(t, m, known, served(mini, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: 48}}))
				want = 48
			}
			charges, tokens, _ := settled(t, m, r, served(mini, 20*time.Millisecond, proxy.Delivery{}))
			if len(charges) != 1 || charges[0].Tokens.Completion != want || !charges[0].Estimated || tokens != 100+want {
				t.Errorf("%d tokens charged, %+v; want %d of the answer", tokens, charges, want)
			}
		})
	}
}

// Reasoning is generated before the first token is seen, and is not relayed.
func TestHiddenReasoningIsEstimated(t *testing.T) { synctest.Test(t, hiddenReasoningIsEstimated) }

func hiddenReasoningIsEstimated(t *testing.T) {
	m := newMeter(t, team)
	for range 10 {
		d := proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: 600, Reasoning: 400}, TextBytes: 800, FirstToken: began.Add(4 * time.Second)}
		settled(t, m, chat(true, 400, 0), served(mini, 6*time.Second, d))
	}
	for name, c := range map[string]struct {
		result *proxy.Result
		want   int64
	}{
		"after half of the text":       {served(mini, 5*time.Second, proxy.Delivery{Broken: true, TextBytes: 400, FirstToken: began.Add(4 * time.Second)}), 500},
		"while the model was thinking": {ended(mini, abandoned(&mini.Backends[0], "caller left", 2*time.Second)), 200},
	} {
		charges, _, _ := settled(t, m, chat(true, 400, 0), c.result)
		if len(charges) != 1 || charges[0].Tokens.Completion != c.want {
			t.Errorf("%s: %+v, want %d tokens", name, charges, c.want)
		}
	}
}

func TestDemandFollowsWhatWasLatelyUsed(t *testing.T) {
	synctest.Test(t, demandFollowsWhatWasLatelyUsed)
}

func demandFollowsWhatWasLatelyUsed(t *testing.T) {
	m := newMeter(t, team)
	pools := []*balancer.Pool{mini, large}
	demanded := func(r *proxy.Request) quota.Demand {
		e := m.expect(keyOf(r, "mini"))
		return demand(r, pools, &e)
	}
	want := quota.Demand{Model: "mini", Size: 100, Prompt: 100, MaxPrompt: 200, MinuteOutput: commonLargest, MaxOutput: otherLargest, Price: mini.Price, MaxPrice: large.Price}
	if d := cmp.Diff(want, demanded(chat(false, 400, 0))); d != "" {
		t.Errorf("nothing known (-want +got):\n%s", d)
	}
	for range 10 {
		settled(t, m, chat(true, 400, 4096), served(mini, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 200, Completion: 481}}))
	}
	want = quota.Demand{Model: "mini", Size: 4196, Prompt: 200, MaxPrompt: 200, Output: 481, Certainty: 1, MinuteOutput: 4096, MaxOutput: 4096, Price: mini.Price, MaxPrice: large.Price}
	if d := cmp.Diff(want, demanded(chat(false, 400, 4096))); d != "" {
		t.Errorf("ten answers known, of streams (-want +got):\n%s", d)
	}
	three := chat(false, 400, 100)
	three.Parsed.Choices = 3
	if d := demanded(three); d.Output != 300 || d.MaxOutput != 300 {
		t.Errorf("three choices of at most 100 tokens: %+v", d)
	}
	embeddings := chat(false, 400, 0)
	embeddings.Operation = *operations.ByName("embeddings")
	if d := demanded(embeddings); d.Output != 0 || d.MaxOutput != 0 {
		t.Errorf("embeddings have no output: %+v", d)
	}
	for _, counts := range []string{"count-tokens", "input-tokens"} { // which tell how large a request is
		count := chat(false, 400, 0)
		count.Operation = *operations.ByName(counts)
		if d := demanded(count); d.Size != 0 || d.MaxPrompt != 0 {
			t.Errorf("%s: %+v", counts, d)
		}
	}
}

func TestReservationGrowsWhileAStreamRunsOn(t *testing.T) {
	synctest.Test(t, reservationGrowsWhileAStreamRunsOn)
}

func reservationGrowsWhileAStreamRunsOn(t *testing.T) {
	m := newMeter(t, team)
	for range 10 {
		settled(t, m, chat(true, 400, 0), served(mini, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 100, Completion: 100}, TextBytes: 400}))
	}
	before := m.RateLimits(chat(true, 400, 0), mini).Tokens.Remaining
	x, err := m.Reserve(t.Context(), chat(true, 400, 0), []*balancer.Pool{mini})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bytes, reserved int64 }{{400, 200}, {600, 200}, {4000, 1375}, {5000, 1375}, {40_000, 12_625}} {
		x.Progress(c.bytes)
		if got := before - m.RateLimits(chat(true, 400, 0), mini).Tokens.Remaining; got != c.reserved {
			t.Errorf("%d reserved after %d bytes, want %d", got, c.bytes, c.reserved)
		}
	}
}
