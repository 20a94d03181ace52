package proxy_test

import (
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

func of(name string) *proxy.Request { return &proxy.Request{Consumer: &consumer.Consumer{Name: name}} }

// refusalsOf sends requests of two consumers in turn, of which those of the first are
// refused by one backend, and returns how often each consumer's were sent there.
func refusalsOf(t *testing.T, refusal reaction) (first, second int) {
	t.Helper()
	w := newWorld(1, 2)
	w.pool.Backends[1].Priority = 2
	began := w.now
	isFirst := func() bool { return int(w.now.Sub(began)/time.Second)%2 == 0 }
	w.behaviour = func(slot, _ int) reaction {
		switch {
		case slot == 0 && isFirst():
			first++
			return refusal
		case slot == 0:
			second++
		}
		return reaction{after: 10 * time.Millisecond}
	}
	for i := range 40 {
		name := "first"
		if i%2 == 1 {
			name = "second"
		}
		w.arrive(time.Duration(i)*time.Second+time.Millisecond, of(name))
	}
	w.run()
	if w.errs() != 0 {
		t.Errorf("%d requests were refused", w.errs())
	}
	return first, second
}

// What a request holds may be why a backend refuses it: that is counted for its
// consumer alone.
func TestRefusalsOfOneConsumerBindNoOther(t *testing.T) {
	unsupported := reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "operation not supported"}, status: 400}
	first, second := refusalsOf(t, unsupported)
	if second != 20 || first < 2 || first > 6 {
		t.Errorf("the backend got %d requests of the consumer that it refuses, and %d of 20 of the other", first, second)
	}
}

// A deployment that is gone is gone for all.
func TestRetiredDeploymentIsLeftByAll(t *testing.T) {
	w := newWorld(1, 2)
	w.pool.Backends[1].Priority = 2
	w.behaviour = always(reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "retired"}, status: 410}, reaction{after: time.Millisecond})
	for i := range 10 {
		w.arrive(time.Duration(i)*400*time.Millisecond, of(string(rune('a'+i))))
	}
	w.run()
	if w.errs() != 0 || w.sentTo[0] != 2 {
		t.Errorf("%d refused, sent %v: want two requests at the retired deployment, then none for ten seconds", w.errs(), w.sentTo)
	}
	last := w.requests[len(w.requests)-1].plan.Decision()
	if c := last.Candidates[len(last.Candidates)-1]; c.Reason != balancer.UnfitForOperation || c.Cause != "retired" {
		t.Errorf("the last one passed over %q (%q), want why the backend is unfit", c.Reason, c.Cause)
	}
}

var unauthorized = reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "401"}, status: 401}

// Each backend refuses a tenth of all requests: nobody is refused whom not all refused,
// although every backend refuses one now and then.
func TestRandomRefusalsAreAskedElsewhere(t *testing.T) {
	w := newWorld(3, 3)
	w.behaviour = func(int, int) reaction {
		if w.random.Float64() < 0.1 {
			return unauthorized
		}
		return serves
	}
	for i := range 8000 {
		w.arrive(time.Duration(i)*12*time.Millisecond, plain())
	}
	w.run()
	both := 0
	for _, q := range w.requests {
		if q.end.Err == nil {
			continue
		}
		both++
		if len(q.sends) != 3 {
			t.Errorf("refused after %d attempts", len(q.sends))
		}
	}
	if both == 0 {
		t.Error("no request was refused by all, which is what is to be forgotten")
	}
}

// Every backend refuses one caller's requests for what they hold; then one does not
// accept our credential any more, and the other serves.
func TestRefusalsOfOddRequestsAreNotThoseOfOthers(t *testing.T) {
	w := newWorld(4, 2)
	w.pool.Backends[1].Priority = 2
	began := w.now
	odd := func() bool { return w.now.Sub(began)%(500*time.Millisecond) < 5*time.Millisecond }
	w.behaviour = func(slot, _ int) reaction {
		switch {
		case slot == 0 && w.now.Sub(began) > 3*time.Second:
			return unauthorized
		case odd():
			return reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "operation not supported"}, status: 400}
		}
		return reaction{after: time.Millisecond}
	}
	for i := range 600 {
		w.arrive(time.Duration(i)*25*time.Millisecond+time.Microsecond, plain())
	}
	w.run()
	for i, q := range w.requests {
		if isOdd := i%20 == 0; isOdd != (q.end.Err != nil) {
			t.Errorf("request %d after %v: %v after %d attempts", i, q.began.Sub(began), q.end.Err, len(q.sends))
		}
		if q.end.Err != nil && q.sends[q.end.Try].status != 400 {
			t.Errorf("request %d gets a %d, want what was said about it", i, q.sends[q.end.Try].status)
		}
	}
}

// What was remembered of a backend is another word than this one.
func TestAnotherRefusalIsAskedElsewhere(t *testing.T) {
	w := newWorld(5, 3)
	gone := reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "retired"}, status: 410}
	w.behaviour = always(unauthorized, gone, unauthorized)
	for i := range w.pool.Backends {
		w.pool.Backends[i].Priority = i + 1
	}
	for i, want := range []int{3, 3} {
		q := w.arrive(0, plain())
		w.noBudgets = true
		w.run()
		if len(q.sends) != want {
			t.Errorf("request %d: %d attempts, want %d", i, len(q.sends), want)
		}
	}
}
