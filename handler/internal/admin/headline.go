package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
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

// Trouble is one thing that is wrong.
type Trouble struct {
	Level Level      `json:"level"`
	Model string     `json:"model,omitempty"` // "" = it is not about one model
	Text  string     `json:"text"`
	Since *time.Time `json:"since,omitempty"`
}

// poolLevels is how much the state of a pool matters.
var poolLevels = map[PoolState]Level{Healthy: LevelOK, Reduced: LevelNotice, Spilling: LevelWarning, Exhausted: LevelCritical, Down: LevelCritical}

// poolStates are the states, the worst first, with the words of the headline.
var poolStates = []struct {
	state     PoolState
	one, many string
}{
	{Down, "is down", "are down"},
	{Exhausted, "is throttled on every backend", "are throttled on every backend"},
	{Spilling, "spills over", "spill over"},
	{Reduced, "is degraded", "are degraded"},
}

// headline sums a status up.
func headline(s *Status) Headline {
	h := Headline{Level: LevelOK, Troubles: []Trouble{}}
	var parts []string
	note := func(level Level, text string, troubles ...Trouble) {
		if slices.Index(levels, level) > slices.Index(levels, h.Level) {
			h.Level = level
		}
		parts = append(parts, text)
		h.Troubles = append(h.Troubles, troubles...)
	}
	for _, p := range poolStates {
		var names []string
		var troubles []Trouble
		for i := range s.Pools {
			if pool := &s.Pools[i]; pool.State == p.state {
				names = append(names, pool.Model)
				troubles = append(troubles, Trouble{Level: poolLevels[p.state], Model: pool.Model, Text: pool.Summary, Since: pool.Since})
			}
		}
		if len(names) > 0 {
			note(poolLevels[p.state], nameSome(names)+" "+plural(len(names), p.one, p.many), troubles...)
		}
	}
	if t := stateTrouble(s); t != nil {
		note(t.Level, t.Text)
	}
	if spent := spentConsumers(s.Consumers); len(spent) > 0 {
		note(LevelNotice, nameSome(spent)+" "+plural(len(spent), "has", "have")+" used up a month's limit")
	}
	slices.SortStableFunc(h.Troubles, func(a, b Trouble) int {
		return cmp.Compare(slices.Index(levels, b.Level), slices.Index(levels, a.Level))
	})
	h.Text = strings.Join(parts, "; ")
	if rest, ok := strings.CutPrefix(h.Text, "the "); ok {
		h.Text = "The " + rest
	}
	if h.Text == "" {
		h.Text = plural(len(s.Pools), "The model is", fmt.Sprintf("All %d models are", len(s.Pools))) + " served normally"
	}
	return h
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

// stateTrouble is what is wrong with the table; nil = nothing.
func stateTrouble(s *Status) *Trouble {
	switch {
	case s.State.Unreachable:
		return &Trouble{Level: LevelWarning, Text: "the state table is unreachable"}
	case s.State.ReadOnly:
		return &Trouble{Level: LevelWarning, Text: "the state table cannot be written"}
	}
	return nil
}

// spentConsumers have nothing left of a month's limit: their requests are refused
// until it is renewed.
func spentConsumers(all []ConsumerStatus) []string {
	var names []string
	for i := range all {
		if slices.ContainsFunc(all[i].Limits, func(l LimitStatus) bool {
			return strings.HasSuffix(l.Limit, "PerMonth") && (l.usedPercent() >= 100 || l.Remaining <= 0)
		}) {
			names = append(names, all[i].Name)
		}
	}
	return names
}
