package admin

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"spillway/handler/internal/health"
)

// maxChanges is how many changes are kept.
const maxChanges = 50

// changes is the latest changes of the backends' states, oldest first.
type changes struct {
	mu  sync.Mutex
	all []change
}

type change struct {
	at   time.Time
	slot health.Slot
	text string
	by   string // the instance that wrote it
	n    int    // times in a row
}

// repeatWindow is the time within which the same change of the same slot is
// counted instead of listed: a provisioned deployment at its limit throttles many
// times a second.
const repeatWindow = time.Minute

// Changed records a change. It is made for fleet.Config.OnChange: it does not
// block.
func (r *Recent) Changed(slot health.Slot, before, after health.Record) {
	text := describeChange(&before, &after)
	if text == "" {
		return
	}
	r.changes.add(change{at: r.now(), slot: slot, text: text, by: after.LastChange.By, n: 1})
}

func (c *changes) add(latest change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.all) - 1; i >= 0; i-- {
		if c.all[i].slot != latest.slot {
			continue
		}
		if last := c.all[i]; last.text == latest.text && latest.at.Sub(last.at) < repeatWindow {
			latest.n += last.n
			c.all = slices.Delete(c.all, i, i+1)
		}
		break
	}
	if len(c.all) == maxChanges {
		c.all = slices.Delete(c.all, 0, 1)
	}
	c.all = append(c.all, latest)
}

// latest is up to n changes, newest first.
func (c *changes) latest(n int) []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []change
	for i := len(c.all) - 1; i >= 0 && len(found) < n; i-- {
		found = append(found, c.all[i])
	}
	return found
}

// OwnCircuitChanged records a change of a circuit that binds this instance alone.
func (r *Recent) OwnCircuitChanged(slot health.Slot, _ health.CircuitState, after *health.Health) {
	text := map[health.CircuitState]string{
		health.Open: "circuit opened on this instance alone" + withReason(after.Reason), health.HalfOpen: "half-open on this instance alone",
		health.Closed: "circuit closed on this instance",
	}[after.State]
	r.changes.add(change{at: r.now(), slot: slot, text: text, n: 1})
}

// describeChange describes a change for the page; "" = it is not shown.
func describeChange(before, after *health.Record) string {
	var parts []string
	if before.Override.Drained != after.Override.Drained {
		parts = append(parts, describeOverride(after))
	}
	switch from, to := before.Circuit.State, after.Circuit.State; {
	case from == to:
	case to == health.Open:
		parts = append(parts, "circuit opened"+withReason(after.LastChange.Reason))
	case to == health.HalfOpen:
		parts = append(parts, "half-open: one probe across all instances")
	case after.Circuit.LastObjection > before.Circuit.LastObjection:
		parts = append(parts, "circuit closed: an instance is being served")
	default:
		parts = append(parts, "circuit closed"+withReason(after.LastChange.Reason))
	}
	switch {
	case after.ResetAt > before.ResetAt:
		parts = append(parts, "throttle windows ended")
	case after.Windows != before.Windows && after.Windows != (health.ThrottleWindows{}):
		parts = append(parts, "throttled"+withReason(after.LastChange.Reason))
	}
	return strings.Join(parts, ", ")
}

func describeOverride(r *health.Record) string {
	if r.Override.Drained {
		return fmt.Sprintf("drained by %s", r.Override.Operator)
	}
	return fmt.Sprintf("restored by %s", r.Override.Operator)
}

func withReason(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
