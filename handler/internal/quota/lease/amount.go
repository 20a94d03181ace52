package lease

import "math"

// MaxAmount is the largest amount that books are kept in. Sums saturate there, so
// that no request and no answer can make them wrap (facts/reliability.md T31).
const MaxAmount int64 = 1 << 60

// Clamp brings an amount from outside into [0, Most]: what a caller asks for
// and what a backend reports are never trusted to be a sane number.
func Clamp(n int64) int64 { return min(max(n, 0), MaxAmount) }

// addSaturating adds without wrapping.
func addSaturating(a, b int64) int64 {
	switch {
	case b > 0 && a > MaxAmount-b:
		return MaxAmount
	case b < 0 && a < -MaxAmount-b:
		return -MaxAmount
	}
	return a + b
}

// mulSaturating multiplies two amounts that are not negative, without wrapping.
func mulSaturating(a, b int64) int64 {
	if a != 0 && b > MaxAmount/a {
		return MaxAmount
	}
	return a * b
}

// moneyUnits is the unit that money is kept in: billionths of its currency, so that a
// cached token of the cheapest model is still a whole number.
const moneyUnits = 1e9

// Money brings an amount of a currency into the unit of the books. What is no
// amount is nothing.
func Money(amount float64) int64 { return roundAmount(amount * moneyUnits) }

// Amount is an amount of the books in its currency.
func Amount(money int64) float64 { return float64(money) / moneyUnits }

func roundAmount(f float64) int64 {
	switch {
	case math.IsNaN(f), f <= 0:
		return 0
	case f >= float64(MaxAmount):
		return MaxAmount
	}
	return int64(math.Round(f))
}
