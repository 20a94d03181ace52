package app

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore/memory"
)

// Tokens of an attempt that was not delivered count for its backend, at that
// model's price, and not as a request.
func TestUndeliveredAttemptsAreAccounted(t *testing.T) {
	large := &balancer.Pool{Model: "large", Price: usage.Price{Currency: "USD", Input: 10, Output: 20}, Backends: []balancer.Backend{{Name: "ptu", Slot: 0}}}
	small := &balancer.Pool{Model: "small", Price: usage.Price{Currency: "USD", Input: 1, Output: 2}, Backends: []balancer.Backend{{Name: "ptu", Slot: 1}, {Name: "payg", Slot: 2}}}
	store := new(memory.Store)
	u := &usageRecorder{store: store, Recorder: accounting.New(accounting.Config{Store: store})}
	hour := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	u.RequestDone(&api.RequestRecord{
		Start: hour, Duration: time.Second, Consumer: &consumer.Consumer{Name: "team-a"}, Status: 200,
		Charges: []metering.Charge{
			{Pool: large, Backend: &large.Backends[0], Tokens: usage.Tokens{Prompt: 100, Completion: 1}, Cost: 0.00102, Overhead: true},
			{Pool: small, Backend: &small.Backends[1], Tokens: usage.Tokens{Prompt: 100, Completion: 10}, Cost: 0.00012, Delivered: true, Broken: true, Estimated: true},
		},
	})
	rows, err := u.rows(context.Background(), hour, hour.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, r := range rows {
		got[r.Consumer+" "+r.Model+" "+r.Backend+" requests"] = r.Requests
		got[r.Consumer+" "+r.Model+" "+r.Backend+" tokens"] = r.Tokens.Total()
		got[r.Consumer+" "+r.Model+" "+r.Backend+" millionths"] = int64(r.Cost.Amount()*1e6 + 0.5)
		got[r.Consumer+" "+r.Model+" "+r.Backend+" unmetered"] = r.Unmetered
		got[r.Consumer+" "+r.Model+" "+r.Backend+" estimated"] = r.Estimated.Total()
	}
	want := map[string]int64{
		"team-a large ptu requests": 0, "team-a large ptu tokens": 101, "team-a large ptu millionths": 1020,
		"team-a large ptu unmetered": 0, "team-a large ptu estimated": 0, "team-a small payg unmetered": 1, "team-a small payg estimated": 110,
		"team-a small payg requests": 1, "team-a small payg tokens": 110, "team-a small payg millionths": 120,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("recorded (-want +got):\n%s", d)
	}
}
