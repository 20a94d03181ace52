package lease

import "math"

// Most is the largest amount that books are kept in. Sums saturate there, so
// that no request and no answer can make them wrap (facts/reliability.md T31).
const Most int64 = 1 << 60

// Clamp brings an amount from outside into [0, Most]: what a caller asks for
// and what a backend reports are never trusted to be a sane number.
func Clamp(n int64) int64 { return min(max(n, 0), Most) }

// plus adds without wrapping.
func plus(a, b int64) int64 {
	switch {
	case b > 0 && a > Most-b:
		return Most
	case b < 0 && a < -Most-b:
		return -Most
	}
	return a + b
}

// times multiplies two amounts that are not negative, without wrapping.
func times(a, b int64) int64 {
	if a != 0 && b > Most/a {
		return Most
	}
	return a * b
}

// nano is the unit that money is kept in: billionths of its currency, so that a
// cached token of the cheapest model is still a whole number.
const nano = 1e9

// Money brings an amount of a currency into the unit of the books. What is no
// amount is nothing.
func Money(amount float64) int64 { return whole(amount * nano) }

// Amount is an amount of the books in its currency.
func Amount(money int64) float64 { return float64(money) / nano }

func whole(f float64) int64 {
	switch {
	case math.IsNaN(f), f <= 0:
		return 0
	case f >= float64(Most):
		return Most
	}
	return int64(math.Round(f))
}
