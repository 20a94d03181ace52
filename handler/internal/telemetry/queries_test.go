package telemetry

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry/condition"
)

const monitor = "../../../infra/monitor"

// emittedFields is every field that the code of this package writes, by message.
func emittedFields(t *testing.T) map[string]map[string]bool {
	t.Helper()
	said := requestLines(t) + eventLines(t) + droppedLines()
	fields := sloggedFields(t)
	for line := range strings.Lines(said) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		message, ok := object["msg"].(string)
		if !ok {
			continue
		}
		if fields[message] == nil {
			fields[message] = map[string]bool{}
		}
		pathsOf(fields[message], "", object)
	}
	return fields
}

// pathsOf notes the paths of an object; those of a list's objects are below
// "name[]".
func pathsOf(into map[string]bool, under string, object map[string]any) {
	for name, value := range object {
		into[under+name] = true
		list, _ := value.([]any)
		for _, one := range list {
			if inner, ok := one.(map[string]any); ok {
				pathsOf(into, under+name+"[].", inner)
			}
		}
	}
}

func requestLines(t *testing.T) string {
	t.Helper()
	l := &RequestLog{Instance: "i-1", RejectionsPerSecond: 100, Level: slog.LevelDebug}
	out, alarm := collectLines(t, l, func() {
		for _, x := range append(allRequests(), rich()) {
			l.RequestDone(x)
		}
		for range 200 {
			l.RequestDone(refused())
		}
		l.Flush(testTime.Add(time.Minute))
	})
	return out + alarm
}

// rich is a request with what few have.
func rich() *api.RequestRecord {
	x := spilled()
	x.Caller = "oid-1"
	x.Result.Decision.Candidates[0].Reason = balancer.Recovering
	x.Result.Attempts[0].Resent = true
	x.Result.Attempts[0].Repeat, x.Result.Attempts[0].Wasted = true, usage.Tokens{Prompt: 5}
	x.Result.Delivery.ServiceTier, x.Result.Delivery.Spillover = "priority", proxy.Spillover{From: "ptu", To: "standard", Error: "429"}
	return x
}

// droppedLines is what the writer says of lines that it dropped.
func droppedLines() string {
	gate := make(chan struct{})
	var out sink
	lines := NewLogWriter(&slow{gate: gate, to: &out}, &out, 1)
	for range 3 {
		_, _ = lines.Write([]byte("{}\n"))
	}
	close(gate)
	lines.Close(time.Minute)
	return out.String()
}

func eventLines(t *testing.T) string {
	t.Helper()
	now := testTime
	return collectEvents(t, &now, func(e *EventLog) {
		open := health.Record{
			Circuit:    health.Circuit{Epoch: 1, State: health.Open, Until: now.UnixMilli() + 5000, Trips: 1},
			LastChange: health.Change{At: now.UnixMilli(), By: "i-2", Reason: "503", Evidence: "5 of 5 within 0s: 503 (5)"},
			Override:   health.OperatorOverride{Drained: true, Operator: "eve"},
		}
		e.StateChanged(0, health.Record{}, open)
		for range 3 { // the last one reports the one left out
			shut := open
			shut.Windows.ByKind[health.LimitTokens] = health.ThrottleWindow{Until: now.UnixMilli() + 4500, MaxTokens: 7}
			e.StateChanged(0, open, shut)
			now = now.Add(600 * time.Millisecond)
		}
		e.Audit(&AuditRecord{Time: now, Verb: "drain", Target: "ptu", Operator: "eve", Key: "ab", RemoteAddr: "x", RequestID: "req_1", TraceID: "4bf9", ObjectID: "oid-1", Err: errors.New("no")})
		c := fleet.Counters{Disconnected: true, LastError: errors.New("unreachable"), Disagreements: 1, Disagreement: time.Second, StaleRequests: 1}
		w := &Monitor{Events: e, Requests: &RequestLog{Out: e.Out}, Counters: func() fleet.Counters { return c }}
		e.Budget(&quota.Warning{Consumer: "team-a", Model: "gpt-4o", Limit: "budgetPerMonth", Mark: 100, Percent: 100, Used: 5, Amount: 5, Month: "2026-11"})
		w.Conditions = condition.New(condition.Part{Name: "state-read", Works: "w", Fix: "f", Check: func(time.Time) (condition.State, error) { return condition.Failing, errors.New("no") }})
		w.Check(now)
		e.OwnCircuitChanged(0, health.Closed, &health.Health{Own: true, State: health.Open, Until: now.Add(time.Second), Reason: "503"})
	})
}

// What a query reads: the messages that it is about, the fields of the line,
// and those of the objects in its lists.
var (
	oneMessage = regexp.MustCompile(`line\.msg == "([^"]+)"`)
	inMessages = regexp.MustCompile(`line\.msg in \(([^)]*)\)`)
	ofLine     = regexp.MustCompile(`line(?:\.([A-Za-z_]+)|\["([^"]+)"\])`)
	expanded   = regexp.MustCompile(`mv-expand ([a-z_]+) = (.*)`)
	comment    = regexp.MustCompile(`(?m)^//.*$`)
)

// messagesOf is what the query is about.
func messagesOf(query string) []string {
	var all []string
	for _, m := range oneMessage.FindAllStringSubmatch(query, -1) {
		all = append(all, m[1])
	}
	for _, m := range inMessages.FindAllStringSubmatch(query, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			all = append(all, strings.Trim(strings.TrimSpace(name), `"`))
		}
	}
	return all
}

// missingFields is the fields that the query reads and no line has.
func missingFields(query string, fields map[string]map[string]bool) []string {
	query = comment.ReplaceAllString(query, "")
	messages := messagesOf(query)
	known := func(path string) bool {
		if path == "msg" {
			return true
		}
		for message, has := range fields {
			if (len(messages) == 0 || slices.Contains(messages, message)) && has[path] {
				return true
			}
		}
		return false
	}
	var lacking []string
	for _, m := range messages {
		if fields[m] == nil {
			lacking = append(lacking, "message "+m)
		}
	}
	for _, m := range ofLine.FindAllStringSubmatch(query, -1) {
		if path := m[1] + m[2]; !known(path) {
			lacking = append(lacking, path)
		}
	}
	for _, m := range expanded.FindAllStringSubmatch(query, -1) {
		for _, use := range regexp.MustCompile(`\b`+m[1]+`\.([a-z_]+)`).FindAllStringSubmatch(query, -1) {
			if !known("attempts[]."+use[1]) && (!strings.Contains(query, "line.skipped") || !known("skipped[]."+use[1])) {
				lacking = append(lacking, m[1]+"."+use[1])
			}
		}
	}
	return lacking
}

func queries(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(monitor, "*.kql"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d queries in %s, %v", len(files), monitor, err)
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".kql")] = string(text)
	}
	return all
}

func TestQueriesReadOnlyFieldsThatAreWritten(t *testing.T) {
	fields := emittedFields(t)
	for name, query := range queries(t) {
		if lacking := missingFields(query, fields); len(lacking) > 0 {
			t.Errorf("%s.kql reads %q, which no line has", name, lacking)
		}
		if !strings.HasPrefix(query, "// ") || !ofLine.MatchString(query) {
			t.Errorf("%s.kql does not say what it answers, or reads no line", name)
		}
	}
	for query, want := range map[string]string{
		`| where line.msg == "request" | project line.tokens`:                              "tokens",
		`| where line.msg == "breaker" | project line.status`:                              "status", // requests have it, circuits do not
		"| where line.msg == \"request\"\n| mv-expand a = line.attempts\n| where a.colour": "a.colour",
		`| where line.msg == "circuit"`:                                                    "message circuit",
		`| where line.msg == "throttle" | project line["by"], line["hue"]`:                 "hue",
	} {
		if got := missingFields(query, fields); len(got) != 1 || got[0] != want {
			t.Errorf("%s: found lacking %q, want %q", query, got, want)
		}
	}
}

func TestWorkbookContainsTheQueries(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(monitor, "workbook.json"))
	if err != nil {
		t.Fatal(err)
	}
	var workbook struct {
		Version string `json:"version"`
		Items   []struct {
			Type    int    `json:"type"`
			Name    string `json:"name"`
			Content struct {
				Query string `json:"query"`
			} `json:"content"`
		} `json:"items"`
	}
	if err := json.Unmarshal(text, &workbook); err != nil {
		t.Fatal(err)
	}
	all, shown := queries(t), 0
	for _, item := range workbook.Items {
		if item.Type != 3 {
			continue
		}
		shown++
		if all[item.Name] == "" || item.Content.Query != all[item.Name] {
			t.Errorf("the workbook's %q differs from %s.kql", item.Name, item.Name)
		}
	}
	for _, must := range []string{"who-spent-what", "which-backend-spilled", "why-were-callers-refused", "where-is-the-fleet-disagreeing"} {
		if !strings.Contains(string(text), `"name": "`+must+`"`) {
			t.Errorf("the workbook does not answer %s", must)
		}
	}
	if workbook.Version != "Notebook/1.0" || shown < 14 {
		t.Errorf("version %q, %d queries", workbook.Version, shown)
	}
}

// What a Prometheus query reads: names, and labels by which it sums or selects.
var (
	promMetric = regexp.MustCompile(`\b((?:gen_ai|http|spillway|process|go)_[a-z_]+)\b(\{[^}]*\})?`)
	promBy     = regexp.MustCompile(`\bby \(([^)]*)\)`)
	promLabel  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
)

func TestDashboardReadsOnlyExistingMetrics(t *testing.T) {
	p := testProvider(t)
	m := p.Metrics
	for _, x := range allRequests() {
		m.RequestDone(x)
	}
	from := sources()
	from.LogWriter = NewLogWriter(discard{}, discard{}, 1)
	defer from.LogWriter.Close(time.Second)
	p.Observe(from)
	labels := map[string]map[string]bool{} // by the name in Prometheus
	for _, family := range gather(t, p) {
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			of := map[string]bool{"le": suffix == "_bucket"}
			for _, series := range family.GetMetric() {
				for _, l := range series.GetLabel() {
					of[l.GetName()] = true
				}
			}
			labels[family.GetName()+suffix] = of
		}
	}
	// These are only there with a collector.
	labels["spillway_telemetry_spans_dropped_total"] = map[string]bool{"instance": true}
	labels["spillway_telemetry_failed_pushes_total"] = map[string]bool{"instance": true}

	exprs := dashboardExprs(t)
	for _, expr := range exprs {
		if fault := unknownInQuery(expr, labels); fault != "" {
			t.Errorf("%s in %s", fault, expr)
		}
	}
	if len(exprs) < 30 {
		t.Errorf("%d queries in the dashboard", len(exprs))
	}
	for expr, want := range map[string]string{
		`sum(rate(spillway_spill_total{instance=~".*"}[5m]))`:              "no metric spillway_spill_total",
		`sum by (colour) (spillway_spills_total)`:                          "no label colour",
		`spillway_breaker_phase{spillway_consumer="x"}`:                    "no label spillway_consumer",
		`rate(gen_ai_server_time_to_first_token_bucket{instance="x"}[5m])`: "no metric gen_ai_server_time_to_first_token_bucket",
	} {
		if got := unknownInQuery(expr, labels); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// unknownInQuery returns what the query reads that is not there.
func unknownInQuery(expr string, labels map[string]map[string]bool) string {
	bare := regexp.MustCompile(`by \([^)]*\)|"[^"]*"`).ReplaceAllString(expr, "")
	bare = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(bare, "")
	has := map[string]bool{}
	for _, m := range promMetric.FindAllStringSubmatch(bare, -1) {
		if labels[m[1]] == nil {
			return "no metric " + m[1]
		}
		for l := range labels[m[1]] {
			has[l] = has[l] || labels[m[1]][l]
		}
	}
	for _, m := range promBy.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if l = strings.TrimSpace(l); !has[l] {
				return "no label " + l
			}
		}
	}
	for _, m := range promLabel.FindAllStringSubmatch(expr, -1) {
		if !has[m[1]] {
			return "no label " + m[1]
		}
	}
	return ""
}

func dashboardExprs(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitor, "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}
