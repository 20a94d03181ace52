package proxy_test

import (
	"testing"
	"time"

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
}
