package admin

import (
	"fmt"
	"testing"
	"time"

	"spillway/handler/internal/health"
)

func TestDescribeChange(t *testing.T) {
	record := func(p health.CircuitState, epoch uint64, why string) health.Record {
		return health.Record{Circuit: health.Circuit{Epoch: epoch, State: p}, LastChange: health.Change{By: "b", Reason: why}}
	}
	closed, open, half := record(health.Closed, 1, ""), record(health.Open, 2, "503"), record(health.HalfOpen, 3, "503")
	healed := record(health.Closed, 4, "probe answered")
	drained, full, void, suspected := closed, closed, closed, closed
	drained.Override = health.OperatorOverride{Drained: true, Operator: "anna"}
	full.Windows = full.Windows.Add(health.LimitTokens, health.ThrottleWindow{Until: 5})
	full.LastChange.Reason = "429 tokens"
	void.ResetAt = 6
	suspected.Circuit.Suspicions = []health.Suspicion{{Reporter: "a", Since: 1, At: 1, Failures: 1}}
	objected := record(health.Closed, 5, "served")
	objected.Circuit.LastObjection = 4
	for name, c := range map[string]struct {
		before, after health.Record
		want          string
	}{
		"a trip":          {closed, open, "trip circuit opened: 503"},
		"a probe":         {open, half, ""},
		"a recovery":      {half, healed, "close circuit closed: probe answered"},
		"a drain":         {closed, drained, "drain drained by anna"},
		"a restore":       {drained, health.Record{Override: health.OperatorOverride{Operator: "ben"}}, "restore restored by ben"},
		"a throttle":      {closed, full, "throttle throttled: 429 tokens"},
		"a reset":         {full, void, "reset reset by an operator"},
		"a lease renewed": {half, record(health.HalfOpen, 4, "503"), ""},
		"a suspicion":     {closed, suspected, ""},
		"an objection":    {open, objected, "close circuit closed: an instance is being served"},
	} {
		got := ""
		for _, e := range describeChange(&c.before, &c.after) {
			got += string(e.Kind) + " " + e.Text
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A provisioned deployment at its limit throttles many times a second: its events
// must not push the others out.
func TestRepeatedEventsAreOne(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var all timeline
	note := func(subject, text string) { all.add(Event{At: now, Last: now, Subject: subject, Text: text, Times: 1}) }
	note("b", "circuit opened: 503")
	began := now
	for range 200 {
		note("a", "throttled: 429 provisioned")
		now = now.Add(30 * time.Second)
	}
	got, _ := all.since(time.Time{})
	if len(got) != 2 || got[1].Times != 200 || !got[1].At.Equal(began) || got[1].Last.Sub(began) != 199*30*time.Second || got[0].Text != "circuit opened: 503" {
		t.Errorf("events: %+v", got)
	}
	now = now.Add(2 * repeatWindow)
	note("a", "throttled: 429 provisioned")
	note("a", "circuit opened: 503")
	note("a", "throttled: 429 provisioned")
	if got, _ = all.since(now); len(got) != 3 || got[2].Times != 1 {
		t.Errorf("after a pause and another event: %+v", got)
	}
	for i := range 3 * maxEvents {
		note("a", fmt.Sprint("event ", i))
	}
	if got, _ = all.since(time.Time{}); len(got) != maxEvents || got[maxEvents-1].Text != fmt.Sprint("event ", 3*maxEvents-1) {
		t.Errorf("%d are kept, want the latest %d", len(got), maxEvents)
	}
}

// An instance that starts reads changes that were made long before.
func TestEventsHaveTheTimeOfTheirChange(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := NewRecent("a", []string{"b/m"}, 1, func() time.Time { return now })
	after := health.Record{Circuit: health.Circuit{State: health.Open, Since: now.Add(-time.Hour).UnixMilli()}, LastChange: health.Change{By: "c", Reason: "503"}}
	r.Changed(0, health.Record{}, after)
	after.Circuit.Since = now.Add(time.Hour).UnixMilli() // another clock
	r.Changed(0, health.Record{}, after)
	got, _ := r.events.since(time.Time{})
	if len(got) != 2 || now.Sub(got[0].At) != time.Hour || !got[1].At.Equal(now) || got[0].Subject != "b/m" || got[0].By != "c" {
		t.Errorf("events: %+v", got)
	}
}

// The table's clock may be ahead of an instance's: a drain is one event all the same,
// and a probe that was not used is none.
func TestChangeIsOneEventWhateverTheClocks(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	drained := health.Record{Override: health.OperatorOverride{Drained: true, Operator: "root", At: now.Add(400 * time.Millisecond).UnixMilli()}}
	probing := health.Record{Circuit: health.Circuit{Epoch: 3, State: health.HalfOpen}}
	returned := health.Record{Circuit: health.Circuit{Epoch: 4, State: health.Open, ProbeDueSince: now.UnixMilli(), Since: now.UnixMilli()}}
	var all []Event
	for i := range 3 {
		r := NewRecent("i", []string{"b/m"}, 1, func() time.Time { return now.Add(time.Duration(i) * 100 * time.Millisecond) })
		r.Changed(0, health.Record{}, drained)
		r.Changed(0, probing, returned)
		events, _ := r.events.since(time.Time{})
		all = append(all, events...)
	}
	if got := mergeEvents(all); len(got) != 1 || got[0].Times != 1 || got[0].Text != "drained by root" {
		t.Errorf("%+v", got)
	}
}

// Every instance records the changes that it applies: they are counted once.
func TestEventsOfInstancesAreMerged(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(1_700_000_000+second), 0) }
	event := func(kind EventKind, from, to, times int) Event {
		return Event{At: at(from), Last: at(to), Kind: kind, Subject: "b/m", Text: string(kind), Times: times}
	}
	got := mergeEvents([]Event{
		event(Tripped, 0, 0, 1), event(Recovered, 90, 90, 1), event(ThrottleBegan, 100, 400, 30), event(Tripped, 300, 300, 1),
		event(Tripped, 1, 1, 1), event(ThrottleBegan, 110, 410, 31), event(ThrottleBegan, 430, 500, 4),
	})
	if len(got) != 4 || got[0].Kind != Tripped || got[1].Kind != Recovered || got[2].Kind != Tripped || got[3].Times != 35 || !got[3].Last.Equal(at(500)) || !got[3].At.Equal(at(100)) {
		t.Errorf("merged: %+v", got)
	}
}

func TestTroubleLastsSinceItsBegin(t *testing.T) {
	at := func(minute int) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(minute) * time.Minute)
	}
	event := func(kind EventKind, from, to int) Event { return Event{At: at(from), Last: at(to), Kind: kind} }
	for name, c := range map[string]struct {
		events []Event
		kind   EventKind
		want   time.Time
	}{
		"nothing is known":                 {nil, Tripped, time.Time{}},
		"one trip":                         {[]Event{event(Tripped, 3, 3)}, Tripped, at(3)},
		"trips again and again":            {[]Event{event(Tripped, 3, 5), event(Tripped, 9, 9), event(ThrottleBegan, 10, 10)}, Tripped, at(3)},
		"recovered between":                {[]Event{event(Tripped, 3, 3), event(Recovered, 6, 6), event(Tripped, 8, 8)}, Tripped, at(8)},
		"recovered within repeats":         {[]Event{event(Recovered, 4, 4), event(Tripped, 3, 5)}, Tripped, at(4)},
		"reset between":                    {[]Event{event(Tripped, 3, 3), event(WasReset, 6, 6), event(Tripped, 8, 8)}, Tripped, at(8)},
		"throttled without a break":        {[]Event{event(ThrottleBegan, 1, 20), event(ThrottleBegan, 23, 40)}, ThrottleBegan, at(1)},
		"throttled after a break":          {[]Event{event(ThrottleBegan, 1, 10), event(ThrottleBegan, 23, 40)}, ThrottleBegan, at(23)},
		"a recovery does not end throttle": {[]Event{event(ThrottleBegan, 1, 10), event(Recovered, 11, 11)}, ThrottleBegan, at(1)},
	} {
		if got := troubleSince(c.events, c.kind); !got.Equal(c.want) {
			t.Errorf("%s: since %v, want %v", name, got, c.want)
		}
	}
}
