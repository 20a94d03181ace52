package api

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// Every error that refuses a request says in the log which rule refused it.
func TestEveryErrorHasARule(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`Code(?:: | = |, [a-z.A-Z]+ = )"([a-z_]+)"`).FindAllSubmatch(text, -1) {
			codes[string(m[1])] = true
		}
	}
	delete(codes, "caller_left")    // nobody refused it
	delete(codes, "config_invalid") // no request is logged
	for code := range codes {
		if (&Error{Code: code}).rule() == "" {
			t.Errorf("%s has no rule", code)
		}
	}
	if len(codes) < 20 {
		t.Errorf("only %d codes are found", len(codes))
	}
}

func TestRulesOfLimitsAndFences(t *testing.T) {
	over := quotaExceeded(&quota.ExceededError{Limit: "tokensPerMinute of model gpt-4o", Retryable: true})
	if got := over.rule(); got != "tokensPerMinute of model gpt-4o" {
		t.Errorf("a limit: %q", got)
	}
	unknown := quotaExceeded(&quota.ExceededError{Limit: "budgetPerMonth", Retryable: true, Unknown: true, Wait: time.Second, Resets: time.Unix(1, 0)})
	if unknown.Status != http.StatusServiceUnavailable || unknown.Final || unknown.RetryAfter != time.Second || unknown.rule() != "budgetPerMonth" {
		t.Errorf("a limit that could not be read: %+v", unknown)
	}
	out := []balancer.Candidate{{Reason: balancer.ReservedPriority}, {Reason: balancer.OutsideGeographies}, {Reason: balancer.OutsideGeographies}}
	if got := constrainedOut("gpt-4o", nil, &proxy.Result{Decision: balancer.Decision{Candidates: out}}).rule(); got != "geographies,minPriority" {
		t.Errorf("fences: %q", got)
	}
	if got := poolThrottled(&proxy.Request{}, proxy.FenceGeographies, time.Second).rule(); got != "throttle,geographies" {
		t.Errorf("a fence behind a throttle: %q", got)
	}
}
