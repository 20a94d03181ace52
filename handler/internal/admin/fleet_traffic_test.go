package admin

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// sharing is an instance that shares its traffic in a store.
func sharing(store tablestore.Store, name string, at func() time.Time) (*fakeFleet, *Handler) {
	w := newFakeFleet(at, []string{"gpt-4o"}, threeBackends())
	w.addConsumers()
	w.cfg.Instance, w.cfg.Traffic = name, store
	w.cfg.Recent = NewRecent(name, w.cfg.Slots, 100, at)
	return w, New(w.cfg)
}

// What an instance shows is the sum of all, whichever answers.
func TestEveryInstanceShowsTheTrafficOfAll(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	store, at := new(memory.Store), func() time.Time { return now }
	a, first := sharing(store, "a", at)
	b, second := sharing(store, "b", at)
	p, q := &a.cfg.Pools[0], &b.cfg.Pools[0]
	a.traffic(10, p, func(int) []proxy.Attempt { return []proxy.Attempt{served(&p.Backends[0], time.Second, 40)} })
	b.traffic(30, q, func(int) []proxy.Attempt { return []proxy.Attempt{served(&q.Backends[1], time.Second, -1)} })
	for _, o := range []*Handler{first, second} {
		if err := writeTraffic(t.Context(), o.cfg.Traffic, o.trafficKey, o.ownTraffic(now)); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []*Handler{first, second} {
		o.readTraffic(t.Context())
		s := o.currentStatus()
		pool := &s.Pools[0]
		if pool.Minute.Served != 40 || pool.SpillPercent != 75 || pool.FirstToken.Samples != 40 || pool.Groups[0].Backends[0].Utilization == nil {
			t.Errorf("%s: %+v, %v %% spilled", o.cfg.Instance, pool.Minute, pool.SpillPercent)
		}
		if n := s.Consumers[0].Minute.Requests + s.Consumers[1].Minute.Requests; n != 40 {
			t.Errorf("%s: the consumers sent %d requests, want 40", o.cfg.Instance, n)
		}
		h := o.history("", now)
		if sum(h.Plots["requests"]) != 40 || sum(h.Plots["tokens"]) != float64(pool.Minute.Tokens) || sum(h.Costs["USD"]) <= 0 || h.Plots["p95"][stepCount-1] <= 0 || h.Plots["spilled"][stepCount-1] != 75 {
			t.Errorf("%s: the last hours: %+v", o.cfg.Instance, h)
		}
		if none := o.history("other", now); sum(none.Plots["requests"]) != 0 {
			t.Errorf("%s: another model has traffic", o.cfg.Instance)
		}
	}
	now = now.Add(2 * time.Minute) // b stopped: its last minute is over, its hours are not
	if s := first.currentStatus(); s.Pools[0].Minute.Served != 0 {
		t.Errorf("two minutes later: %+v", s.Pools[0].Minute)
	}
	if h := first.history("", now); sum(h.Plots["requests"]) != 40 {
		t.Errorf("two minutes later, %v requests in the last hours", sum(h.Plots["requests"]))
	}
	now = now.Add(7 * time.Hour)
	if h := first.history("", now); sum(h.Plots["requests"]) != 0 {
		t.Errorf("seven hours later, %v requests in the last six", sum(h.Plots["requests"]))
	}
	if n, err := DeleteStaleTraffic(t.Context(), store, now); n != 0 || err != nil {
		t.Errorf("%d rows deleted after seven hours, %v", n, err)
	}
	if n, err := DeleteStaleTraffic(t.Context(), store, now.Add(24*time.Hour)); n != 2 || err != nil {
		t.Errorf("%d rows deleted after a day, %v", n, err)
	}
}

func sum(p Plot) (total float64) {
	for _, n := range p {
		total += n
	}
	return total
}

// The steps hold what a request was, and when.
func TestHistoryCountsByStep(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).Truncate(stepLength).Add(time.Minute)
	w, o := sharing(new(memory.Store), "a", func() time.Time { return now })
	p := &w.cfg.Pools[0]
	request := func(ago time.Duration, status int, attempts ...proxy.Attempt) {
		w.finish(fakeRequest{id: "x", pool: p, status: status, ago: ago, took: time.Second, attempts: attempts, tokens: tokens(1000, 100)})
	}
	request(0, 200, served(&p.Backends[0], time.Second, -1))
	request(0, 200, throttledBy(&p.Backends[0], time.Second), served(&p.Backends[1], time.Second, -1))
	request(5*time.Minute, 429, throttledBy(&p.Backends[0], time.Second))
	request(10*time.Minute, 503, failedBy(&p.Backends[0], "503", 503))
	h := o.history("gpt-4o", now)
	last := func(name string) string { return fmt.Sprint(h.Plots[name][stepCount-3:]) }
	if last("requests") != "[1 1 2]" || last("failed") != "[1 1 0]" || last("spilled") != "[0 0 50]" || last("tokens") != "[0 0 2200]" {
		t.Errorf("requests %s, failed %s, spilled %s, tokens %s", last("requests"), last("failed"), last("spilled"), last("tokens"))
	}
	if end := h.From.Add(stepCount * stepLength); end.Sub(now) > stepLength || !end.After(now) {
		t.Errorf("the last step ends at %v, at %v", end, now)
	}
}

// Requests of six hours on every backend of a large installation fit a row.
func TestTrafficOfLargeInstallationFitsARow(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	w := bigScenario(func() time.Time { return now })
	o := New(w.cfg)
	own := o.ownTraffic(now)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		own.Events = append(own.Events, Event{At: now, Last: now, Kind: Tripped, Subject: fmt.Sprint("backend-", r.Int64()), Text: "circuit opened: 503", Times: 1})
	}
	columns, err := encodeTraffic(own)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for name, value := range columns {
		if len(value) > 32<<10 {
			t.Errorf("column %s has %d characters, want at most 32 Ki", name, len(value))
		}
		size += 2 * len(value)
	}
	if size > 1<<19 {
		t.Errorf("the row has %d bytes", size)
	}
	t.Logf("%d columns, %d bytes", len(columns), size)
	back, err := decodeTraffic(&tablestore.Row{Columns: columns})
	if err != nil || len(back.Slots) != len(own.Slots) || len(back.Models) != len(own.Models) || len(back.Events) != len(own.Events) || len(own.Slots) < 100 {
		t.Errorf("read back: %v", err)
	}
}

func TestDamagedTrafficIsLeftOut(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	store := new(memory.Store)
	_, o := sharing(store, "a", func() time.Time { return now })
	for i, columns := range []map[string]string{nil, {"n": "x"}, {"n": "1"}, {"n": "1", "p0": "!"}, {"n": "1", "p0": "aGVsbG8="}, {"n": "999999999"}} {
		if _, _, err := store.Upsert(t.Context(), tablestore.Row{Partition: trafficPartition, Key: fmt.Sprint(i), Columns: columns}); err != nil {
			t.Fatal(err)
		}
	}
	if o.readTraffic(t.Context()); len(o.others.Load().rows) != 0 {
		t.Errorf("read %d rows", len(o.others.Load().rows))
	}
}

// An instance without traffic writes nothing; one with traffic every 15 s, and once
// more when it ends.
func TestOnlyInstancesWithTrafficShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		w, o := sharing(store, "a", time.Now)
		w.cfg.InFlight, o.cfg.InFlight = nil, nil
		writes := func() string {
			rows, _, err := store.List(t.Context(), trafficPartition, "", "")
			if err != nil || len(rows) > 1 {
				t.Fatal(rows, err)
			}
			if len(rows) == 0 {
				return ""
			}
			return rows[0].Columns[trafficAtColumn]
		}
		stop := make(chan struct{})
		ctx := t.Context()
		go func() { defer close(stop); o.Run(ctx) }()
		time.Sleep(time.Hour)
		if writes() != "" {
			t.Error("an idle instance writes")
		}
		p := &w.cfg.Pools[0]
		w.traffic(5, p, func(int) []proxy.Attempt { return []proxy.Attempt{served(&p.Backends[0], time.Second, -1)} })
		time.Sleep(20 * time.Second)
		first := writes()
		time.Sleep(20 * time.Second)
		if second := writes(); first == "" || second == first {
			t.Errorf("written at %q and then at %q", first, second)
		}
		time.Sleep(2 * time.Minute)
		last := writes()
		if time.Sleep(time.Hour); writes() != last {
			t.Error("it still writes an hour after its last request")
		}
	})
}

// Budget marks and other configurations are events.
func TestMarksAndConfigurationsAreEvents(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	store, at := new(memory.Store), func() time.Time { return now }
	w, o := sharing(store, "a", at)
	for _, mark := range []float64{80, 95} {
		w.cfg.Recent.LimitWarned(&quota.Warning{Consumer: "team-a", Limit: "budgetPerMonth", Mark: mark})
	}
	w.cfg.Recent.LimitWarned(&quota.Warning{Consumer: "team-a", Limit: "tokensPerMonth", Model: "gpt-4o", Mark: 99.5})
	old := &sharedTraffic{Instance: "b", At: now.UnixMilli(), Started: now.Add(-time.Hour).UnixMilli(), Config: "1", Version: w.cfg.Version}
	newer := &sharedTraffic{Instance: "c", At: now.UnixMilli(), Started: now.Add(-time.Minute).UnixMilli(), Config: "2", Version: w.cfg.Version}
	o.started = now.Add(-2 * time.Hour)
	o.Configure(w.cfg.Pools, w.cfg.Slots, w.cfg.Consumers, "1")
	o.others.Store(newOthers([]*sharedTraffic{old, newer}))
	var got []string
	for _, e := range o.timeline(now) {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Subject, " ", e.Text))
	}
	want := "config c another configuration (2)|budget team-a 80\u00a0% of the budget per month used|budget team-a 95\u00a0% of the budget per month used|budget team-a 99.5\u00a0% of the tokens per month of gpt-4o used"
	if strings.Join(got, "|") != want {
		t.Errorf("events %q, want %q", strings.Join(got, "|"), want)
	}
}

func TestHistoryIsServed(t *testing.T) {
	w := healthyScenario(time.Now)
	w.cfg.Open = true
	got := testRequest{path: "/ops/api/history?model=gpt-4o"}.to(t, mount(w.cfg))
	if got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"requests":[`) || !strings.Contains(got.Body.String(), `"kind":"throttle"`) {
		t.Errorf("%d %.200s", got.Code, got.Body)
	}
}
