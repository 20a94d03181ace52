package app

import (
	"errors"
	"strings"
	"time"

	"spillway/handler/internal/config"
	"spillway/handler/internal/health"
)

// slotTable gives the slots of successive configurations their numbers. A backend and
// model that stays as it is keeps its number, and with it all that is known of it; a
// number is used again only when no request can report of it any more.
//
// It is not safe for concurrent use.
type slotTable struct {
	names   []string // by number; written before anybody can report of the number
	entries []slotEntry
	models  map[string]int // by name in lower case, for latency.Tracker
}

type slotEntry struct {
	key      slotKey
	users    int       // configurations that requests under way may use
	released time.Time // when the last of them ended; zero = never used
	current  bool      // of the current configuration
}

// slotKey is what a number stands for.
type slotKey struct {
	name, identity, model string
	breaker               health.BreakerPolicy
	throttle              health.ThrottlePolicy
}

// slotChange is a number that begins to stand for something.
type slotChange struct {
	number health.Slot
	from   health.Slot // of the same deployment until now; -1 = of none
	slotKey
}

const (
	spareSlots = 256 // and four times those of the first configuration
	// slotRest is how long a number is not used again: the last minute of what it
	// stood for is still shown.
	slotRest = 2 * time.Minute
)

// newSlotTable numbers the slots of the first configuration as they are. Where it
// may change, there are spare numbers.
func newSlotTable(cfg *config.Config, changes bool) *slotTable {
	size := len(cfg.Slots)
	if changes {
		size += spareSlots + 4*len(cfg.Slots)
	}
	return &slotTable{names: make([]string, size), entries: make([]slotEntry, size), models: map[string]int{}}
}

var errManyBackends = errors.New("there are too many new backends and models at once, or too many requests under way on earlier versions: it is tried again when they end")

// plan returns the configuration with the numbers of this table, and what changes.
func (t *slotTable) plan(cfg *config.Config, now time.Time) (*config.Config, []slotChange, error) {
	models := make([]string, len(cfg.Slots))
	for i := range cfg.Pools {
		for _, b := range cfg.Pools[i].Backends {
			models[b.Slot] = cfg.Pools[i].Model
		}
	}
	var changes []slotChange
	numbers, taken := make([]health.Slot, len(cfg.Slots)), map[health.Slot]bool{}
	for i := range cfg.Slots {
		key := slotKey{cfg.Slots[i], cfg.Identities[i], models[i], cfg.Breakers[i], cfg.Throttles[i]}
		n, from := t.find(key)
		if n < 0 {
			if n = t.free(taken, now); n < 0 {
				return nil, nil, errManyBackends
			}
			changes = append(changes, slotChange{n, from, key})
		}
		numbers[i], taken[n] = n, true
	}
	return cfg.Renumbered(numbers, len(t.entries)), changes, nil
}

// find returns the number that stands for the key now, and that of the same
// deployment; -1 = there is none.
func (t *slotTable) find(key slotKey) (same, deployment health.Slot) {
	deployment = -1
	for n := range t.entries {
		e := &t.entries[n]
		switch {
		case !e.current:
		case e.key == key:
			return health.Slot(n), -1
		case e.key.identity == key.identity:
			deployment = health.Slot(n)
		}
	}
	return -1, deployment
}

// free returns a number that nobody uses; -1 = there is none.
func (t *slotTable) free(taken map[health.Slot]bool, now time.Time) health.Slot {
	for n := range t.entries {
		e := &t.entries[n]
		if !taken[health.Slot(n)] && e.users == 0 && (e.released.IsZero() || now.Sub(e.released) >= slotRest) {
			return health.Slot(n)
		}
	}
	return -1
}

// assign makes the numbers stand for what they are planned for.
func (t *slotTable) assign(changes []slotChange) {
	for _, c := range changes {
		t.names[c.number], t.entries[c.number].key = c.name, c.slotKey
	}
}

// use makes the configuration the current one, until end is called for it. It returns
// the numbers that were current before and are not now.
func (t *slotTable) use(cfg *config.Config) (dropped []health.Slot) {
	for n := range t.entries {
		e := &t.entries[n]
		named := cfg.Slots[n] != ""
		if named {
			e.users++
		} else if e.current {
			dropped = append(dropped, health.Slot(n))
		}
		e.current = named
	}
	return dropped
}

// end is called when no request uses the configuration any more.
func (t *slotTable) end(cfg *config.Config, now time.Time) {
	for n, name := range cfg.Slots {
		if name == "" {
			continue
		}
		if t.entries[n].users--; t.entries[n].users == 0 {
			t.entries[n].released = now
		}
	}
}

// model is the number of a model.
func (t *slotTable) model(name string) int {
	name = strings.ToLower(name)
	n, ok := t.models[name]
	if !ok {
		n = len(t.models)
		t.models[name] = n
	}
	return n
}
