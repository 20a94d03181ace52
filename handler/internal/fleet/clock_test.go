package fleet

import (
	"math/rand/v2"
	"testing"
	"time"
)

// exchangeAt adds the sample of one exchange. sent is a true instant; the response
// is dated halfway through the trip.
func exchangeAt(c *serviceClock, sent, trip time.Duration, local func(time.Duration) clockReading) {
	date := epoch0.Add(sent + trip/2).Truncate(time.Second)
	c.addSample(date, local(sent), local(sent+trip))
}

// skewed returns local clocks that are off by skew and drift by ppm.
func skewed(skew time.Duration, ppm float64) func(time.Duration) clockReading {
	return func(true_ time.Duration) clockReading {
		local := time.Duration(float64(true_)*(1+ppm/1e6)) + skew
		return clockReading{local: local, wall: local + 17*time.Minute}
	}
}

func TestClockBoundsNarrowToATenthOfASecond(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, 48 * time.Hour} {
		local := skewed(skew, 80)
		var c serviceClock
		if _, ok := c.bounds(local(0)); ok {
			t.Fatal("the zero clock has bounds")
		}
		now := time.Duration(0)
		for range 240 { // two minutes of refreshes
			now += 400*time.Millisecond + time.Duration(r.Int64N(int64(200*time.Millisecond)))
			exchangeAt(&c, now, time.Duration(2+r.Int64N(20))*time.Millisecond, local)
			bounds, ok := c.bounds(local(now + time.Second))
			if truth := epoch0.Add(now + time.Second).UnixMilli(); !ok || truth < bounds.Earliest || truth > bounds.Latest {
				t.Fatalf("skew %v: it is %d, the bounds are %+v, %v", skew, truth, bounds, ok)
			}
		}
		if w := c.uncertainty(); w > 180*time.Millisecond {
			t.Errorf("skew %v: known within %v after two minutes, want about a tenth of a second", skew, w)
		}
		if off := (c.toLocal(epoch0.Add(now).UnixMilli()) - local(now).local).Abs(); off > 90*time.Millisecond {
			t.Errorf("skew %v: the estimate is %v off", skew, off)
		}
	}
}

func TestClockIsUnknownAfterSuspension(t *testing.T) {
	local := skewed(time.Minute, 0)
	var c serviceClock
	for i := range 20 {
		exchangeAt(&c, time.Duration(i)*530*time.Millisecond, 5*time.Millisecond, local)
	}
	slept := func(d time.Duration) func(time.Duration) clockReading { // the monotonic clock stood still, the wall clock did not
		return func(true_ time.Duration) clockReading {
			r := local(true_)
			return clockReading{local: r.local - d, wall: r.wall}
		}
	}
	now := 11 * time.Second
	if _, ok := c.bounds(slept(5 * time.Second)(now)); ok {
		t.Error("bounds after a suspension of 5 s")
	}
	bounds, ok := c.bounds(slept(200 * time.Millisecond)(now))
	if truth := epoch0.Add(now).UnixMilli(); !ok || truth < bounds.Earliest || truth > bounds.Latest {
		t.Errorf("suspended for 200 ms: %+v, %v at %d; want wider bounds", bounds, ok, truth)
	}
	exchangeAt(&c, now, 5*time.Millisecond, slept(5*time.Second))
	bounds, ok = c.bounds(slept(5 * time.Second)(now))
	if truth := epoch0.Add(now).UnixMilli(); !ok || truth < bounds.Earliest || truth > bounds.Latest || c.resets != 1 {
		t.Errorf("after one response: %+v, %v, %d resets; want bounds again", bounds, ok, c.resets)
	}
}

// A clock that is set during an exchange would give wrong bounds.
func TestSampleIsIgnoredWhenAClockWasSet(t *testing.T) {
	local := skewed(0, 0)
	var c serviceClock
	before, after := local(time.Second), local(1005*time.Millisecond)
	after.local -= 3 * time.Second
	c.addSample(epoch0.Add(time.Second), before, after)
	if _, ok := c.bounds(after); ok {
		t.Error("bounds from an exchange during which a clock was set")
	}
	c.addSample(time.Time{}, before, before)
	if _, ok := c.bounds(before); ok {
		t.Error("bounds from a response without a date")
	}
}

func TestWindowCounterCountsRecentEvents(t *testing.T) {
	counter := newWindowCounter(10*time.Second, 16)
	for now := time.Duration(0); now < time.Minute; now += 100 * time.Millisecond {
		counter.add(now, 1)
	}
	if got := counter.since(50*time.Second, time.Minute); got < 95 || got > 107 {
		t.Errorf("%d in the last 10 s, want 100 to within a slice", got)
	}
	counter.add(-time.Second, 1) // a clock set back to before the start must be harmless
	counter.clear()
	if got := counter.since(0, time.Minute); got != 0 {
		t.Errorf("%d after it was cleared", got)
	}
}
