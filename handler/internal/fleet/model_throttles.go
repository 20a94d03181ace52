package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// maxModelThrottles bounds the models of a slot that are throttled at once: their
// names are the callers'.
const maxModelThrottles = 64

// modelThrottles are the waits of single models at a backend that serves models
// without a slot of their own. Which models those are is known from requests alone, so
// each instance learns of a wait by itself.
type modelThrottles struct {
	windows map[string]health.ThrottleWindows // instants in microseconds of the local clock
	view    *health.ModelThrottles            // for requests; nil = none
}

// add records the wait of a 429, and forgets what has ended.
func (m *modelThrottles) add(model string, kind health.LimitKind, w health.ThrottleWindow, now int64) {
	for name, windows := range m.windows {
		if until, _, _ := windows.Combined(now); until == 0 {
			delete(m.windows, name)
		}
	}
	if _, known := m.windows[model]; !known && len(m.windows) >= maxModelThrottles {
		return
	}
	if m.windows == nil {
		m.windows = map[string]health.ThrottleWindows{}
	}
	m.windows[model] = m.windows[model].MergeActive(health.ThrottleWindows{}.Add(kind, w), now)
}

// recordModelWait records the wait of a 429 that concerns one model of the slot.
func (r *Replica) recordModelWait(s *slot, o health.Outcome, now time.Duration) {
	wait := health.ThrottleWindow{Until: (now + s.throttle.WaitFor(o.Limit, o.Wait)).Microseconds(), MaxTokens: usableTokens(o.Limit, o)}
	s.models.add(o.Model, o.Limit, wait, now.Microseconds())
	view := health.ModelThrottles{}
	for name, windows := range s.models.windows {
		until, kind, maxTokens := windows.Combined(now.Microseconds())
		view[name] = health.Throttle{Until: r.toTime(time.Duration(until) * time.Microsecond), Kind: kind, MaxTokens: maxTokens}
	}
	s.models.view = &view
}
