package telemetry

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry/condition"
)

// alertRule is a rule as the templates have it.
type alertRule struct {
	name, query   string
	every, window time.Duration
}

func alertRules(t *testing.T) (all []alertRule) {
	t.Helper()
	text, err := os.ReadFile("../../../infra/bicep/modules/alerts.bicep")
	if err != nil {
		t.Fatal(err)
	}
	minutes := func(period string) time.Duration {
		d, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(period, "PT")))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, m := range regexp.MustCompile(`every: '(\w+)'\s+window: '(\w+)'\s+query: loadTextContent\('../../monitor/alert-([a-z-]+)\.kql'\)`).FindAllStringSubmatch(string(text), -1) {
		query, err := os.ReadFile(filepath.Join(monitor, "alert-"+m[3]+".kql"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, alertRule{m[3], string(query), minutes(m[1]), minutes(m[2])})
	}
	files, err := filepath.Glob(filepath.Join(monitor, "alert-*.kql"))
	if err != nil || len(all) != len(files) || len(all) < 11 {
		t.Fatalf("%d rules, %d files, %v", len(all), len(files), err)
	}
	return all
}

// timeline is a stretch of time in which an instance writes its log, by the code of
// this package.
type timeline struct {
	now      time.Time
	events   *EventLog
	requests *RequestLog
	monitor  *Monitor
	log      *slog.Logger

	counters  fleet.Counters
	part      string // that is in trouble
	partState condition.State
}

// happens returns the log of what do lets happen.
func happens(t *testing.T, do func(w *timeline)) []record {
	t.Helper()
	var out sink
	lines := NewLogWriter(&out, &out, 1<<20)
	w := &timeline{now: testTime}
	clock := func() time.Time { return w.now }
	w.events = &EventLog{Out: lines, Instance: "i-1", Slots: slots, Now: clock}
	w.requests = &RequestLog{Out: lines, Instance: "i-1", RejectionsPerSecond: 100}
	w.log = NewLogger(lines, slog.LevelInfo).With("instance", "i-1")
	var parts []condition.Part
	for _, name := range []string{"state-read", "state-write", "entra-keys"} {
		parts = append(parts, condition.Part{Name: name, Works: "w", Fix: "f", Check: func(time.Time) (condition.State, error) {
			if w.part != name {
				return condition.OK, nil
			}
			return w.partState, errors.New("403")
		}})
	}
	w.monitor = &Monitor{
		Events: w.events, Requests: w.requests, Counters: func() fleet.Counters { return w.counters },
		Conditions: condition.New(parts...),
	}
	do(w)
	lines.Close(time.Minute)
	var rows []record
	for line := range strings.Lines(out.String()) {
		var head struct{ Time time.Time }
		if err := json.Unmarshal([]byte(line), &head); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		rows = append(rows, record{"TimeGenerated": head.Time, "Message": line, "ItemCount": 1.0})
	}
	return rows
}

// pass lets time pass, with something in each second; nil = nothing.
func (w *timeline) pass(d time.Duration, each func(second int)) {
	for second := range int(d / time.Second) {
		w.now = w.now.Add(time.Second)
		w.monitor.Check(w.now)
		if each != nil {
			each(second)
		}
	}
}

func (w *timeline) request(x *api.RequestRecord) {
	x.Start = w.now
	w.requests.RequestDone(x)
}

func (w *timeline) circuit(state health.CircuitState) {
	before := health.Record{Circuit: health.Circuit{State: health.Open}}
	if state == health.Open {
		before.Circuit.State = health.Closed
	}
	after := health.Record{Circuit: health.Circuit{State: state, Until: w.now.Add(10 * time.Second).UnixMilli()}, LastChange: health.Change{At: w.now.UnixMilli(), By: "i-2", Reason: "503"}}
	w.events.StateChanged(0, before, after)
}

func (w *timeline) ownCircuit(state health.CircuitState) {
	w.events.OwnCircuitChanged(0, health.Closed, &health.Health{Own: true, State: state, Until: w.now.Add(10 * time.Second), Reason: "503"})
}

// unserved is a request that failed with this code.
func unserved(status int, code, rule string) *api.RequestRecord {
	x := throttled()
	x.Status, x.Code, x.Rule = status, code, rule
	return x
}

// refusing is one that another backend served because one refused the gateway so.
func refusing(status int, reason string) *api.RequestRecord {
	x := standIn()
	a := &x.Result.Attempts[0]
	a.Status, a.Outcome.Reason = status, reason
	return x
}

// firedBy is the alerts that fire over the log, in order.
func firedBy(t *testing.T, rules []alertRule, rows []record) []string {
	t.Helper()
	fired := map[string]bool{}
	if len(rows) == 0 {
		return nil
	}
	for _, r := range rules {
		end := rows[len(rows)-1]["TimeGenerated"].(time.Time).Add(r.window)
		for at := testTime; !at.After(end) && !fired[r.name]; at = at.Add(r.every) {
			fired[r.name] = len(runQuery(t, r.query, rows[rowsUntil(rows, at.Add(-r.window)):rowsUntil(rows, at)], at)) > 0
		}
	}
	maps.DeleteFunc(fired, func(_ string, yes bool) bool { return !yes })
	return slices.Sorted(maps.Keys(fired))
}

// rowsUntil is how many rows are no later than the instant.
func rowsUntil(rows []record, at time.Time) int {
	return sort.Search(len(rows), func(i int) bool { return rows[i]["TimeGenerated"].(time.Time).After(at) })
}

// busy is what a busy and healthy gateway meets in a second.
func (w *timeline) busy(second int) {
	switch second % 50 {
	case 7:
		w.request(unserved(429, "rate_limit_exceeded", "tokensPerMinute"))
	case 13:
		w.request(refused())
	case 17:
		w.request(left())
	case 19:
		w.request(alike())
	case 23:
		w.request(hedged())
	case 29:
		w.request(spilled())
	case 31:
		w.request(tried())
	default:
		w.request(served())
	}
	switch second % 600 {
	case 100:
		w.circuit(health.Open)
	case 115:
		w.circuit(health.HalfOpen)
	case 116:
		w.circuit(health.Closed)
		w.counters.Disagreements, w.counters.Disagreement = w.counters.Disagreements+1, w.counters.Disagreement+600*time.Millisecond
		w.counters.StaleRequests++
	case 300:
		x := broken()
		x.Result.Attempts = x.Result.Attempts[1:] // not the one that is misconfigured
		w.request(x)
	case 400:
		w.part, w.partState = "state-read", condition.Degraded // one exchange fails
	case 402:
		w.part = ""
	case 500:
		w.ownCircuit(health.Open)
	case 501:
		w.ownCircuit(health.Closed)
	}
}

// Each alert fires in its incident and in no other, and none on an idle night or a
// busy day. The queries are run by an interpreter of this package, not by Kusto.
func TestAlertsFireInTheirIncidentsOnly(t *testing.T) {
	rules := alertRules(t)
	budget := func(mark, used float64) *quota.Warning {
		return &quota.Warning{Consumer: "team-a", Limit: "budgetPerMonth", Mark: mark, Percent: used / 5, Used: used, Amount: 500, Month: "2026-11"}
	}
	for name, c := range map[string]struct {
		do   func(w *timeline)
		want []string
	}{
		"an idle night": {func(w *timeline) {
			w.log.Info("listening", "address", "127.0.0.1:8080")
			w.counters = fleet.Counters{LastError: errors.New("timeout"), Disagreements: 1, Disagreement: time.Hour} // before it fell idle
			w.pass(time.Hour, nil)
			w.log.Info("stopped by a signal")
		}, nil},
		"a busy day": {func(w *timeline) {
			w.events.Budget(budget(50, 260))
			w.pass(20*time.Minute, w.busy)
		}, nil},
		"a backend throttled": {func(w *timeline) {
			w.pass(10*time.Minute, func(second int) {
				shut := health.Record{LastChange: health.Change{At: w.now.UnixMilli(), By: "i-1", Reason: "429 tokens"}}
				shut.Windows.ByKind[health.LimitTokens] = health.ThrottleWindow{Until: w.now.UnixMilli() + 4500}
				w.events.StateChanged(0, health.Record{}, shut)
				w.request(spilled())
			})
		}, nil},
		"every backend throttled": {func(w *timeline) {
			w.pass(10*time.Minute, func(int) { w.request(throttled()) })
		}, []string{"throttled"}},
		"a backend dead": {func(w *timeline) {
			w.ownCircuit(health.Open)
			w.ownCircuit(health.Open)
			w.now = w.now.Add(time.Second)
			w.circuit(health.Open) // the fleet takes it over
			w.pass(20*time.Minute, func(second int) {
				w.request(spilled())
				if second%300 == 299 {
					w.circuit(health.HalfOpen)
					w.circuit(health.Open)
				}
			})
		}, []string{"breaker-open"}},
		"every backend dead": {func(w *timeline) {
			w.circuit(health.Open)
			w.pass(20*time.Minute, func(int) { w.request(unserved(503, "no_backend_available", "health")) })
		}, []string{"breaker-open", "failures", "no-backend"}},
		"a backend retired": {func(w *timeline) {
			w.pass(10*time.Minute, func(int) { w.request(refusing(404, "no such deployment")) })
		}, []string{"backend-auth"}},
		"a deployment missing everywhere": {func(w *timeline) {
			w.pass(10*time.Minute, func(int) { w.request(undeployed()) })
		}, []string{"backend-auth", "failures"}},
		"a key rotated wrongly": {func(w *timeline) {
			w.pass(10*time.Minute, func(int) { w.request(refusing(401, "401")) })
		}, []string{"backend-auth"}},
		"the table refused": {func(w *timeline) {
			w.part, w.partState = "state-write", condition.Failing
			w.pass(10*time.Minute, w.busyButTable)
		}, []string{"condition"}},
		"the table slow": {func(w *timeline) {
			w.part, w.partState = "state-read", condition.Degraded
			w.pass(10*time.Minute, w.busyButTable)
		}, []string{"condition"}},
		"Entra unreachable": {func(w *timeline) {
			w.part, w.partState = "entra-keys", condition.Failing
			w.pass(10*time.Minute, func(int) {
				x := refused()
				x.Status, x.Code = 503, "credential_unavailable"
				w.request(x)
			})
		}, []string{"condition", "failures"}},
		"a budget spent": {func(w *timeline) {
			w.events.Budget(budget(100, 500))
			w.pass(10*time.Minute, func(int) { w.request(unserved(429, "insufficient_quota", "budgetPerMonth")) })
		}, []string{"budget"}},
		"an instance with a broken network": {func(w *timeline) {
			w.ownCircuit(health.Open)
			w.pass(time.Minute, func(int) { w.request(spilled()) })
			w.ownCircuit(health.Open) // its probe failed
			w.pass(time.Minute, func(int) { w.request(spilled()) })
		}, []string{"instance"}},
		"an instance with a network that comes and goes": {func(w *timeline) {
			w.pass(10*time.Minute, func(second int) {
				w.request(spilled())
				switch second % 60 {
				case 0:
					w.ownCircuit(health.Open)
				case 30:
					w.ownCircuit(health.Closed)
				}
			})
		}, []string{"instance"}},
		"a bad configuration pushed": {func(w *timeline) {
			w.log.Error("configuration is not valid: every request is answered 503", "fault", "backends[0].endpoint: is missing")
		}, []string{"configuration"}},
		"keys of operators guessed": {func(w *timeline) {
			w.log.Warn("operator keys refused", "count", 1, "from", "203.0.113.9")
			w.log.Warn("operator keys refused", "count", 8600, "from", "203.0.113.9")
		}, []string{"operator-keys"}},
		"instances disagree": {func(w *timeline) {
			w.counters = fleet.Counters{Disagreements: 1, Disagreement: 9 * time.Second, StaleRequests: 40}
			w.pass(time.Minute, nil)
		}, []string{"disagreement"}},
	} {
		rows := happens(t, c.do)
		for i := range rows { // slog has its own clock
			if when := rows[i]["TimeGenerated"].(time.Time); when.Sub(testTime).Abs() > 24*time.Hour {
				rows[i]["TimeGenerated"] = testTime.Add(time.Second)
			}
		}
		slices.SortStableFunc(rows, func(a, b record) int { return a["TimeGenerated"].(time.Time).Compare(b["TimeGenerated"].(time.Time)) })
		if got := firedBy(t, rules, rows); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q fired, want %q", name, got, c.want)
		} else {
			t.Logf("%s: %d lines, fired %q", name, len(rows), got)
		}
	}
}

// busyButTable is a healthy second in which only the table is in trouble.
func (w *timeline) busyButTable(int) { w.request(served()) }
