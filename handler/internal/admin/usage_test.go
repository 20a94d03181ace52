package admin

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/accounting"
	"spillway/handler/internal/openai/usage"
)

func usageScenario(rows []accounting.Row) (*fakeFleet, *[2]time.Time) {
	now := time.Date(2026, 3, 10, 12, 34, 0, 0, time.UTC)
	w := newFakeFleet(func() time.Time { return now }, []string{"gpt-4o"}, threeBackends())
	w.cfg.Key = testKey
	var span [2]time.Time
	w.cfg.UsageRows = func(_ context.Context, from, to time.Time) ([]accounting.Row, error) {
		span = [2]time.Time{from, to}
		return rows, nil
	}
	return w, &span
}

func sampleUsage() []accounting.Row {
	hour := time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)
	row := func(h int, who, backend, currency string, n int64, cost float64) accounting.Row {
		return accounting.Row{
			Hour: hour.Add(time.Duration(h) * time.Hour), Key: accounting.Key{Consumer: who, Model: "gpt-4o", Backend: backend, Currency: currency},
			Totals: accounting.Totals{
				Requests: n, Unmetered: n / 4, Cost: accounting.MoneyOf(cost),
				Tokens: usage.Tokens{Prompt: 100 * n, Cached: 10 * n, Completion: 20 * n, Reasoning: n},
			},
		}
	}
	return []accounting.Row{
		row(1, "team-b", "ptu", "USD", 4, 0.4),
		row(0, "team-a", "ptu", "USD", 1, 0.1),
		row(0, "team-a", "payg", "USD", 2, 0.2),
		row(1, "team-a", "ptu", "EUR", 8, 0.8),
		row(1, "=cmd|' /C calc'!A0", "ptu", "USD", 16, 1.6),
	}
}

func TestUsageGrouping(t *testing.T) {
	w, _ := usageScenario(sampleUsage())
	h := mount(w.cfg)
	for query, want := range map[string]int{
		"": 4, "?by=consumer": 4, "?by=hour": 3, "?by=backend": 3, "?by=model": 2, "?by=hour,consumer,model,backend": 5, "?by=day": 2, "?by=month,tier": 2,
	} {
		got := testRequest{path: "/ops/api/usage" + query, header: map[string]string{keyHeader: testKey}}.to(t, h)
		var u Usage
		if err := json.Unmarshal(got.Body.Bytes(), &u); err != nil || got.Code != 200 {
			t.Fatalf("%q: %d %s", query, got.Code, got.Body)
		}
		if len(u.Rows) != want {
			t.Errorf("%q: %d rows, want %d", query, len(u.Rows), want)
		}
		var requests, total int64
		var cost, bill float64
		for _, r := range u.Rows {
			requests, cost = requests+int64(r["requests"].(float64)), cost+r["cost"].(float64)
		}
		for _, r := range u.Total {
			total, bill = total+int64(r["requests"].(float64)), bill+r["cost"].(float64)
		}
		if requests != 31 || total != 31 || math.Abs(cost-3.1) > 1e-9 || math.Abs(bill-3.1) > 1e-9 || len(u.Total) != 2 {
			t.Errorf("%q: the rows hold %d requests for %v, the total %d for %v in %d currencies", query, requests, cost, total, bill, len(u.Total))
		}
	}
}

func TestUsageTimeRange(t *testing.T) {
	w, span := usageScenario(nil)
	h := mount(w.cfg)
	for query, want := range map[string][2]string{
		"":                                {"2026-03-09T12:00:00Z", "2026-03-10T12:34:00Z"},
		"?from=2026-03-01":                {"2026-03-01T00:00:00Z", "2026-03-10T12:34:00Z"},
		"?from=2026-03-01&to=2026-03-02":  {"2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"},
		"?from=2026-03-01T10:20:30.5Z":    {"2026-03-01T10:00:00Z", "2026-03-10T12:34:00Z"},
		"?from=2026-03-01T10:20:30-05:00": {"2026-03-01T15:00:00Z", "2026-03-10T12:34:00Z"},
	} {
		got := testRequest{path: "/ops/api/usage" + query, header: map[string]string{keyHeader: testKey}}.to(t, h)
		if from, to := span[0].Format(time.RFC3339), span[1].Format(time.RFC3339); got.Code != 200 || from != want[0] || to != want[1] {
			t.Errorf("%q: %d, from %s to %s, want %v", query, got.Code, from, to, want)
		}
	}
	for _, query := range []string{"?from=yesterday", "?to=2026-13-01", "?from=2026-03-10&to=2026-03-09", "?from=2020-01-01", "?by=price", "?by=hour,", "?by=consumer,consumer", "?by=hour,day", "?from=2026-03-11"} {
		got := testRequest{path: "/ops/api/usage" + query, header: map[string]string{keyHeader: testKey}}.to(t, h)
		if code, _ := errorOf(t, got); got.Code != 400 || code != "invalid_query" {
			t.Errorf("%q: %d %s", query, got.Code, got.Body)
		}
	}
}

func TestUsageCSVNeutralizesFormulas(t *testing.T) {
	w, _ := usageScenario(sampleUsage())
	got := testRequest{path: "/ops/api/usage?by=hour,consumer&format=csv", header: map[string]string{keyHeader: testKey}}.to(t, mount(w.cfg))
	want := strings.Join([]string{
		"hour,consumer,requests,prompt,cached,completion,reasoning,cost,currency,unmetered,broken,estimated_prompt,estimated_completion,estimated_cost,cache_write,audio_input,audio_output,images,audio_seconds,cache_write_hour",
		"2026-03-10T09:00Z,team-a,3,300,30,60,3,0.3,USD,0,0,0,0,0,0,0,0,0,0,0",
		"2026-03-10T10:00Z,'=cmd|' /C calc'!A0,16,1600,160,320,16,1.6,USD,4,0,0,0,0,0,0,0,0,0,0",
		"2026-03-10T10:00Z,team-a,8,800,80,160,8,0.8,EUR,2,0,0,0,0,0,0,0,0,0,0",
		"2026-03-10T10:00Z,team-b,4,400,40,80,4,0.4,USD,1,0,0,0,0,0,0,0,0,0,0", "",
	}, "\n")
	if got.Body.String() != want || !strings.HasPrefix(got.Header().Get("Content-Type"), "text/csv") {
		t.Errorf("%s\n%s\nwant\n%s", got.Header().Get("Content-Type"), got.Body, want)
	}
}

func TestUsageUnavailable(t *testing.T) {
	w, _ := usageScenario(nil)
	w.cfg.UsageRows = func(context.Context, time.Time, time.Time) ([]accounting.Row, error) {
		return nil, errors.New("no answer")
	}
	got := testRequest{path: "/ops/api/usage", header: map[string]string{keyHeader: testKey}}.to(t, mount(w.cfg))
	if code, says := errorOf(t, got); got.Code != 503 || code != "usage_unavailable" || !strings.Contains(says, "no answer") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}
