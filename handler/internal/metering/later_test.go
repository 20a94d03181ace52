package metering

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

var saver = &consumer.Consumer{
	Name: "saver", TokensPerMonth: 100_000, BudgetPerMonth: 10, PerModel: map[string]consumer.Limits{"mini": {TokensPerMonth: 90_000}},
	PerCaller: &consumer.CallerLimits{Limits: consumer.Limits{TokensPerMonth: 80_000}, MaxActive: 10},
}

// instanceOn is a meter of its own on the table.
func instanceOn(t *testing.T, store tablestore.Store) *Meter {
	t.Helper()
	l := quota.New(quota.Config{Store: store, Consumers: []*consumer.Consumer{saver}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return New(l, []*balancer.Pool{mini, mini, large}, nil)
}

func background(most int64) *proxy.Request {
	r := chat(false, 400, most)
	r.Consumer, r.Operation, r.Parsed.Background, r.Parsed.User = saver, *operations.ByName("responses"), true, "ann"
	return r
}

// begin starts a background response, and returns its charge and what is due.
func begin(t *testing.T, m *Meter, r *proxy.Request, d proxy.Delivery) (c Charge, due string) {
	t.Helper()
	x, err := m.Reserve(t.Context(), r, []*balancer.Pool{mini})
	if err != nil {
		t.Fatal(err)
	}
	result := served(mini, time.Second, d)
	due = m.Promise(x, r, &proxy.BackendResponse{Backend: result.ServedBy, Result: result})
	charges := m.Settle(x, r, result)
	if len(charges) != 1 {
		t.Fatalf("%+v", charges)
	}
	return charges[0], due
}

// wantSpent checks every row of the limits per month: so much is granted, and spent;
// nothing of the model that was not used.
func wantSpent(t *testing.T, store tablestore.Store, tokens int64, cost float64, unused ...string) {
	t.Helper()
	var rows []tablestore.Row
	for _, partition := range []string{"q|saver", "c|saver"} {
		some, _, err := store.List(t.Context(), partition, "", "")
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, some...)
	}
	if len(rows) != 4 {
		t.Errorf("%d limits have a row, want 4", len(rows))
	}
	for _, row := range rows {
		var record struct{ G, S int64 }
		want := tokens
		if strings.HasPrefix(row.Key, "bpmo") {
			want = int64(cost*1e9 + 0.5)
		}
		if len(unused) > 0 && strings.Contains(row.Key, unused[0]) {
			want = 0
		}
		if err := json.Unmarshal([]byte(row.Columns["q"]), &record); err != nil || record.G != want || record.S != want {
			t.Errorf("%s %s: %+v %v, want %d granted and spent", row.Partition, row.Key, record, err, want)
		}
	}
}

// What a background response reports in the end replaces its estimate, on another
// instance than the one that began it.
func TestBackgroundResponseIsCorrectedElsewhere(t *testing.T) {
	queued := proxy.Delivery{Stored: proxy.Stored{ID: "resp_1", Background: true}}
	reported := func(n int64) *proxy.Stored {
		return &proxy.Stored{ID: "resp_1", Background: true, Ended: true, Reported: true, Usage: usage.Tokens{Prompt: 90, Completion: n, Reasoning: n / 2}}
	}
	for name, c := range map[string]struct {
		ended *proxy.Stored
		after time.Duration
		want  usage.Tokens
		cost  float64
		rest  bool // of the estimate
	}{
		"less":                           {reported(48), time.Second, usage.Tokens{Prompt: 90, Completion: 48, Reasoning: 24}, 186e-6, false},
		"more":                           {reported(5000), time.Second, usage.Tokens{Prompt: 90, Completion: 5000, Reasoning: 2500}, 10_090e-6, false},
		"nothing":                        {&proxy.Stored{Ended: true, Reported: true}, time.Second, usage.Tokens{}, 0, false},
		"cancelled after two seconds":    {&proxy.Stored{Ended: true}, 2 * time.Second, usage.Tokens{Prompt: 100, Completion: 100}, 300e-6, true},
		"failed long after it was begun": {&proxy.Stored{Ended: true}, time.Hour, usage.Tokens{Prompt: 100, Completion: 900}, 1900e-6, true},
	} {
		bubble(t, name, func(t *testing.T) {
			time.Sleep(time.Hour) // the clock begins with a month
			store := new(memory.Store)
			one, two := instanceOn(t, store), instanceOn(t, store)
			estimate, due := begin(t, one, background(900), queued)
			if due == "" || !estimate.Estimated || estimate.Tokens.Completion != 900 || estimate.At.IsZero() {
				t.Fatalf("charged at first: %+v", estimate)
			}
			time.Sleep(c.after)
			got := two.Correct(background(0), due, c.ended, "default")
			if len(got) != 2 || !got[0].Withdrawn || got[0].Tokens != estimate.Tokens || got[0].Cost != estimate.Cost || !got[0].At.Equal(estimate.At) || got[0].Caller != estimate.Caller {
				t.Fatalf("%+v does not withdraw the estimate %+v", got, estimate)
			}
			if is := got[1]; is.Tokens != c.want || is.Estimated != c.rest || is.Withdrawn || !is.At.Equal(estimate.At) || int64(is.Cost*1e9+0.5) != int64(c.cost*1e9+0.5) {
				t.Errorf("%+v, want %+v for %g", is, c.want, c.cost)
			}
			if total, cost, _ := Total(got); total != (usage.Tokens{}) || cost != 0 {
				t.Errorf("the correction counts as the poll's own: %+v %g", total, cost)
			}
			time.Sleep(10 * time.Second) // both have written what they owe
			wantSpent(t, store, c.want.Total(), c.cost)
		})
	}
}

// What was promised is charged whatever becomes of the request, also when another
// instance has corrected it before: what comes to be expected meanwhile, how much is
// relayed, whether the caller stays, and which model served.
func TestPromisesAreCharged(t *testing.T) {
	left := abandoned(&mini.Backends[0], "caller left", time.Second)
	for name, c := range map[string]struct {
		result *proxy.Result
		cost   float64
		unused []string
	}{
		"queued":                  {served(mini, time.Second, proxy.Delivery{Stored: proxy.Stored{ID: "resp_1", Background: true}}), 186e-6, nil},
		"without its id":          {served(mini, time.Second, proxy.Delivery{}), 186e-6, nil},
		"ended, and taken before": {served(mini, time.Second, proxy.Delivery{Usage: usage.Tokens{Prompt: 90, Completion: 48}, Stored: proxy.Stored{ID: "resp_1", Background: true, Ended: true}}), 186e-6, nil},
		"left before it answered": {ended(mini, left), 186e-6, nil},
		"by a fallback":           {served(large, time.Second, proxy.Delivery{}), 1860e-6, []string{"mini"}},
	} {
		for _, early := range []bool{false, true} {
			bubble(t, fmt.Sprint(name, ", corrected early: ", early), func(t *testing.T) {
				time.Sleep(time.Hour)
				store := new(memory.Store)
				one, two := instanceOn(t, store), instanceOn(t, store)
				r, backend := background(900), c.result.Attempts[0].Backend
				x, err := one.Reserve(t.Context(), r, []*balancer.Pool{mini, large})
				if err != nil {
					t.Fatal(err)
				}
				due := one.Promise(x, r, &proxy.BackendResponse{Backend: backend, Result: c.result})
				correct := func() {
					time.Sleep(time.Second) // what was reserved is booked
					two.Correct(background(0), due, &proxy.Stored{Ended: true, Reported: true, Usage: usage.Tokens{Prompt: 90, Completion: 48}}, "")
				}
				if early {
					correct()
				}
				one.learnKind(keyOf(r, c.result.Pool.Model), usage.Sample{Tokens: usage.Tokens{Prompt: 1, Completion: 1}})
				x.Progress(20_000)
				charges := one.Settle(x, r, c.result)
				if len(charges) != 1 || charges[0].Tokens != (usage.Tokens{Prompt: 100, Completion: 900}) || !charges[0].Estimated {
					t.Errorf("charged %+v, want what was promised", charges)
				}
				if !early {
					correct()
				}
				time.Sleep(10 * time.Second)
				wantSpent(t, store, 138, c.cost, c.unused...)
			})
		}
	}
}

// An expectation that was made small by small answers does not let many background
// responses pass a month's limit: what they may use is kept of it.
func TestBackgroundResponsesKeepTheirBound(t *testing.T) {
	bubble(t, "many", func(t *testing.T) {
		m := instanceOn(t, new(memory.Store))
		for range 20 {
			r := background(0)
			r.Parsed.Background = false
			begin(t, m, r, proxy.Delivery{Usage: usage.Tokens{Prompt: 1, Completion: 1}})
		}
		started := 0
		for range 100 {
			r := background(8000)
			x, err := m.Reserve(t.Context(), r, []*balancer.Pool{mini})
			if err != nil {
				break
			}
			c := m.Settle(x, r, served(mini, time.Second, proxy.Delivery{Stored: proxy.Stored{ID: "resp_1"}}))
			if c[0].Tokens.Completion > 10 {
				t.Fatalf("%+v: want the expectation in the books", c)
			}
			started++
		}
		if started < 8 || started > 10 { // 80,000 tokens of the caller
			t.Errorf("%d responses of 8,000 tokens were started", started)
		}
	})
}
