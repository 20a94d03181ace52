package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// hanging is a handler whose requests for gpt-4o wait as given.
func hanging(w *fakeFleet, waiting proxy.Waiting) *Handler {
	w.cfg.Waiting = func(string, time.Time) proxy.Waiting { return waiting }
	return New(w.cfg)
}

// A model is not said to be served while its requests wait and none is answered, nor
// to be served by its first priority because that takes requests again at this instant.
func TestStateOfAModelIsThatOfItsRequests(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	long := proxy.Waiting{Requests: 284, Overdue: 12, Oldest: now.Add(-38 * time.Second), Answered: now.Add(-27 * time.Second)}
	const hang = "284 waiting, oldest 38 s, none answered for 27 s"
	open := func(w *fakeFleet, slots ...int) {
		for _, i := range slots {
			w.health[i] = health.Health{State: health.Open, Until: now.Add(5 * time.Second), Reason: "503"}
		}
	}
	spill := func(w *fakeFleet) {
		p := &w.cfg.Pools[0]
		for range 4 {
			w.finish(fakeRequest{pool: p, status: http.StatusOK, attempts: []proxy.Attempt{throttledBy(&p.Backends[0], 200*time.Millisecond), served(&p.Backends[1], time.Second, -1)}})
		}
		w.finish(fakeRequest{pool: p, status: http.StatusOK, attempts: []proxy.Attempt{served(&p.Backends[0], time.Second, 100)}})
	}
	for name, c := range map[string]struct {
		waiting proxy.Waiting
		set     func(w *fakeFleet)
		state   PoolState
		level   Level
		text    string
	}{
		"all hang":                    {long, func(*fakeFleet) {}, Unanswered, LevelCritical, hang},
		"the second priority hangs":   {long, func(w *fakeFleet) { open(w, 0) }, Unanswered, LevelCritical, hang + "; ptu-uksouth: circuit open (503)"},
		"they hang with none to take": {long, func(w *fakeFleet) { open(w, 0, 1, 2) }, Down, LevelCritical, hang + "; no backend takes requests: ptu-uksouth"},
		"one request thinks": {
			proxy.Waiting{Requests: 1, Oldest: now.Add(-38 * time.Second), Answered: now.Add(-time.Minute)}, func(*fakeFleet) {}, Unanswered, LevelNotice, "1 waiting, oldest 38 s, none answered for 60 s",
		},
		"some wait, others are answered": {
			proxy.Waiting{Requests: 284, Overdue: 12, Oldest: now.Add(-38 * time.Second), Answered: now.Add(-time.Second)}, func(*fakeFleet) {}, Healthy, LevelOK, "priority 1 serves all requests",
		},
		"it spills in short windows": {proxy.Waiting{}, spill, Spilling, LevelWarning, "80\u00a0% of the last minute's responses are of a lower priority than 1: ptu-uksouth: 4 throttled of 5"},
		"it spills, and refuses something": {proxy.Waiting{}, func(w *fakeFleet) {
			spill(w)
			w.cfg.Refusals = func(now time.Time) []proxy.OpenedOperation {
				return []proxy.OpenedOperation{{Slot: 0, Operation: "chat", Reason: "401", Until: now.Add(time.Minute)}}
			}
		}, Spilling, LevelWarning, "80\u00a0% of the last minute's responses are of a lower priority than 1: ptu-uksouth: 4 throttled of 5; refuses chat (401)"},
		"it spills where an instance leaves a backend": {proxy.Waiting{}, func(w *fakeFleet) {
			p := &w.cfg.Pools[0]
			for i := range 5 {
				w.finish(fakeRequest{pool: p, status: http.StatusOK, attempts: []proxy.Attempt{served(&p.Backends[i%2], time.Second, -1)}})
			}
			w.cfg.Refusals = func(now time.Time) []proxy.OpenedOperation {
				return []proxy.OpenedOperation{{Slot: 0, Operation: "chat", Reason: "401", Until: now.Add(time.Minute)}}
			}
		}, Spilling, LevelWarning, "40\u00a0% of the last minute's responses are of a lower priority than 1: ptu-uksouth: refuses chat (401)"},
		"all are throttled for a moment": {proxy.Waiting{}, func(w *fakeFleet) {
			spill(w)
			for i := range 3 {
				w.health[i].Throttle.Until = now.Add(200 * time.Millisecond)
			}
		}, Spilling, LevelWarning, "80\u00a0%"},
		"attempts fail, circuits are closed": {proxy.Waiting{}, func(w *fakeFleet) {
			p := &w.cfg.Pools[0]
			w.finish(fakeRequest{pool: p, status: http.StatusServiceUnavailable, attempts: []proxy.Attempt{failedBy(&p.Backends[0], "503", 503), failedBy(&p.Backends[1], "503", 503)}})
		}, Unanswered, LevelCritical, "2 attempts failed in the last minute, none was served"},
	} {
		w := newFakeFleet(func() time.Time { return now }, []string{"gpt-4o"}, threeBackends())
		c.set(w)
		s := hanging(w, c.waiting).currentStatus()
		p := &s.Pools[0]
		if p.State != c.state || s.Headline.Level != c.level || !strings.HasPrefix(p.Summary, c.text) {
			t.Errorf("%s: %s, %s, %q, want %s, %s, %q", name, p.State, s.Headline.Level, p.Summary, c.state, c.level, c.text)
		}
		if c.state == Unanswered && !strings.HasPrefix(s.Headline.Text, "gpt-4o: "+c.text[:min(len(c.text), len(hang))]) {
			t.Errorf("%s: %s", name, s.Headline.Text)
		}
	}
}

// The tables tell spillway status what the page shows, with what waits at any instance.
func TestStatusByTheTablesIsThatOfThePage(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	first, second, w := refusing(t, now)
	w.health[0] = health.Health{State: health.Open, Until: now.Add(5 * time.Second), Reason: "503"}
	first.cfg.Waiting = func(string, time.Time) proxy.Waiting {
		return proxy.Waiting{Requests: 3, Overdue: 3, Oldest: now.Add(-20 * time.Second), Answered: now.Add(-15 * time.Second)}
	}
	share(t, first, second, now)
	shared, err := ReadShared(t.Context(), first.cfg.Traffic, now)
	if err != nil {
		t.Fatal(err)
	}
	state := fleet.State{At: now, Slots: []fleet.SlotState{{Name: w.cfg.Slots[0], Record: health.Record{
		Circuit: health.Circuit{State: health.Open, Until: now.Add(5 * time.Second).UnixMilli()}, LastChange: health.Change{Reason: "503"},
	}}}}
	page, table := first.currentStatus(), TableStatus(w.cfg.Pools, w.cfg.Slots, &state, &shared)
	if page.Headline.Text != table.Headline.Text || page.Pools[0].State != table.Pools[0].State || page.Pools[0].Summary != table.Pools[0].Summary {
		t.Errorf("the page: %+v\nby the tables: %+v", page.Headline, table.Headline)
	}
	if other := second.currentStatus(); other.Pools[0].State != Unanswered || !strings.Contains(other.Headline.Text, "3 waiting, oldest 20 s, none answered for 15 s") {
		t.Errorf("another instance: %+v", other.Headline)
	}
}
