package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// PoolState is the state of a model's backends as a whole, in the words of the status
// page and of spillway status.
type PoolState string

// The states.
const (
	Healthy  PoolState = "ok"            // the first priority group serves all requests
	Reduced  PoolState = "degraded"      // it serves, but some backend of the pool does not, or not fully
	Spilling PoolState = "spilling over" // a lower group serves, or served in the last minute, what the first did not
	// Exhausted is that no backend serves, some only because they are throttled.
	Exhausted PoolState = "throttled"
	// Unanswered is that backends take requests, and none is answered.
	Unanswered PoolState = "not answering"
	Down       PoolState = "down" // no backend takes requests
)

// poolStates are the states, the worst first, with how much they matter and the words
// of the headline.
var poolStates = []struct {
	state     PoolState
	level     Level
	one, many string
}{
	{Down, LevelCritical, "is down", "are down"},
	{Unanswered, LevelCritical, "", ""}, // each says how long
	{Exhausted, LevelCritical, "is throttled on every backend", "are throttled on every backend"},
	{Spilling, LevelWarning, "spills over", "spill over"},
	{Reduced, LevelNotice, "is degraded", "are degraded"},
	{Healthy, LevelOK, "", ""},
}

// Rank orders states, the worst first.
func (s PoolState) Rank() int {
	for i := range poolStates {
		if poolStates[i].state == s {
			return i
		}
	}
	return len(poolStates)
}

// level is how much the state of the pool matters: one request that takes long is no
// outage.
func (s *PoolStatus) level() Level {
	if s.State == Unanswered && s.Waiting.unanswered() && s.Waiting.Overdue == 0 {
		return LevelNotice
	}
	return poolStates[s.State.Rank()].level
}

// spillingFrom is from how many percent of the last minute's responses on a model that
// the first priority could not serve all of is said to spill over.
const spillingFrom = 5

// momentary is for how long at most a pool may be throttled to count as served, when
// it was within the last minute: a provisioned deployment at its limit is throttled
// many times a second.
const momentary = time.Second

// judgeTraffic corrects what the states of the backends promise by what became of the
// requests.
func (v *statusBuilder) judgeTraffic(s *PoolStatus) {
	first, _, out := surveyPool(s)
	switch served := s.Minute.Served > 0 || s.Waiting != nil && s.Waiting.NoneForMS < time.Minute.Milliseconds(); {
	case s.Waiting.unanswered():
		since := v.now.Add(-time.Duration(s.Waiting.NoneForMS) * time.Millisecond).UTC()
		s.unanswered(s.Waiting.String(), &since, out)
	case s.State == Down || s.State == Exhausted && (s.LeftMS > momentary.Milliseconds() || s.Minute.Served == 0):
	case !served && s.Minute.Failed > 0:
		s.unanswered(fmt.Sprintf("%d attempts failed in the last minute, none was served", s.Minute.Failed), nil, out)
	case s.State == Spilling:
	case s.SpillPercent >= spillingFrom && s.Groups[first].troubled():
		s.State, s.Since = Spilling, v.throttledSince(&s.Groups[first])
		s.Summary = fmt.Sprintf("%.0f\u00a0%% of the last minute's responses are of a lower priority than %d: %s", s.SpillPercent, s.Groups[first].Priority, s.Groups[first].troubles())
	case s.State == Exhausted:
		s.State, s.Summary = Reduced, listBackends(out)
	}
}

// unanswered makes a pool whose backends take requests one that does not answer.
func (s *PoolStatus) unanswered(text string, since *time.Time, out []*BackendStatus) {
	if s.State == Down || s.State == Exhausted {
		s.Summary = text + "; " + s.Summary
		return
	}
	if len(out) > 0 {
		text += "; " + listBackends(out)
	}
	s.State, s.Summary, s.Since = Unanswered, text, since
}

// troubled reports whether a backend of the group could not serve some request of the
// last minute, or is left alone by an instance.
func (g *GroupStatus) troubled() bool {
	return slices.ContainsFunc(g.Backends, func(b BackendStatus) bool {
		return b.Minute.Throttled+b.Minute.Failed+b.Minute.Silent > 0 || len(b.Refuses) > 0
	})
}

// troubles is what the backends of the group did not serve in the last minute.
func (g *GroupStatus) troubles() string {
	var all []string
	for i := range g.Backends {
		b, m := &g.Backends[i], &g.Backends[i].Minute
		var parts []string
		for _, one := range []struct {
			n    int64
			what string
		}{{m.Throttled, "throttled"}, {m.Failed, "failed"}, {m.Silent, "silent"}} {
			if one.n > 0 {
				parts = append(parts, formatCount(one.n)+" "+one.what)
			}
		}
		if len(parts) > 0 {
			parts = []string{strings.Join(parts, ", ") + " of " + formatCount(m.Requests)}
		}
		if len(b.Refuses) > 0 {
			parts = append(parts, RefusalText(b.Refuses))
		}
		if len(parts) > 0 {
			all = append(all, b.Name+": "+strings.Join(parts, "; "))
		}
	}
	return nameSome(all)
}

// throttledSince is since when a backend of the group has been throttled again and
// again; nil = unknown.
func (v *statusBuilder) throttledSince(g *GroupStatus) (since *time.Time) {
	for i := range g.Backends {
		at := troubleSince(v.events[g.Backends[i].Slot], ThrottleBegan).UTC()
		if !at.IsZero() && (since == nil || at.Before(*since)) {
			since = &at
		}
	}
	return since
}

// summarizePool sets the state of the pool, a sentence about it, and since when.
// Backends of weight 0 do not count.
func summarizePool(s *PoolStatus) {
	first, taking, out := surveyPool(s)
	throttled := slices.ContainsFunc(out, func(b *BackendStatus) bool { return b.State == Throttled })
	switch {
	case first < 0:
		s.State, s.Summary = Down, "no backend has a weight above 0"
	case taking < 0 && throttled:
		s.State, s.Summary, s.Since = Exhausted, "no backend takes requests: "+listBackends(out), stoppedAt(out, time.Time.After)
		s.LeftMS = soonest(out)
	case taking < 0:
		s.State, s.Summary, s.Since = Down, "no backend takes requests: "+listBackends(out), stoppedAt(out, time.Time.After)
	case taking != first:
		higher := slices.DeleteFunc(slices.Clone(out), func(b *BackendStatus) bool { return b.Priority >= s.Groups[taking].Priority })
		s.State, s.Summary, s.Since = Spilling, fmt.Sprintf("priority %d serves: %s", s.Groups[taking].Priority, listBackends(out)), stoppedAt(higher, time.Time.After)
	case len(out) > 0:
		s.State, s.Summary, s.Since = Reduced, listBackends(out), stoppedAt(out, time.Time.Before)
	default:
		s.State, s.Summary = Healthy, fmt.Sprintf("priority %d serves all requests", s.Groups[taking].Priority)
	}
}

// surveyPool is the first group with a backend that may get traffic, the first one
// that takes requests, below 0 when there is none, and the backends that do not
// serve as usual.
func surveyPool(s *PoolStatus) (first, taking int, out []*BackendStatus) {
	first, taking = -1, -1
	for i := range s.Groups {
		for j := range s.Groups[i].Backends {
			b := &s.Groups[i].Backends[j]
			if b.State == Unused {
				continue
			}
			if first < 0 {
				first = i
			}
			if taking < 0 && b.takesRequests() {
				taking = i
			}
			if b.State != Available {
				out = append(out, b)
			}
		}
	}
	return first, taking, out
}

// stoppedAt is when the last of them stopped, by [time.Time.After], or the first, by
// [time.Time.Before]; nil = unknown.
func stoppedAt(out []*BackendStatus, goesBefore func(a, b time.Time) bool) (at *time.Time) {
	for _, b := range out {
		if b.Since != nil && (at == nil || goesBefore(*b.Since, *at)) {
			at = b.Since
		}
	}
	return at
}

// soonest is the time until the first of the throttled ones takes requests again.
func soonest(out []*BackendStatus) int64 {
	var left int64
	for _, b := range out {
		if b.State == Throttled && (left == 0 || b.LeftMS < left) {
			left = b.LeftMS
		}
	}
	return left
}

// listBackends names backends with their states, those with the same reason
// together, and the first few reasons.
func listBackends(out []*BackendStatus) string {
	const most = 3
	var reasons []string
	by := map[string][]string{}
	for _, b := range out {
		reason := b.reason()
		if by[reason] == nil {
			reasons = append(reasons, reason)
		}
		by[reason] = append(by[reason], b.Name)
	}
	var parts []string
	others := len(out)
	for _, reason := range reasons[:min(len(reasons), most)] {
		names := by[reason]
		others -= len(names)
		if len(names) > most {
			parts = append(parts, fmt.Sprintf("%d backends: %s", len(names), reason))
			continue
		}
		parts = append(parts, strings.Join(names, ", ")+": "+reason)
	}
	if others > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", others))
	}
	return strings.Join(parts, "; ")
}

// reason is why the backend does not serve as usual.
func (b *BackendStatus) reason() string {
	switch {
	case b.State == Drained && b.Drained != nil && b.Drained.By != "":
		return "drained by " + b.Drained.By
	case b.State == Throttled, b.State == Drained, b.Why == "":
		return b.Label
	}
	return b.Label + " (" + b.Why + ")"
}
