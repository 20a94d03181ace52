package accounting

import (
	"math"
	"time"

	"spillway/handler/internal/openai/usage"
)

// Key is whose usage it is, and of what.
type Key struct {
	Consumer string // "" = nobody by name
	Model    string // that served
	Backend  string // that served
	Currency string // of the cost; "" = there is no price
}

// Totals is what was used. The zero Totals is nothing.
type Totals struct {
	Requests  int64 // that were served
	Unmetered int64 // of them those whose answer did not say what it used
	Broken    int64 // of them those that ended early
	Tokens    usage.Tokens
	Cost      Money
}

// Add is the sum of both.
func (s Totals) Add(o Totals) Totals {
	return Totals{
		Requests: s.Requests + o.Requests, Unmetered: s.Unmetered + o.Unmetered, Broken: s.Broken + o.Broken,
		Tokens: s.Tokens.Add(o.Tokens), Cost: s.Cost + o.Cost,
	}
}

// Money is a billionth of a unit of its currency, so that sums are exact
// whatever the order.
type Money int64

// MoneyOf rounds an amount to the nearest billionth.
func MoneyOf(amount float64) Money { return Money(math.Round(amount * 1e9)) }

// Amount is the money in units of its currency.
func (m Money) Amount() float64 { return float64(m) / 1e9 }

// Row is what was used in one hour, or over a longer time when several were
// summed. A field that was summed over has its zero value.
type Row struct {
	Hour time.Time // its beginning, UTC
	Key
	Totals
}

// hourOf is the beginning of the instant's hour.
func hourOf(at time.Time) time.Time { return at.UTC().Truncate(time.Hour) }
