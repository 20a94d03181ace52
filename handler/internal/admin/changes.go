package admin

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"spillway/handler/internal/health"
)

// maxChanges is how many changes are remembered.
const maxChanges = 50

// changes is the latest changes of the backends' state, oldest first.
type changes struct {
	mu  sync.Mutex
	all []change
}

type change struct {
	at   time.Time
	slot health.Slot
	text string
	by   string // the instance that wrote it
	n    int    // how often in a row
}

// repeatWindow is how soon the same change of the same slot is the same story:
// a full PTU throttles many times a second.
const repeatWindow = time.Minute

// Changed remembers what the keeper adopted: it is made to be a
// state.Config.OnChange, quick and calling nobody back.
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

// latest is up to n of them, newest first.
func (c *changes) latest(n int) []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []change
	for i := len(c.all) - 1; i >= 0 && len(found) < n; i-- {
		found = append(found, c.all[i])
	}
	return found
}

// describeChange says for people what changed; "" when it is nothing they would
// want to know.
func describeChange(before, after *health.Record) string {
	var parts []string
	if before.Override.Drained != after.Override.Drained {
		parts = append(parts, describeOverride(after))
	}
	switch from, to := before.Circuit.State, after.Circuit.State; {
	case from == to:
	case to == health.Open:
		parts = append(parts, "breaker opened"+withReason(after.LastChange.Reason))
	case to == health.HalfOpen:
		parts = append(parts, "half-open: one probe of the fleet")
	default:
		parts = append(parts, "breaker closed"+withReason(after.LastChange.Reason))
	}
	switch {
	case after.Windows.Generation != before.Windows.Generation:
		parts = append(parts, "throttle windows ended")
	case after.Windows != before.Windows:
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
