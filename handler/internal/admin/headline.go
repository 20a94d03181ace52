package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/telemetry/condition"
)

// Level is how much something matters to who is on call.
type Level string

// The levels, the least first.
const (
	LevelOK       Level = "ok"
	LevelNotice   Level = "notice"   // all requests are served as usual; something is not as it should be
	LevelWarning  Level = "warning"  // served, but elsewhere or with less behind it
	LevelCritical Level = "critical" // requests fail
)

var levels = []Level{LevelOK, LevelNotice, LevelWarning, LevelCritical}

// Headline is what is wrong, in a few words.
type Headline struct {
	Level    Level     `json:"level"`
	Text     string    `json:"text"`
	Troubles []Trouble `json:"troubles"` // the worst first
}

// Trouble is a model that is not served as usual.
type Trouble struct {
	Level Level      `json:"level"`
	Model string     `json:"model"`
	Text  string     `json:"text"`
	Since *time.Time `json:"since,omitempty"`
}

// headline sums a status up.
func headline(s *Status) Headline {
	h := Headline{Level: LevelOK, Troubles: []Trouble{}}
	var parts []string
	for _, p := range poolStates[:Healthy.Rank()] {
		troubles := poolTroubles(s.Pools, p.state)
		if len(troubles) == 0 {
			continue
		}
		h.Troubles = append(h.Troubles, troubles...)
		var names []string
		for i := range troubles {
			h.raise(troubles[i].Level)
			names = append(names, troubles[i].named(p.state))
		}
		parts = append(parts, strings.TrimSpace(nameSome(names)+" "+plural(len(names), p.one, p.many)))
	}
	if t := stateTrouble(s); t != "" {
		h.raise(LevelWarning)
		parts = append(parts, t)
	}
	if names := refusingInstances(s.Conditions); len(names) > 0 {
		h.raise(LevelCritical)
		parts = append(parts, nameSome(names)+" "+plural(len(names), "refuses", "refuse")+" every request: the configuration is not valid")
	}
	for _, state := range []condition.State{condition.Failing, condition.Degraded} {
		if names := troubledParts(s.Conditions, state); len(names) > 0 {
			h.raise(map[condition.State]Level{condition.Failing: LevelWarning, condition.Degraded: LevelNotice}[state])
			parts = append(parts, nameSome(names)+": "+state.String())
		}
	}
	spent, near := spentConsumers(s.Consumers)
	if len(spent) > 0 {
		h.raise(LevelNotice)
		parts = append(parts, nameSome(spent)+" "+plural(len(spent), "has", "have")+" used up a month's limit")
	}
	if len(near) > 0 && (h.Level == LevelOK || h.Level == LevelNotice) { // nothing is refused yet: what is, comes first
		h.raise(LevelNotice)
		parts = append(parts, nameSome(near)+" "+plural(len(near), "is", "are")+" near a month's limit")
	}
	if len(parts) == 0 {
		parts = []string{plural(len(s.Pools), "The model is", fmt.Sprintf("All %d models are", len(s.Pools))) + " served normally"}
	}
	h.Text = strings.Join(parts, "; ")
	if rest, ok := strings.CutPrefix(h.Text, "the "); ok {
		h.Text = "The " + rest
	}
	return h
}

// raise makes the level at least this one.
func (h *Headline) raise(level Level) {
	if slices.Index(levels, level) > slices.Index(levels, h.Level) {
		h.Level = level
	}
}

// poolTroubles are the pools in one state.
func poolTroubles(pools []PoolStatus, state PoolState) []Trouble {
	var all []Trouble
	for i := range pools {
		if p := &pools[i]; p.State == state {
			all = append(all, Trouble{Level: p.level(), Model: p.Model, Text: p.Summary, Since: p.Since})
		}
	}
	return all
}

// named is the model in the headline.
func (t *Trouble) named(state PoolState) string {
	if state == Unanswered {
		text, _, _ := strings.Cut(t.Text, ";")
		return t.Model + ": " + text
	}
	return t.Model
}

// nameSome names the first few.
func nameSome(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// stateTrouble is what is wrong with the table; "" = nothing.
func stateTrouble(s *Status) string {
	switch {
	case s.State.Unreachable:
		return "the state table is unreachable"
	case s.State.ReadOnly:
		return "the state table cannot be written"
	}
	return ""
}

// troubledParts are the parts in that state on some instance, but for those that have
// words of their own.
func troubledParts(all []ConditionStatus, state condition.State) (names []string) {
	for i := range all {
		c := &all[i]
		if c.State == state.String() && c.Part != "state-read" && c.Part != "state-write" && !c.refusesAll() && !slices.Contains(names, c.Part) {
			names = append(names, c.Part)
		}
	}
	return names
}

// refusingInstances serve nothing, because their configuration is not valid.
func refusingInstances(all []ConditionStatus) (names []string) {
	for i := range all {
		if c := &all[i]; c.refusesAll() && !slices.Contains(names, c.Instance) {
			names = append(names, c.Instance)
		}
	}
	return names
}

func (c *ConditionStatus) refusesAll() bool {
	return c.Part == configurationPart && c.State == condition.Failing.String()
}

// nearPercent is the use of a month's limit from which on the headline names the
// consumer: the last mark before the end.
const nearPercent = 95

// spentConsumers have nothing left of a month's limit, so that their requests are
// refused until it is renewed, or are near to that.
func spentConsumers(all []ConsumerStatus) (spent, near []string) {
	for i := range all {
		used, usedUp := all[i].usedOfMonth()
		switch {
		case usedUp:
			spent = append(spent, all[i].Name)
		case used >= nearPercent:
			near = append(near, fmt.Sprintf("%s (%d\u00a0%%)", all[i].Name, int(used)))
		}
	}
	return spent, near
}

// usedOfMonth is the use of the month's limit that is nearest to its end, in percent,
// and whether one is used up.
func (c *ConsumerStatus) usedOfMonth() (percent float64, usedUp bool) {
	for _, l := range c.Limits {
		if strings.HasSuffix(l.Limit, "PerMonth") {
			percent = max(percent, l.usedPercent())
			usedUp = usedUp || l.UsedUp || l.usedPercent() >= 100
		}
	}
	return percent, usedUp
}
