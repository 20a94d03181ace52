package app

import (
	"errors"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/config"
)

func slotsOf(t *testing.T, backends string) *config.Config {
	t.Helper()
	t.Setenv("SPILLWAY_AUTH", "none")
	t.Setenv("SPILLWAY_CONFIG", `{"backends": [`+backends+`]}`)
	cfg, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func backendJSON(name, more string) string {
	return `{"name": "` + name + `", "endpoint": "https://` + strings.ToLower(name) + `.openai.azure.com", "deployments": ["gpt-4o"], "auth": {"mode": "pass-through"}` + more + `}`
}

// step is one configuration after another.
func (t *slotTable) step(test *testing.T, cfg *config.Config, now time.Time) (*config.Config, []slotChange) {
	test.Helper()
	next, changes, err := t.plan(cfg, now)
	if err != nil {
		test.Fatal(err)
	}
	t.assign(changes)
	t.use(next)
	return next, changes
}

func TestSlotsKeepTheirNumbers(t *testing.T) {
	now := time.Now()
	one := slotsOf(t, backendJSON("a", "")+","+backendJSON("b", ""))
	table := newSlotTable(one, true)
	first, _ := table.step(t, one, now)
	swapped, changes := table.step(t, slotsOf(t, backendJSON("b", `, "weight": 5`)+","+backendJSON("c", "")+","+backendJSON("a", "")), now)
	if len(changes) != 1 || changes[0].from != -1 || swapped.Slots[0] != "a/gpt-4o" || swapped.Slots[1] != "b/gpt-4o" || swapped.Slots[changes[0].number] != "c/gpt-4o" {
		t.Errorf("another order and a new backend: %+v, %q", changes, swapped.Slots[:4])
	}
	for _, b := range swapped.Pools[0].Backends {
		if swapped.Slots[b.Slot] != b.Name+"/gpt-4o" {
			t.Errorf("%s is at slot %d, of %s", b.Name, b.Slot, swapped.Slots[b.Slot])
		}
	}
	_, changes = table.step(t, slotsOf(t, backendJSON("a", `, "circuitBreaker": {"failures": 9}`)+","+backendJSON("b", "")), now)
	if len(changes) != 1 || changes[0].from != 0 || changes[0].number < 3 {
		t.Errorf("another policy: %+v", changes)
	}
	if first.Slots[0] != "a/gpt-4o" || one.Pools[0].Backends[0].Slot != 0 {
		t.Error("an earlier configuration was changed")
	}
}

// A number is used again when nobody can report of it any more, and not before.
func TestSlotsAreUsedAgain(t *testing.T) {
	now := time.Now()
	policy := func(n string) *config.Config {
		return slotsOf(t, backendJSON("a", `, "circuitBreaker": {"failures": `+n+`}`))
	}
	table := newSlotTable(policy("1"), true)
	table.entries, table.names = table.entries[:3], table.names[:3]
	first, _ := table.step(t, policy("1"), now)
	second, _ := table.step(t, policy("2"), now)
	table.step(t, policy("3"), now)
	if _, _, err := table.plan(policy("4"), now); !errors.Is(err, errManyBackends) {
		t.Fatalf("while every number is in use: %v", err)
	}
	table.end(second, now)
	if _, _, err := table.plan(policy("4"), now); !errors.Is(err, errManyBackends) {
		t.Errorf("at once: %v", err)
	}
	_, changes := table.step(t, policy("4"), now.Add(slotRest))
	if len(changes) != 1 || changes[0].number != 1 || changes[0].from != 2 {
		t.Errorf("later: %+v", changes)
	}
	table.end(first, now)
	if table.entries[0].users != 0 {
		t.Errorf("%d users of the first number", table.entries[0].users)
	}
}
