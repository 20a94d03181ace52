package quota

import (
	"testing"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
)

// What remains in a minute is nothing once the month has nothing left, whatever the
// prompt costs.
func TestNothingRemainsOfAMonthThatIsUsedUp(t *testing.T) {
	for name, c := range map[string]struct {
		limits consumer.Consumer
		used   usage.Tokens
		cost   float64
		price  usage.Price
	}{
		"tokens":                    {limits: consumer.Consumer{TokensPerMonth: 1000}, used: usage.Tokens{Prompt: 400, Completion: 600}},
		"money":                     {limits: consumer.Consumer{BudgetPerMonth: 1}, cost: 1, price: usage.Price{Input: 1, Output: 1}},
		"money, the prompt is free": {limits: consumer.Consumer{BudgetPerMonth: 1}, cost: 1, price: usage.Price{Output: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			who := c.limits
			who.Name, who.TokensPerMinute, who.RequestsPerMinute = "team-a", 10_000, 60
			single(t, &who, func(t *testing.T, l *Limiter, _ *counting) {
				r, over := reserve(t, l, &who, 100)
				if over != nil {
					t.Fatal(over)
				}
				r.Settle(Usage{Model: "gpt-4o", Tokens: c.used, Cost: c.cost})
				s := l.RateLimits(&who, "", "gpt-4o", c.price)
				if s.Tokens.Limit != 10_000 || s.Requests.Limit != 60 || s.Tokens.Remaining != 0 || s.Requests.Remaining != 0 {
					t.Errorf("%+v, want that nothing remains", s)
				}
			})
		})
	}
}
