package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Each caller of a consumer has limits for itself on all instances; the table and
// the usage name it by a hash.
func TestCallersHaveLimitsOfTheirOwn(t *testing.T) {
	t.Parallel()
	c := startConsumerFleet(t, 2, metered(map[string]any{"name": "team", "perCaller": map[string]any{"tokensPerMonth": 250}}))
	named := func(member, name string) string {
		return strings.Replace(modest, `"max_tokens"`, fmt.Sprintf(`%q:%q,"max_tokens"`, member, name), 1)
	}
	for caller, body := range map[string]string{"ann": named("user", "ann@example.com"), "bob": named("safety_identifier", "bob"), "nobody": modest} {
		served := 0
		for n := range 6 {
			a := c.ask(n, keyOf("team"), body)
			if a.status == http.StatusOK {
				served++
				continue
			}
			wantFinal(t, caller, a, "insufficient_quota", "tokensPerMonth of each caller")
		}
		if served < 2 || served > 4 { // a month's limit is exceeded by one answer of each instance at most
			t.Errorf("%s was served %d requests of 102 tokens, of 250", caller, served)
		}
	}
	for _, row := range c.rows("books") {
		if text := row.Partition + row.Key + fmt.Sprint(row.Columns); strings.Contains(text, "ann") || strings.Contains(text, "bob") {
			t.Errorf("the table holds the name of a caller: %s", text)
		}
	}
}
