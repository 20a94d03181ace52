package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

// provokeAlerts has two real instances meet everything that there is an alert for,
// and returns the lines that they wrote.
func provokeAlerts(t *testing.T) string {
	t.Helper()
	azurite := storetest.StartAzurite(t)
	s := setup{backends: twoBackends(), document: map[string]any{"consumers": []map[string]any{{"name": "team-a", "keySetting": "TEAM_A_KEY", "tokensPerMonth": 400}}}}
	sim := simulator.Start(t, simulator.Config{Resources: resources(s.backends)})
	env := []string{"SPILLWAY_CONFIG=" + document(t, sim, s), "SPILLWAY_STATE=" + azurite.ConnectionString, "SPILLWAY_AUTH=key", "TEAM_A_KEY=" + keyForTeam("team-a"), "SPILLWAY_OPERATOR_KEY=" + accountingOperatorKey}
	one, other := startInstanceProcess(t, append(env[:5:5], "WEBSITE_POD_NAME=one")...), startInstanceProcess(t, append(env[:5:5], "WEBSITE_POD_NAME=other")...)
	say := func(want ...int) int {
		t.Helper()
		a := ask(t.Context(), t, http.MethodPost, one.url+chatPath, strings.Replace(hello, `{`, `{"max_tokens":4,`, 1), "api-key", keyForTeam("team-a"))
		if !slices.Contains(want, a.status) {
			t.Fatalf("%d, want %d: %s", a.status, want, a.body)
		}
		return a.status
	}
	ask(t.Context(), t, http.MethodGet, other.url+"/ops/api/status", "", "x-spillway-operator-key", accountingOperatorKey) // somebody looks at it, so it follows
	sim.Fault("a", simulator.Fault{Action: "500"})
	for range 5 {
		say(http.StatusOK)
	}
	other.out.await(t, `"phase":"open"`)
	sim.Fault("b", simulator.Fault{Action: "401-key"})
	say(http.StatusServiceUnavailable)
	sim.Clear("a")
	sim.Clear("b")
	if a := ask(t.Context(), t, http.MethodPost, one.url+"/ops/api/backends/a/reset", "", "x-spillway-operator-key", accountingOperatorKey); a.status != http.StatusOK {
		t.Fatalf("reset: %d", a.status)
	}
	one.out.await(t, `"phase":"closed"`)
	for say(http.StatusOK, http.StatusTooManyRequests) == http.StatusOK { // until the month's tokens are used
		continue
	}
	one.out.await(t, `"msg":"budget"`)
	other.out.await(t, `"msg":"agreement"`)
	ask(t.Context(), t, http.MethodGet, one.url+"/ops/api/status", "", "x-spillway-operator-key", "a guess")
	azurite.Stop()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(one.out.String(), `"part":"state-read"`) && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ask(t.Context(), t, http.MethodGet, one.url+"/health/ready", "")
	}
	return one.out.String() + one.errs.String() + other.out.String() + other.errs.String()
}

// What an alert's query compares with a text, and what it reads.
var (
	alertAlias   = regexp.MustCompile(`\b([a-z_]+) = (?:tostring|toint|todouble|tobool)\(line\.([a-z_]+)\)`)
	alertCompare = regexp.MustCompile(`\b(line\.|attempt\.)?([a-z_]+) == ("[^"]*"|[0-9]+)`)
	alertReads   = regexp.MustCompile(`\b(line|attempt)\.([a-z_]+)`)
	alertAttempt = regexp.MustCompile(`mv-expand attempt = line\.attempts`)
)

// unmetConditions is what the query looks for and no line has.
func unmetConditions(query string, lines []map[string]any) (lacking []string) {
	query = regexp.MustCompile(`(?m)^//.*$`).ReplaceAllString(query, "")
	aliases := map[string]string{}
	for _, m := range alertAlias.FindAllStringSubmatch(query, -1) {
		aliases[m[1]] = m[2]
	}
	for _, m := range alertReads.FindAllStringSubmatch(query, -1) {
		if !conditionMet(lines, m[1] == "attempt" && alertAttempt.MatchString(query), m[2], nil) {
			lacking = append(lacking, m[0])
		}
	}
	for _, m := range alertCompare.FindAllStringSubmatch(query, -1) {
		name := m[2]
		if m[1] == "" {
			name = aliases[name]
		}
		var want any
		if err := json.Unmarshal([]byte(m[3]), &want); err != nil || !conditionMet(lines, m[1] == "attempt.", name, want) {
			lacking = append(lacking, m[0])
		}
	}
	return lacking
}

// conditionMet reports whether a line, or an attempt of one, has the field with that
// value; nil = with any.
func conditionMet(lines []map[string]any, attempt bool, name string, want any) bool {
	has := func(of map[string]any) bool { v, ok := of[name]; return ok && (want == nil || v == want) }
	return slices.ContainsFunc(lines, func(line map[string]any) bool {
		if !attempt {
			return has(line)
		}
		list, _ := line["attempts"].([]any)
		return slices.ContainsFunc(list, func(a any) bool { of, _ := a.(map[string]any); return has(of) })
	})
}

// provokedElsewhere are the alerts about what these instances do not meet: package
// telemetry runs them over lines of its own.
var provokedElsewhere = map[string]bool{"alert-backend-auth.kql": true, "alert-configuration.kql": true, "alert-failures.kql": true, "alert-instance.kql": true, "alert-throttled.kql": true}

// Each alert's query finds the fields and the very words that it looks for in
// what the program writes when there is such trouble, and not in what it writes
// without.
func TestAlertQueriesMatchEmittedLines(t *testing.T) {
	t.Parallel()
	var lines, quiet []map[string]any
	for text := range strings.Lines(provokeAlerts(t)) {
		line := map[string]any{}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if line["percent"] != nil && line["percent"].(float64) < 50 {
			t.Errorf("a budget warning at %v percent", line["percent"])
		}
		lines = append(lines, line)
		if line["msg"] == "listening" || line["level"] == "INFO" && line["msg"] == "request" {
			quiet = append(quiet, line)
		}
	}
	files, err := filepath.Glob("../../../infra/monitor/alert-*.kql")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d alerts, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if provokedElsewhere[filepath.Base(file)] {
			continue
		}
		if lacking := unmetConditions(string(text), lines); len(lacking) > 0 {
			t.Errorf("%s looks for %q, which nobody writes", filepath.Base(file), lacking)
		}
		if len(unmetConditions(string(text), quiet)) == 0 {
			t.Errorf("%s finds everything that it looks for where there is no trouble", filepath.Base(file))
		}
	}
	if lacking := unmetConditions(`| where line.msg == "breaker" and line.phase == "opened" and line.colour`, lines); !slices.Equal(lacking, []string{"line.colour", `line.phase == "opened"`}) {
		t.Errorf("of a query with two faults %q are found", lacking)
	}
}
