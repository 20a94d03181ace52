package admin

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/health"
)

func TestRatesForgetOldIntervals(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	var m rates
	for i := range 120 {
		m.add(began.Add(time.Duration(i)*time.Second), counts{Attempts: 1, Tokens: 10}, 100*time.Millisecond)
	}
	last := began.Add(119 * time.Second)
	for _, step := range []struct {
		after    time.Duration
		from, to int64
	}{{0, 55, 60}, {30 * time.Second, 25, 30}, {61 * time.Second, 0, 0}, {24 * time.Hour, 0, 0}} {
		c, h := m.sum(last.Add(step.after))
		if c.Attempts < step.from || c.Attempts > step.to || c.Tokens != 10*c.Attempts || h.total() != uint64(c.Attempts) {
			t.Errorf("%v later: %+v, want %d to %d attempts", step.after, c, step.from, step.to)
		}
	}
}

func TestRatesSurviveClockChanges(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	var m rates
	m.add(began, counts{Attempts: 1}, noFirstToken)
	m.add(began.Add(-50*time.Second), counts{Attempts: 1}, noFirstToken) // late, in an interval that is kept
	m.add(began.Add(-time.Minute), counts{Attempts: 1}, noFirstToken)    // late, in an interval that was replaced
	if c, _ := m.sum(began); c.Attempts != 2 {
		t.Errorf("%d attempts, want the two of the last minute", c.Attempts)
	}
	back := began.Add(-24 * time.Hour)
	m.add(back, counts{Attempts: 5}, noFirstToken)
	if c, _ := m.sum(back); c.Attempts != 5 {
		t.Errorf("after the clock was set back by a day, %d attempts, want 5", c.Attempts)
	}
}

// Percentiles are within 9 %, also those of the added counts of two instances.
func TestHistogramsOfInstancesAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var one, two, both histogram
	var exact []float64
	for i := range 4000 {
		ms := math.Exp(r.NormFloat64() + 6)
		exact = append(exact, ms)
		d := time.Duration(ms * float64(time.Millisecond))
		both[bucketOf(d)]++
		if i%3 == 0 {
			one[bucketOf(d)]++
		} else {
			two[bucketOf(d)]++
		}
	}
	var sum histogram
	for i := range sum {
		sum[i] = one[i] + two[i]
	}
	if sum != both {
		t.Error("the sum of two is not that of all")
	}
	slices.Sort(exact)
	for _, q := range []float64{0.05, 0.5, 0.95, 0.99} {
		want := exact[int(math.Ceil(q*4000))-1]
		if got := both.quantile(q); math.Abs(got-want)/want > 0.095 {
			t.Errorf("p%v: %v ms, want %v within 9 %%", 100*q, got, want)
		}
	}
	if none := (&histogram{}); none.quantile(0.5) != 0 || len(none.sparse()) != 0 {
		t.Error("nothing has a percentile")
	}
}

func TestEveryDurationHasABucket(t *testing.T) {
	last := 0
	for _, d := range []time.Duration{-1, 0, 1, time.Millisecond, 2 * time.Millisecond, time.Second, time.Minute, time.Hour, 1 << 62} {
		b := bucketOf(d)
		if b < last || b >= buckets {
			t.Errorf("%v is in bucket %d, after %d", d, b, last)
		}
		last = b
	}
}

func TestUtilizationExpiresAfterAMinute(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	signals := func(utilization float64, remaining, limit int64) health.Signals {
		return health.Signals{Utilization: utilization, RemainingTokens: remaining, RemainingRequests: -1, LimitTokens: limit}
	}
	for name, c := range map[string]struct {
		s    health.Signals
		want float64
		ok   bool
	}{
		"a PTU":                    {signals(97.5, -1, -1), 97.5, true},
		"over the brim":            {signals(104, -1, -1), 104, true},
		"tokens left of a limit":   {signals(-1, 20_000, 80_000), 75, true},
		"more left than the limit": {signals(-1, 90_000, 80_000), 0, true},
		"a limit of -1":            {signals(-1, 20_000, -1), 0, false},
		"nothing":                  {health.NoSignals(), 0, false},
		"no attempt at all":        {health.Signals{}, 0, false},
	} {
		var f utilization
		f.record(at, c.s)
		if got, ok := f.current(at.Add(time.Second)); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v, want %v, %v", name, got, ok, c.want, c.ok)
		}
		if _, ok := f.current(at.Add(61 * time.Second)); ok {
			t.Errorf("%s: still known after a minute", name)
		}
	}
}
