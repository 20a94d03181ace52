package telemetry

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var runbook = regexp.MustCompile(`Runbook: (\S+[^.\s])`)

// alertOf is the alert that the lines of an incident of that test must fire within two
// minutes. A throttled backend has none.
var alertOf = map[string]string{
	"bad-document": "configuration", "budget-spent": "budget", "cut-off": "instance", "dead": "breaker-open", "key-rotated": "backend-auth", "retired": "backend-auth",
	"table-refused": "condition", "table-slow": "condition", "entra-away": "condition", "throttled": "",
}

// The alerts over lines that processes wrote, each file by itself: what fires, and the
// runbook that it names. The files are those that TestSoakIncidents of handler/test/e2e
// keeps.
func TestAlertsOverKeptLines(t *testing.T) {
	folder := os.Getenv("SPILLWAY_LINES")
	if folder == "" {
		t.Skip("it reads what SPILLWAY_LINES=FOLDER SPILLWAY_SOAK=6m go test -run TestSoakIncidents ./handler/test/e2e has kept")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s, %v", folder, err)
	}
	rules := alertRules(t)
	for _, file := range files {
		rows := keptRows(t, file)
		first := rows[0]["TimeGenerated"].(time.Time)
		for i := range rows { // the rules are evaluated from testTime on
			rows[i]["TimeGenerated"] = testTime.Add(rows[i]["TimeGenerated"].(time.Time).Sub(first))
		}
		fired := firedBy(t, rules, rows)
		var runbooks []string
		for _, r := range rules {
			if m := runbook.FindStringSubmatch(r.query); m != nil && slices.Contains(fired, r.name) {
				runbooks = append(runbooks, m[1])
			}
		}
		if want, known := alertOf[strings.TrimSuffix(filepath.Base(file), ".log")]; known && want != "" && !slices.Contains(fired, want) || known && want == "" && len(fired) > 0 {
			t.Errorf("%s: fired %q, want %q", filepath.Base(file), fired, want)
		}
		t.Logf("%s: %d lines over %v, fired %q: %q", filepath.Base(file), len(rows), rows[len(rows)-1]["TimeGenerated"].(time.Time).Sub(testTime).Round(time.Second), fired, runbooks)
	}
}

func keptRows(t *testing.T, file string) (rows []record) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var head struct{ Time time.Time }
		if json.Unmarshal([]byte(line), &head) == nil && !head.Time.IsZero() {
			rows = append(rows, record{"TimeGenerated": head.Time, "Message": line, "ItemCount": 1.0})
		}
	}
	slices.SortStableFunc(rows, func(a, b record) int { return a["TimeGenerated"].(time.Time).Compare(b["TimeGenerated"].(time.Time)) })
	if len(rows) == 0 {
		t.Fatalf("%s has no lines", file)
	}
	return rows
}
