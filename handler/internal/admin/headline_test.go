package admin

import (
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/telemetry/condition"
)

func TestHeadlineNamesTheModelsInTrouble(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	pools := func(states ...PoolState) []PoolStatus {
		var all []PoolStatus
		for i, s := range states {
			all = append(all, PoolStatus{Model: string(rune('a' + i)), State: s, Summary: "why", Since: &at})
		}
		return all
	}
	spent := []ConsumerStatus{
		{Name: "team-a", Limits: []LimitStatus{{Limit: "budgetPerMonth", Amount: 5, Used: 5}}},
		{Name: "team-b", Limits: []LimitStatus{{Limit: "tokensPerMinute", Amount: 5, Used: 5}}},
	}
	reserved := func(used float64, usedUp bool) []ConsumerStatus {
		return []ConsumerStatus{{Name: "team-a", Limits: []LimitStatus{{Limit: "tokensPerMonth", Amount: 2000, Used: used, UsedUp: usedUp}}}}
	}
	parts := func(state string, names ...string) (all []ConditionStatus) {
		for _, name := range names {
			all = append(all, ConditionStatus{JSON: condition.JSON{Part: name, State: state}, Instance: "i-1"})
		}
		return all
	}
	for name, c := range map[string]struct {
		status Status
		level  Level
		want   string
		first  string // model of the first trouble
	}{
		"all is well":                        {Status{Pools: pools(Healthy, Healthy)}, LevelOK, "All 2 models are served normally", ""},
		"one model":                          {Status{Pools: pools(Healthy)}, LevelOK, "The model is served normally", ""},
		"one is down":                        {Status{Pools: pools(Healthy, Down, Spilling)}, LevelCritical, "b is down; c spills over", "b"},
		"many are down":                      {Status{Pools: pools(Down, Down, Down, Down, Down)}, LevelCritical, "a, b, c and 2 more are down", "a"},
		"all are throttled":                  {Status{Pools: pools(Exhausted, Exhausted)}, LevelCritical, "a, b are throttled on every backend", "a"},
		"a backend is out":                   {Status{Pools: pools(Healthy, Reduced)}, LevelNotice, "b is degraded", "b"},
		"the table is gone":                  {Status{Pools: pools(Reduced), State: StateStatus{Unreachable: true}}, LevelWarning, "a is degraded; the state table is unreachable", "a"},
		"read only":                          {Status{Pools: pools(Healthy), State: StateStatus{ReadOnly: true}}, LevelWarning, "The state table cannot be written", ""},
		"a budget is spent":                  {Status{Pools: pools(Healthy), Consumers: spent}, LevelNotice, "team-a has used up a month's limit", ""},
		"less is left than a request needs":  {Status{Pools: pools(Healthy), Consumers: reserved(1998, true)}, LevelNotice, "team-a has used up a month's limit", ""},
		"a month's limit is nearly used":     {Status{Pools: pools(Healthy), Consumers: reserved(1939, false)}, LevelNotice, "team-a (96\u00a0%) is near a month's limit", ""},
		"one spent and one near":             {Status{Pools: pools(Healthy), Consumers: slices.Concat(spent, []ConsumerStatus{{Name: "c", Limits: []LimitStatus{{Limit: "budgetPerMonth", Amount: 100, Used: 99.9}}}})}, LevelNotice, "team-a has used up a month's limit; c (99\u00a0%) is near a month's limit", ""},
		"requests fail, and a limit is near": {Status{Pools: pools(Down), Consumers: reserved(1939, false)}, LevelCritical, "a is down", "a"},
		"most of a month's limit is left":    {Status{Pools: pools(Healthy), Consumers: reserved(1899, false)}, LevelOK, "The model is served normally", ""},
		"a part is degraded":                 {Status{Pools: pools(Healthy), Conditions: parts("degraded", "quotas")}, LevelNotice, "quotas: degraded", ""},
		"parts fail":                         {Status{Pools: pools(Healthy), Conditions: append(parts("failing", "entra-keys", "backend-identity"), parts("degraded", "usage")...)}, LevelWarning, "entra-keys, backend-identity: failing; usage: degraded", ""},
		"an instance is not configured":      {Status{Pools: pools(Healthy), Conditions: parts("failing", "configuration", "usage")}, LevelCritical, "i-1 refuses every request: the configuration is not valid; usage: failing", ""},
		"what is left is reserved":           {Status{Pools: pools(Healthy), Consumers: reserved(200, false)}, LevelOK, "The model is served normally", ""},
	} {
		h := headline(&c.status)
		if h.Level != c.level || h.Text != c.want {
			t.Errorf("%s: %s %q, want %s %q", name, h.Level, h.Text, c.level, c.want)
		}
		if c.first != "" && (len(h.Troubles) == 0 || h.Troubles[0].Model != c.first || h.Troubles[0].Since != &at || h.Troubles[0].Text != "why") {
			t.Errorf("%s: %+v", name, h.Troubles)
		}
	}
}
