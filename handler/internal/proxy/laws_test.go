package proxy_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

// chaos draws what each backend does: it serves, fails, is throttled, refuses the
// connection, hangs, or is slow.
func chaos(w *world) func(slot, sent int) reaction {
	kinds := make([]int, len(w.pool.Backends))
	for i := range kinds {
		kinds[i] = w.random.IntN(7)
	}
	return func(slot, _ int) reaction {
		after := time.Duration(1+w.random.IntN(200)) * time.Millisecond
		kind := kinds[slot]
		if kind == 6 {
			kind = w.random.IntN(6)
		}
		switch kind {
		case 0:
			return reaction{after: after, outcome: health.Outcome{Class: health.Failed, Reason: "500"}, status: 500}
		case 1:
			wait := time.Duration(w.random.IntN(2500)) * time.Millisecond
			return reaction{after: after, outcome: health.Outcome{Class: health.Throttled, Wait: wait, Reason: "429"}, status: 429}
		case 2:
			return reaction{hangs: true}
		case 3:
			return reaction{after: after, outcome: health.Outcome{Class: health.Failed, Reason: "refused"}}
		case 4:
			return reaction{after: 40 * after}
		}
		return reaction{after: after}
	}
}

// Three hundred worlds: after every request each law holds.
func TestLawsOfOneRequest(t *testing.T) {
	served, refused, trials, hedges, waits := 0, 0, 0, 0, 0
	for seed := range uint64(300) {
		w := newWorld(seed, 1+int(seed%5))
		w.behaviour = chaos(w)
		for i := range w.health {
			switch w.random.IntN(5) {
			case 0:
				w.health[i].State, w.health[i].Until = health.Open, w.now.Add(time.Hour)
			case 1:
				w.health[i].Throttle.Until = w.now.Add(time.Duration(w.random.IntN(4000)) * time.Millisecond)
			}
		}
		w.finished = func(q *simulated) {
			if err := checkLaws(w, q); err != nil {
				t.Errorf("seed %d, request %d: %v", seed, len(w.requests), err)
			}
		}
		for range 30 {
			r := plain()
			if w.random.IntN(4) == 0 {
				r = acting()
			}
			w.arrive(time.Duration(w.random.IntN(5000))*time.Millisecond, r)
		}
		w.run()
		if err := oneTrialAtATime(w); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		for _, q := range w.requests {
			if !q.done {
				t.Fatalf("seed %d: a request never ended", seed)
			}
			if q.end.Err == nil {
				served++
			} else {
				refused++
			}
			for i := range q.sends {
				switch q.sends[i].as {
				case proxy.AsTrial:
					trials++
				case proxy.AsHedge:
					hedges++
				case proxy.InOrder, proxy.AsRepeat:
				}
			}
			if q.plan.Waited() > 0 {
				waits++
			}
		}
	}
	t.Logf("%d served, %d refused, %d trials, %d hedges, %d waited", served, refused, trials, hedges, waits)
	if min(served, refused, trials, hedges, waits) < 500 {
		t.Error("too few of one kind: the worlds show nothing")
	}
}

func checkLaws(w *world, q *simulated) error {
	return errors.Join(nobodyIsRefusedWhileOneIsLeft(w, q), eachBackendOnce(q), twoAtMost(q), whatActsIsNotDoneTwice(q), noRefusalWithoutATry(w, q), waitsAreBounded(w, q))
}

// No caller is refused while an untried backend with a closed circuit and no throttle
// is left.
func nobodyIsRefusedWhileOneIsLeft(w *world, q *simulated) error {
	if q.end.Err == nil || q.over || stoppedByAct(q) {
		return nil
	}
	for i := range w.pool.Backends {
		tried := false
		for k := range q.sends {
			tried = tried || int(q.sends[k].slot) == i
		}
		if !tried && w.health[i].SkipReason(w.now, 0) == health.NotSkipped {
			return fmt.Errorf("refused with %w although %s was not tried: %+v", q.end.Err, w.pool.Backends[i].Name, q.sends)
		}
	}
	return nil
}

func ambiguous(s *sentAttempt) bool {
	return s.outcome.Class == health.Failed && s.outcome.Reason == "500" || !s.ended
}

func stoppedByAct(q *simulated) bool {
	if !q.request.Parsed.Background {
		return false
	}
	for i := range q.sends {
		if ambiguous(&q.sends[i]) {
			return true
		}
	}
	return false
}

// Every backend is tried once, but for two repetitions, and one that was throttled at
// most three times.
func eachBackendOnce(q *simulated) error {
	repeats := 0
	for i := range q.sends {
		throttled, others := 0, 0
		for k := range i {
			switch {
			case q.sends[k].slot != q.sends[i].slot:
			case q.sends[k].outcome.Class == health.Throttled:
				throttled++
			case q.sends[k].as != proxy.AsRepeat:
				others++
			}
		}
		if q.sends[i].as == proxy.AsRepeat || q.sends[i].as == proxy.AsTrial && others > 0 {
			repeats++
			others = 0
		}
		if others > 0 || throttled >= 3 || repeats > 2 {
			return fmt.Errorf("attempt %d repeats slot %d: %+v", i, q.sends[i].slot, q.sends)
		}
	}
	return nil
}

func twoAtMost(q *simulated) error {
	if q.maxAlive > 2 {
		return fmt.Errorf("%d attempts at once", q.maxAlive)
	}
	return nil
}

// What acts is sent again only when it was surely not received.
func whatActsIsNotDoneTwice(q *simulated) error {
	if !q.request.Parsed.Background {
		return nil
	}
	for i := range q.sends {
		if i > 0 && ambiguous(&q.sends[i-1]) {
			return fmt.Errorf("a request that acts was sent again after %+v", q.sends[i-1])
		}
	}
	return nil
}

// Nobody is refused for an open circuit without an attempt of its own, unless it
// waited as long as it may and a trial failed meanwhile.
func noRefusalWithoutATry(w *world, q *simulated) error {
	if q.end.Err == nil || len(q.sends) > 0 {
		return nil
	}
	for i := range w.health {
		if w.health[i].State != health.Open || w.health[i].Throttle.Blocks(w.now, 0) {
			continue
		}
		if q.plan.Waited() < w.env.MaxWait || !someTrialFailed(w, q.began) {
			return fmt.Errorf("refused after %v without a try, with %w", q.plan.Waited(), q.end.Err)
		}
	}
	return nil
}

func someTrialFailed(w *world, since time.Time) bool {
	for _, q := range w.requests {
		for i := range q.sends {
			s := &q.sends[i]
			if s.as == proxy.AsTrial && (s.ended && s.outcome.Class == health.Failed && !s.endedAt.Before(since)) {
				return true
			}
		}
	}
	return false
}

// At a backend with an open circuit one request at a time tries, for no longer than its
// silence; but for those that have waited as long as they may.
func oneTrialAtATime(w *world) error {
	var exclusive []*sentAttempt
	for _, q := range w.requests {
		for i := range q.sends {
			if s := &q.sends[i]; s.as == proxy.AsTrial && s.waited < w.env.MaxWait {
				exclusive = append(exclusive, s)
			}
		}
	}
	for _, s := range exclusive {
		for _, o := range exclusive {
			if s != o && s.slot == o.slot && !o.at.Before(s.at) && o.at.Before(s.heldUntil()) {
				return fmt.Errorf("two trials at once: %+v and %+v", *s, *o)
			}
		}
	}
	return nil
}

func waitsAreBounded(w *world, q *simulated) error {
	if q.plan.Waited() > w.env.MaxWait+50*time.Millisecond {
		return fmt.Errorf("waited %v", q.plan.Waited())
	}
	return nil
}
