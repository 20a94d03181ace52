package simulator_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/simulator"
)

func longPrompt(key string, prefix, tail int) string {
	return `{"max_tokens":4,"prompt_cache_key":"` + key + `","messages":[{"role":"user","content":"` +
		strings.Repeat("pref", prefix) + strings.Repeat("tail", tail) + `"}]}`
}

func TestPromptsShareTheirPrefixInSteps(t *testing.T) {
	tests := []struct {
		name          string
		first, second string
		wait          time.Duration
		cached        int
	}{
		{"too short", longPrompt("", 1023, 0), longPrompt("", 1023, 0), 0, 0},
		{"just long enough", longPrompt("", 1024, 0), longPrompt("", 1024, 0), 0, 1024},
		{"a step more", longPrompt("", 1151, 0), longPrompt("", 1151, 0), 0, 1024},
		{"two steps", longPrompt("", 1152, 0), longPrompt("", 1152, 0), 0, 1152},
		{"shared head", longPrompt("", 1500, 100), longPrompt("", 1500, 0), 0, 1408},
		{"other prompt", longPrompt("", 2000, 0), longPrompt("", 0, 2000), 0, 0},
		{"other key", longPrompt("a", 2000, 0), longPrompt("b", 2000, 0), 0, 0},
		{"almost idle too long", longPrompt("", 2000, 0), longPrompt("", 2000, 0), 5*time.Minute - 1, 1920},
		{"idle too long", longPrompt("", 2000, 0), longPrompt("", 2000, 0), 5 * time.Minute, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, clock := one(simulator.Deployment{})
			if c := complete(t, call(t, s, chatPath, tt.first)); c.Usage.Details.Cached != 0 {
				t.Fatalf("the first had %d cached", c.Usage.Details.Cached)
			}
			clock.pass(tt.wait)
			if c := complete(t, call(t, s, chatPath, tt.second)); c.Usage.Details.Cached != tt.cached {
				t.Errorf("got %d cached, want %d", c.Usage.Details.Cached, tt.cached)
			}
		})
	}
}

func TestBusyPrefixOverflowsToMachinesThatKnowNothing(t *testing.T) {
	s, clock := one(simulator.Deployment{})
	hits := 0
	for range 20 {
		if complete(t, call(t, s, chatPath, longPrompt("", 2000, 0))).Usage.Details.Cached > 0 {
			hits++
		}
	}
	if hits != 14 {
		t.Errorf("got %d hits of 20 in a minute, want 15 less the first", hits)
	}
	clock.pass(time.Minute)
	if complete(t, call(t, s, chatPath, longPrompt("", 2000, 0))).Usage.Details.Cached == 0 {
		t.Error("in the next minute: no hit")
	}
}

func TestCachedPromptIsFasterToItsFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulator.New(simulator.Config{Resources: []simulator.Resource{{
			Name: "one", Auth: simulator.AuthAnonymous,
			Deployments: []simulator.Deployment{{Name: "gpt-4o", Model: "gpt-4o", TimeToFirstToken: 400 * time.Millisecond, PerPromptToken: time.Millisecond}},
		}}})
		took := func() time.Duration {
			begin := time.Now()
			call(t, s, chatPath, longPrompt("", 2048, 0))
			return time.Since(begin)
		}
		if got := took(); got != 400*time.Millisecond+2048*time.Millisecond {
			t.Errorf("cold: got %v", got)
		}
		if got := took(); got != 200*time.Millisecond {
			t.Errorf("all cached: got %v, want half the base", got)
		}
	})
}
