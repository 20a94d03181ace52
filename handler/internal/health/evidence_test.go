package health

import (
	"testing"
	"time"
)

// evidenceOf has one failed attempt at each of these seconds, numbered from 1 on.
// Each began a second before it failed.
func evidenceOf(seconds ...float64) *Evidence {
	var e Evidence
	for i, s := range seconds {
		e.Fail(Permit{ID: uint64(i + 1)}, Outcome{}, secs(s-1), secs(s), 0)
	}
	return &e
}

func secs(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// repeated is n failures at that second.
func repeated(n int, second float64) (seconds []float64) {
	for range n {
		seconds = append(seconds, second)
	}
	return seconds
}

// A circuit opens by a share of a number, or by an unbroken run.
func TestEvidenceOpensTheCircuit(t *testing.T) {
	p := BreakerPolicy{Failures: 5, Interval: 10 * time.Second, Percentage: 50}.WithDefaults()
	for name, c := range map[string]struct {
		failures   []float64
		now        float64
		served     int64
		lastServed float64
		want       bool
	}{
		"none":                                  {nil, 100, 0, 0, false},
		"four failures and nothing else":        {repeated(4, 100), 100, 0, 0, false},
		"five failures and nothing else":        {repeated(5, 100), 100, 0, 0, true},
		"five failures of ten, one served last": {repeated(5, 100), 100, 5, 100, true},
		"five failures of eleven":               {repeated(5, 100), 100, 6, 100, false},
		"fifty failures of ten thousand":        {repeated(50, 100), 100, 9950, 100, false},
		"the last five of eleven":               {repeated(5, 100), 100, 6, 99, true},
		"the last four of five hundred":         {repeated(4, 100), 100, 496, 99, false},
		"five just within the interval":         {repeated(5, 90.001), 100, 5, 99, true},
		"five that just left it":                {repeated(5, 90), 100, 5, 99, false},
		"a run of five over nine minutes":       {[]float64{60, 200, 300, 400, 599}, 600, 0, 0, true},
		"a run of five, the first too old":      {[]float64{60, 200, 300, 400, 661}, 661, 0, 0, false},
		"a run that a success broke":            {[]float64{60, 200, 300, 400, 599}, 600, 0, 250, false},
		"a run that began after the success":    {[]float64{260, 270, 300, 400, 599}, 600, 0, 250, true},
		"a failure at the instant of success":   {[]float64{250, 270, 300, 400, 599}, 600, 0, 250, false},
	} {
		if got := evidenceOf(c.failures...).Opens(secs(c.now), Successes{Lately: c.served, Last: secs(c.lastServed)}, p); got != c.want {
			t.Errorf("%s: opens = %v, want %v", name, got, c.want)
		}
	}
	one := BreakerPolicy{Failures: 1, Percentage: 100}.WithDefaults()
	if !evidenceOf(100).Opens(secs(100), Successes{Lately: 100, Last: secs(99)}, one) {
		t.Error("under a policy of one failure, one failure does not open the circuit")
	}
	many := BreakerPolicy{Failures: 200}.WithDefaults()
	if e := evidenceOf(repeated(200, 100)...); !e.Opens(secs(100), Successes{Lately: 100, Last: secs(100)}, many) {
		t.Error("under a policy of 200 failures, 200 of 300 do not open the circuit")
	}
}

func TestEvidenceOfFewFailuresIsASuspicion(t *testing.T) {
	p := BreakerPolicy{}.WithDefaults()
	for name, c := range map[string]struct {
		failures []float64
		served   int64
		want     bool
	}{
		"none":                    {nil, 0, false},
		"one of one":              {repeated(1, 99), 0, true},
		"one of two":              {repeated(1, 99), 1, true},
		"one of three":            {repeated(1, 99), 2, false},
		"one, out of the window":  {repeated(1, 90), 0, false},
		"four of nine":            {repeated(4, 99), 5, false},
		"four of eight":           {repeated(4, 99), 4, true},
		"old ones count no share": {[]float64{80, 81, 82, 99}, 2, false},
	} {
		if got := evidenceOf(c.failures...).Suspects(secs(100), c.served, p); got != c.want {
			t.Errorf("%s: suspects = %v, want %v", name, got, c.want)
		}
	}
}

// Only an instance whose last outcome was a recent success is being served.
func TestEvidenceIsFresh(t *testing.T) {
	p := BreakerPolicy{}.WithDefaults()
	for name, c := range map[string]struct {
		failures   []float64
		served     int64
		lastServed float64
		want       bool
	}{
		"never served":                              {nil, 0, 0, false},
		"served ten seconds ago":                    {nil, 1, 90, true},
		"served longer ago":                         {nil, 1, 89.999, false},
		"failed since":                              {repeated(1, 96), 100, 95, false},
		"served since the failure":                  {repeated(1, 96), 100, 97, true},
		"served since, but half of all fail":        {repeated(3, 96), 3, 97, false},
		"served since, and just below half failed":  {repeated(3, 96), 4, 97, true},
		"served at the very instant of the failure": {repeated(1, 96), 100, 96, true},
	} {
		if got := evidenceOf(c.failures...).Fresh(secs(100), c.served, secs(c.lastServed), 10*time.Second, p); got != c.want {
			t.Errorf("%s: fresh = %v, want %v", name, got, c.want)
		}
	}
}

func TestFailuresAreTakenBack(t *testing.T) {
	p := BreakerPolicy{}.WithDefaults()
	e := evidenceOf(repeated(5, 100)...)
	if !e.TakeBack(3) || e.TakeBack(3) || e.TakeBack(9) {
		t.Error("a failure was not taken back, twice, or one that is not there was")
	}
	if e.Opens(secs(100), Successes{}, p) {
		t.Error("the circuit opens by four failures and one that was taken back")
	}
	if n, first := e.Since(secs(99)); n != 4 || first != secs(100) {
		t.Errorf("%d failures since, the first at %v", n, first)
	}
	if e.LastFailed() != secs(100) {
		t.Errorf("the last failure was at %v", e.LastFailed())
	}
	e.Clear()
	if n, _ := e.Since(0); n != 0 {
		t.Errorf("%d failures after they were cleared", n)
	}
}

// The failure of a request that failed everywhere is the request's own where
// somebody else was served since it began, or as soon as somebody is.
func TestFailureEverywhereIsTheRequestsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		lastServed     float64 // when it is known that it failed everywhere
		left           int     // failures at once
		leftWhenServed int     // … and after the next success
	}{
		"nobody was served":             {0, 2, 1},
		"somebody was, before it began": {98.999, 2, 1},
		"somebody was, as it began":     {99, 1, 1},
		"somebody was, while it failed": {99.5, 1, 1},
		"somebody was, since it failed": {100.5, 1, 1},
	} {
		e := evidenceOf(100, 100.2) // the first is the request's, the second another's
		e.FailedEverywhere(1, secs(c.lastServed))
		if n, _ := e.Since(0); n != c.left || e.Awaits() != (c.left == 2) {
			t.Errorf("%s: %d failures, awaits a success %v", name, n, e.Awaits())
		}
		if any := e.Served(); any != (c.left > c.leftWhenServed) {
			t.Errorf("%s: a success takes back %v", name, any)
		}
		if n, _ := e.Since(0); n != c.leftWhenServed || e.Awaits() {
			t.Errorf("%s: %d failures after a success, want those of other requests", name, n)
		}
	}
	e := evidenceOf(100)
	e.FailedEverywhere(7, secs(200))
	if n, _ := e.Since(0); n != 1 {
		t.Errorf("%d failures after the request of another attempt failed everywhere", n)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	var e Evidence
	for i := range 3 * maxFailures {
		e.Fail(Permit{ID: uint64(i)}, Outcome{}, secs(0), time.Duration(i)*time.Millisecond, 0)
	}
	if n, first := e.Since(-1); n != maxFailures || first != time.Duration(2*maxFailures)*time.Millisecond {
		t.Errorf("%d failures since %v, want the latest %d", n, first, maxFailures)
	}
	e.Fail(Permit{}, Outcome{}, secs(0), secs(1000), 0) // those of before ten minutes ago go
	if n, _ := e.Since(-1); n != 1 {
		t.Errorf("%d failures, want those of ten minutes", n)
	}
}

// Where answers take longer than failures, the first outcomes are failures: half of
// few outcomes fail by chance.
func TestAttemptsUnderWayMayBeServed(t *testing.T) {
	p := BreakerPolicy{Failures: 5, Percentage: 50, Interval: 10 * time.Second}
	for _, c := range []struct {
		failures           int
		older              int64
		opens, isSuspicion bool
	}{{5, 0, true, true}, {5, 1, false, true}, {5, 6, false, false}, {10, 1, true, true}, {10, 10, true, true}, {10, 11, false, false}} {
		var e Evidence
		for i := range c.failures {
			e.Fail(Permit{ID: uint64(i + 1)}, Outcome{}, secs(99), secs(100), c.older)
		}
		if e.Opens(secs(100), Successes{}, p) != c.opens || e.Suspects(secs(100), 0, p) != c.isSuspicion {
			t.Errorf("%d failures, %d older attempts under way: opens %t, suspects %t", c.failures, c.older, !c.opens, !c.isSuspicion)
		}
	}
}

// Six requests fall silent at once, and one that began after them was served.
func TestRunIsOfWhatBeganAfterTheLastServed(t *testing.T) {
	p := BreakerPolicy{Failures: 5, Percentage: 50, Interval: 10 * time.Second}
	var e Evidence
	for i := range 6 {
		e.Fail(Permit{ID: uint64(i + 1)}, Outcome{}, secs(90), secs(100), 0)
	}
	for latest, want := range map[float64]bool{0: true, 90: true, 99: false} {
		if got := e.Opens(secs(100), Successes{Lately: 50, Last: secs(99.9), LatestBegan: secs(latest)}, p); got != want {
			t.Errorf("the latest that was served began at %g s: opens %t", latest, got)
		}
	}
}

// Where answers break off while new ones begin, no first content ends the run.
func TestAnswersThatBreakOffOpenTheCircuit(t *testing.T) {
	p := BreakerPolicy{}.WithDefaults()
	for name, c := range map[string]struct {
		broke []uint64 // orders of the attempts that broke off, in the order of time
		ended uint64   // of the latest that came to its end
		age   float64  // of the first break, seconds; the last is of now
		want  bool
	}{
		"all that began":                      {[]uint64{101, 102, 103, 104, 105}, 100, 1, true},
		"one fewer":                           {[]uint64{102, 103, 104, 105}, 100, 1, false},
		"one in between came to its end":      {[]uint64{101, 102, 103, 104, 106}, 105, 1, false},
		"one in between may be served":        {[]uint64{101, 102, 103, 104, 106}, 100, 1, false},
		"as many may be served":               {[]uint64{101, 103, 105, 107, 109, 111, 113, 115, 117, 119}, 100, 1, true},
		"more may be served":                  {[]uint64{101, 104, 107, 110, 113, 116, 119, 122, 125, 128}, 100, 1, false},
		"those under way from before":         {[]uint64{201, 202, 203, 204, 205}, 100, 1, true},
		"out of order":                        {[]uint64{105, 102, 103, 101, 104}, 100, 1, true},
		"rare requests":                       {[]uint64{101, 102, 103, 104, 105}, 100, 599, true},
		"the first is older than ten minutes": {[]uint64{101, 102, 103, 104, 105}, 100, 601, false},
	} {
		var e Evidence
		for i, order := range c.broke {
			at := secs(1000 - c.age)
			if i > 0 {
				at = secs(1000)
			}
			e.Fail(Permit{ID: order, Order: order}, Outcome{Answered: true}, at-secs(.1), at, 0)
		}
		s := Successes{Lately: 400, Last: secs(1000), LatestBegan: secs(999.99), Ended: c.ended}
		if got := e.Opens(secs(1000), s, p); got != c.want {
			t.Errorf("%s: opens is %v", name, got)
		}
	}
}
