package telemetry

import (
	"errors"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
)

// collectEvents collects the lines of events.
func collectEvents(t *testing.T, now *time.Time, say func(e *EventLog)) string {
	t.Helper()
	var out sink
	e := &EventLog{
		Out: NewLogWriter(&out, &out, 1024), Instance: "i-1", Slots: []string{"ptu/gpt-4o", "payg/gpt-4o"},
		Now: func() time.Time { return *now },
	}
	say(e)
	e.Out.Close(time.Minute)
	return out.String()
}

func TestEventLines(t *testing.T) {
	now := testTime
	at := testTime.UnixMilli()
	healthy := health.Record{}
	open := health.Record{
		Circuit:    health.Circuit{Incarnation: 1, Epoch: 1, State: health.Open, Until: at + 10_000, Trips: 2},
		LastChange: health.Change{At: at, By: "i-2", Reason: "503"},
	}
	probing := open
	probing.Circuit.Epoch, probing.Circuit.State, probing.LastChange.Reason = 2, health.HalfOpen, "probe taken"
	closed := probing
	closed.Circuit.Epoch, closed.Circuit.State, closed.LastChange.Reason = 3, health.Closed, "probe answered"
	shut := health.Record{LastChange: health.Change{At: at, By: "i-3", Reason: "429 tokens"}}
	shut.Windows.ByKind[health.LimitTokens] = health.ThrottleWindow{Until: at + 4_500, MaxTokens: 800}
	drained := health.Record{Override: health.OperatorOverride{Sequence: 1, Drained: true, Operator: "eve"}}
	restored := health.Record{Override: health.OperatorOverride{Sequence: 2, Operator: "eve"}}
	golden(t, "events.golden", collectEvents(t, &now, func(e *EventLog) {
		e.StateChanged(0, healthy, open)
		e.StateChanged(0, open, probing)
		e.StateChanged(0, probing, closed)
		e.StateChanged(1, healthy, shut)
		e.StateChanged(1, healthy, drained)
		now = now.Add(time.Minute)
		e.StateChanged(1, drained, restored)
		e.StateChanged(1, restored, restored) // nothing changed
		e.StateChanged(7, healthy, open)      // no such slot
		e.Audit(&AuditRecord{Time: testTime, Verb: "drain", Target: "ptu", Operator: "eve\n", Key: "ab12", RemoteAddr: "10.0.0.7:4711", Duration: ms(31)})
		e.Audit(&AuditRecord{Time: testTime, Verb: "reset", Target: "ptu", Operator: "eve", Duration: ms(31), Err: errors.New("table: refused")})
	}))
}

func TestThrottleLinesAreLimitedToOneASecond(t *testing.T) {
	now := testTime
	said := collectEvents(t, &now, func(e *EventLog) {
		before := health.Record{}
		for i := range 1000 {
			after := before
			after.Windows.ByKind[health.LimitTokens].Until = now.UnixMilli() + int64(i) + 1
			e.StateChanged(0, before, after)
			before = after
			now = now.Add(2500 * time.Microsecond)
		}
	})
	if n := strings.Count(said, `"msg":"throttle"`); n != 3 {
		t.Errorf("%d lines in 2.5 seconds, want 3", n)
	}
	if !strings.Contains(said, `"omitted":399`) {
		t.Errorf("no line has the number of omitted ones: %s", said)
	}
}

func TestMonitorLines(t *testing.T) {
	now := testTime
	c := fleet.Counters{}
	quotas := []quota.LimitStatus{
		{Consumer: "team-a", Limit: "budgetPerMonth", Amount: 500, Remaining: 101},
		{Consumer: "team-a", Limit: "tokensPerMinute", Amount: 500, Remaining: 0},
	}
	said := collectEvents(t, &now, func(e *EventLog) {
		w := &Monitor{Events: e, Requests: &RequestLog{Out: e.Out}, Counters: func() fleet.Counters { return c }, Quotas: func() []quota.LimitStatus { return quotas }}
		look := func() { now = now.Add(time.Second); w.Check(now) }
		look()
		c.Disconnected, c.LastError = true, errors.New("table: outcome unknown")
		look()
		look()
		c.Disagreement, c.Disagreements, c.StaleRequests = 6*time.Second, 2, 9
		look() // on average 3 s
		quotas[0].Remaining = 99
		look()
		look()
		c.Disconnected, c.LastError = false, nil
		c.Disagreement, c.Disagreements = 7*time.Second, 3
		quotas[0].Remaining = -1
		look()
		now = now.Add(time.Minute)
		look()
		quotas[0].Remaining = 500 // a new month
		look()
	})
	golden(t, "watch.golden", said)
}

// An alert reads a few minutes back: it must not end while the outage lasts.
func TestMonitorRepeatsTheLineOfALongOutage(t *testing.T) {
	now := testTime
	c := fleet.Counters{Disconnected: true, LastError: errors.New("unreachable")}
	said := collectEvents(t, &now, func(e *EventLog) {
		w := &Monitor{Events: e, Requests: &RequestLog{Out: e.Out}, Counters: func() fleet.Counters { return c }}
		for range 12 * 60 {
			now = now.Add(time.Second)
			w.Check(now)
		}
		c = fleet.Counters{}
		w.Check(now)
	})
	if n := strings.Count(said, `"degraded":true`); n != 3 || !strings.Contains(said, `"degraded":false,"outage_seconds":719.000`) {
		t.Errorf("%d lines for an outage of twelve minutes, want 3: %s", n, said)
	}
}
