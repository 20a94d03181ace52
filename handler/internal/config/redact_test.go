package config

import (
	"errors"
	"strings"
	"testing"
)

func TestTranscriptPatterns(t *testing.T) {
	s := loaded(t, map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_TRANSCRIPTS_REDACT": `["sk-[a-z]+", "[0-9]{16}"]`}, one(``)).Settings
	if len(s.Redact) != 2 || !s.Redact[1].MatchString("4111111111111111") {
		t.Errorf("%v", s.Redact)
	}
	for list, want := range map[string]string{`["sk-canary("]`: "number 1", `["a","b*"]`: "number 2", `sk-canary`: "JSON list"} {
		_, err := load(in(t, map[string]string{"SPILLWAY_CONFIG": one(``), "SPILLWAY_AUTH": "none", "SPILLWAY_TRANSCRIPTS_REDACT": list}))
		var faults Faults
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", list, err)
		}
	}
}
