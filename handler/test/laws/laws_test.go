package laws_test

import (
	"errors"
	"fmt"
	"math"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/proxy"
)

// atMost is the largest plausible number of rare events.
func atMost(mean float64) int { return int(mean + 4*math.Sqrt(mean) + 3) }

func backgroundFailures(w *world) error {
	w.pass(max(3*w.answers, 2*time.Second)) // answers come as often as failures
	var errs []error
	var all []*call
	var chances float64
	for phase, share := range []float64{.005, .1, .1} {
		for k, b := range w.deployed {
			if b.fails, b.sends = share, nil; phase == 2 && k > 0 {
				b.fails = 0 // only the first fails
			}
		}
		calls := w.pass(w.long(400, max(4*time.Second, w.answers)))
		chance := float64(len(calls)) * math.Pow(share, float64(len(w.deployed)))
		all, chances = append(all, calls...), chances+chance
		errs = append(errs, w.keepsShare(share, len(calls)))
	}
	w.drain()
	return errors.Join(append(errs, refusedByChance(all, chances))...)
}

// refusedByChance reports more refusals than so many.
func refusedByChance(calls []*call, chances float64) error {
	if n := refusals(calls); n > atMost(chances) {
		return fmt.Errorf("%d of %d refused, %.1f by chance", n, len(calls), chances)
	}
	return nil
}

// coldStart: until the first answers come, failures are all that an instance sees of a
// backend that serves most of its requests.
func coldStart(w *world) error {
	for _, b := range w.deployed {
		b.fails = .1
	}
	calls := w.pass(w.long(400, 2*w.answers))
	err := w.keepsShare(.1, len(calls))
	w.drain()
	return errors.Join(err, refusedByChance(calls, float64(len(calls))*math.Pow(.1, float64(len(w.deployed)))))
}

// keepsShare reports a backend that was not the first choice of its share of requests.
func (w *world) keepsShare(share float64, calls int) error {
	for k, b := range w.deployed {
		fair := float64(calls) / float64(len(w.deployed))
		if n := b.firsts(0); float64(n) < .95*fair-4*math.Sqrt(fair) {
			return fmt.Errorf("%g failures: backend %d was the first choice of %d requests, fair are %.0f", share, k, n, fair)
		}
	}
	return nil
}

// firsts counts the requests whose first attempt was here, from instances of this
// number on.
func (b *backend) firsts(from int) (n int) {
	for _, s := range b.sends {
		if s.first && s.instance >= from {
			n++
		}
	}
	return n
}

func provisionedSpills(w *world) error {
	w.pass(max(3*w.answers, 2*time.Second))
	var errs []error
	for _, share := range []float64{.005, .1} {
		for _, b := range w.deployed {
			b.fails, b.sends = share, nil
		}
		calls := w.pass(w.long(400, max(4*time.Second, w.answers)))
		spilled := len(calls) - w.deployed[0].firsts(0)
		for _, c := range calls {
			if c.winner > 0 && len(c.tries) > 1 && c.tries[0].slot == 0 && c.tries[c.winner].slot != 0 {
				spilled++
			}
		}
		if most := atMost(share * float64(len(calls))); spilled > most {
			errs = append(errs, fmt.Errorf("%g failures: %d of %d requests spilled, more than %d", share, spilled, len(calls), most))
		}
	}
	return errors.Join(errs...)
}

// The defaults that open a circuit.
const (
	failures = 5
	interval = 10 * time.Second
)

// failingBackend: at most failures + under way + one for each instance are sent to it
// before it is left. What is sent before the verdict can arrive counts as under way.
func failingBackend(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	dead := w.deployed[0]
	dead.fails, dead.sends = 1, nil
	dead.left = 0
	calls := w.pass(w.long(2000, 5*time.Second))
	sent := dead.beforeLeft()
	toIt := w.rate * float64(w.size) / float64(len(w.deployed))
	own := failures + atMost(toIt/float64(w.size)*.1) // in a thick fleet, until each has seen enough itself
	underWay := min(w.size*own, atMost(toIt*(propagation.Seconds()+.1)))
	most := failures + w.size + underWay
	w.drain()
	return errors.Join(noneRefused(calls), limit("sent to a backend that fails", sent, most))
}

// beforeLeft counts the attempts before its circuit opened, and until the last
// instance knows.
func (b *backend) beforeLeft() (n int) {
	for i := range b.sends {
		if s := &b.sends[i]; s.ordinary() && (b.left == 0 || s.at < b.left+propagation) {
			n++
		}
	}
	return n
}

// propagation is how long a change takes to the last instance.
const propagation = 700 * time.Millisecond

func limit(what string, n, most int) error {
	if n > most {
		return fmt.Errorf("%d %s, at most %d expected", n, what, most)
	}
	return nil
}

func noneRefused(calls []*call) error {
	for _, c := range calls {
		if c.refused() {
			return fmt.Errorf("%d of %d refused, the first after %v with %w: %+v", refusals(calls), len(calls), c.took, c.err, c.tries)
		}
	}
	return nil
}

// threshold is when an attempt counts as silent.
func (w *world) threshold() time.Duration {
	return w.instances[0].env.Latency.Threshold(0, kind)
}

func silentBackend(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	dead := w.deployed[0]
	dead.hangs, dead.sends = 1, nil
	dead.left = 0
	threshold := w.threshold()
	calls := w.pass(w.long(2000, 4*threshold))
	sent := dead.beforeLeft()
	w.drain()
	arrives := w.rate * float64(w.size) / float64(len(w.deployed)) * threshold.Seconds()
	return errors.Join(
		noneRefused(calls), servedWithin(calls, 2*threshold+2*time.Second),
		limit("sent to a backend that never answers", sent, failures+w.size+atMost(2.5*arrives)),
	)
}

// silentOutage: after a time in which nothing anywhere answered, one backend does
// again. What still waits there from before does not keep others from being hedged to it.
func silentOutage(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	for _, b := range w.deployed {
		b.hangs = 1
	}
	w.pass(w.long(200, 20*time.Second))
	w.deployed[len(w.deployed)-1].hangs = 0
	w.pass(time.Second)
	threshold := w.threshold()
	calls := w.pass(w.long(300, 10*time.Second))
	w.drain()
	return errors.Join(noneRefused(calls), servedWithin(calls, 2*threshold+maxWait+time.Second))
}

// silentBesideOpen: one backend failed until its trips are long. Then it is well, and
// the other one is silent.
func silentBesideOpen(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	w.deployed[0].fails = 1
	w.pass(2 * time.Minute)
	w.deployed[0].fails, w.deployed[1].hangs = 0, 1
	threshold := w.threshold()
	calls := w.pass(w.long(300, 20*time.Second))
	w.drain()
	return errors.Join(noneRefused(calls), servedWithin(calls, 2*threshold+maxWait+time.Second))
}

func servedWithin(calls []*call, most time.Duration) error {
	if d := slowest(calls, 0); d > most {
		return fmt.Errorf("a request waited for %v, at most %v expected", d, most)
	}
	return nil
}

func partlySilentBackend(w *world) error {
	var errs []error
	for _, share := range []float64{.3, .5, .8} {
		w.deployed[0].hangs = share
		calls := w.pass(w.long(700, 3*time.Second))
		w.drain()
		if err := errors.Join(noneRefused(calls), servedWithin(calls, callerTimeout/2)); err != nil {
			errs = append(errs, fmt.Errorf("%g hang: %w", share, err))
		}
	}
	return errors.Join(errs...)
}

// brokenPaths: a third of the instances, at least one of several, cannot reach a backend.
func brokenPaths(w *world) error {
	broken := (w.size + 2) / 3
	if w.size == 1 {
		broken = 0
	}
	w.pass(w.long(200, 2*time.Second))
	w.deployed[0].brokenAt, w.deployed[0].sends = broken, nil
	calls := w.pass(w.long(2500, 5*time.Second))
	w.drain()
	others := 0
	for _, c := range calls {
		if c.i.number >= broken {
			others++
		}
	}
	fair := float64(others) / float64(len(w.deployed))
	err := noneRefused(calls)
	if n := w.deployed[0].firsts(broken); float64(n) < .95*fair-2*math.Sqrt(fair) {
		err = errors.Join(err, fmt.Errorf("the others sent %d requests to it, fair are %.0f", n, fair))
	}
	return err
}

func totalOutage(w *world) error {
	w.pass(w.long(100, 2*time.Second))
	for _, b := range w.deployed {
		b.fails = 1
	}
	failed := w.pass(w.long(700, 15*time.Second))
	for _, b := range w.deployed {
		b.fails = 0
	}
	w.run(w.now + 100*time.Millisecond) // what is on its way is refused
	served := w.pass(w.long(100, 2*time.Second))
	w.drain()
	errs := []error{noneRefused(served), servedWithin(served, maxWait+2*time.Second)}
	for _, c := range failed {
		if c.refused() && len(c.tries) == 0 && !trialFailed(failed, c) {
			errs = append(errs, fmt.Errorf("refused after %v without an attempt", c.took))
			break
		}
	}
	return errors.Join(errs...)
}

// trialFailed reports whether a trial of its instance was made while the request
// waited as long as it may.
func trialFailed(calls []*call, waited *call) bool {
	if waited.took < maxWait-10*time.Millisecond { // the process's clock may be fast
		return false
	}
	for _, s := range waited.w.deployed {
		for _, a := range s.sends {
			if a.as == proxy.AsTrial && a.instance == waited.i.number && a.at < waited.began+waited.took && a.at+time.Second > waited.began {
				return true
			}
		}
	}
	return false
}

// slowness: every answer takes a hundred times as long as before.
func slowness(w *world) error {
	w.pass(w.long(100, 2*time.Second))
	for _, b := range w.deployed {
		b.takes = 100 * usualAnswer
	}
	calls := w.pass(w.long(700, 30*time.Second))
	w.drain()
	slow := 0
	for _, c := range calls {
		if c.refused() && c.took < callerTimeout-time.Second {
			slow++
		}
	}
	return limit("refused although everything was only slow", slow, 0)
}

func singleRefusal(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	var errs []error
	for _, status := range []int{401, 404} {
		for _, b := range w.deployed {
			b.sends = nil
		}
		w.deployed[0].next = []int{status}
		calls := w.pass(w.long(500, 10*time.Second))
		w.drain()
		detours := len(calls)
		for _, b := range w.deployed {
			detours -= b.firsts(0)
		}
		for _, c := range calls {
			if len(c.tries) > 1 {
				detours++
			}
		}
		errs = append(errs, noneRefused(calls), limit("detours", detours, 1), w.keepsShare(0, len(calls)))
		if n := w.trips(); n > 0 {
			errs = append(errs, fmt.Errorf("%d circuits opened", n))
		}
	}
	return errors.Join(errs...)
}

// emptyRow: two refreshes after the first success the row holds no record. The success
// itself takes an answer, its publication a write.
func emptyRow(w *world) error {
	w.pass(w.long(100, 2*time.Second))
	b := w.deployed[0]
	b.fails = 1
	w.pass(w.long(1000, 15*time.Second))
	if w.mutant != neverHeals {
		b.fails = 0
	}
	b.sends = nil
	w.load(7*time.Minute, w.rate, own, nil)
	for end := w.now + 6*time.Minute; len(b.sends) == 0 && w.now < end; {
		w.run(w.now + 100*time.Millisecond)
	}
	from := w.now
	for w.records() > 0 {
		w.run(w.now + 100*time.Millisecond)
		if w.now > from+time.Minute {
			return fmt.Errorf("%d records a minute after the recovery", w.records())
		}
	}
	return nil
}

// A consumer whose requests fail or hang refuses nobody else. Where its share opens a
// circuit, a request of another waits for one of its trials at most.

func consumerThatFails(w *world) error {
	return w.besides(&reaction{status: 500, after: time.Second}, 3*w.rate, time.Second)
}

func consumerThatHangs(w *world) error {
	return w.besides(&reaction{hangs: true}, w.rate, w.threshold())
}

// besides compares the requests of one consumer without and with those of another.
func (w *world) besides(other *reaction, rate float64, trial time.Duration) error {
	d := w.long(600, 10*time.Second)
	if w.during == nil {
		w.during = func(time.Duration) {}
	} else {
		d = min(d, 30*time.Second)
	}
	w.during(d)
	alone := w.pass(d)
	w.drain()
	name := "other"
	if w.mutant == oneConsumer {
		name = own.Name
	}
	w.during(d)
	w.load(d, rate, &consumer.Consumer{Name: name}, other)
	var mine []*call
	for _, c := range w.pass(d) {
		if c.caller == own {
			mine = append(mine, c)
		}
	}
	w.drain()
	err := noneRefused(mine)
	if before, now := slowest(alone, .01), slowest(mine, .01); now > before+trial+300*time.Millisecond {
		err = errors.Join(err, fmt.Errorf("p99 is %v, was %v", now, before))
	}
	return err
}

func suspension(w *world) error {
	for _, d := range []time.Duration{5 * time.Second, 5 * time.Minute} {
		w.pass(w.long(200, 2*time.Second))
		w.instances[0].frozen = w.now + d
		w.pass(min(w.long(500, 5*time.Second), d))
		w.run(max(w.instances[0].frozen, w.now))
		w.pass(w.long(200, 10*time.Second))
		if n := w.trips(); n > 0 {
			return fmt.Errorf("%d circuits opened after %v", n, d)
		}
	}
	return nil
}
