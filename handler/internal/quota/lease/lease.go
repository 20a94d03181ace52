// Package lease is the arithmetic of a limit that many instances share: how much
// an instance may spend by itself, when it must ask the table, and what is booked
// afterwards. It does no I/O, reads no clock and draws no random numbers; package
// quota passes all three.
//
// # How a limit is shared
//
// One row of the table holds one limit of one consumer: what was granted in the
// current window ([Record]). An instance's side of it is an [Account]:
//
//   - While an even share of what is left is worth several requests, the
//     instance leases chunks of it and spends them without the table. Chunks
//     shrink as the row drains.
//   - While the row is known to have enough left, but shares are small, the
//     instance spends first and books at once afterwards. What the fleet may have
//     spent meanwhile is taken off before.
//   - Otherwise the request waits for the table, which grants exactly what it
//     needs.
//   - A row that is known to be used up refuses without asking.
//
// What was booked beyond the limit is carried into the next window, so that the
// mean stays within the limit whatever happens in one window. A request is
// charged to the window that has begun for certain; within the uncertainty of the
// clock (about a tenth of a second) that is the earlier one, so that a window
// under overload is not started twice.
//
// # Writes whose answer is lost
//
// Every write carries a nonce that stays in the record. An instance that does not
// know whether its write landed reads the row: once the version has changed,
// either the nonce is there or the write never will be. So a lost answer loses no
// chunk and books nothing twice. Bounds: docs/quotas.md#bounds.
package lease

import (
	"math"
	"time"
)

// Period is the length of a limit's windows. Windows follow the table service's
// clock, so all instances begin them at the same moment.
type Period uint8

// The periods. The zero Period is Minute.
const (
	Minute Period = iota // 60 s, aligned to the minute
	Month                // a calendar month, UTC
)

func (p Period) String() string {
	if p == Month {
		return "month"
	}
	return "minute"
}

// Index numbers the window of t. Later windows have higher numbers.
func (p Period) Index(t time.Time) int64 {
	if p == Month {
		year, month, _ := t.UTC().Date()
		return int64(year)*12 + int64(month) - 1
	}
	return floorDiv(t.Unix(), 60)
}

// Ends is the first instant after the window.
func (p Period) Ends(index int64) time.Time {
	if p == Month {
		next := index + 1
		return time.Date(int(floorDiv(next, 12)), time.Month(next-12*floorDiv(next, 12)+1), 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Unix((index+1)*60, 0).UTC()
}

// Begins is the first instant of the window.
func (p Period) Begins(index int64) time.Time { return p.Ends(index - 1) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// MaxAmount is the largest amount. Sums saturate there, so that no request and
// no answer can make them overflow.
const MaxAmount int64 = 1 << 60

// Clamp brings an amount from outside into [0, MaxAmount]: what a caller asks
// for and what a backend reports may be any number.
func Clamp(n int64) int64 { return min(max(n, 0), MaxAmount) }

// addSaturating adds within [-MaxAmount, MaxAmount].
func addSaturating(a, b int64) int64 {
	switch {
	case b > 0 && a > MaxAmount-b:
		return MaxAmount
	case b < 0 && a < -MaxAmount-b:
		return -MaxAmount
	}
	return a + b
}

// mulSaturating multiplies two amounts that are not negative, up to MaxAmount.
func mulSaturating(a, b int64) int64 {
	if a != 0 && b > MaxAmount/a {
		return MaxAmount
	}
	return a * b
}

// moneyUnits is how many units of money a currency unit has: billionths, so
// that a cached token of the cheapest model is a whole number.
const moneyUnits = 1e9

// Money converts an amount of a currency into units. What is not a positive
// number is 0.
func Money(amount float64) int64 { return roundAmount(amount * moneyUnits) }

// Amount converts units of money into their currency.
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
