package proxy_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

var (
	serves    = reaction{after: 100 * time.Millisecond}
	fails     = reaction{after: 10 * time.Millisecond, outcome: health.Outcome{Class: health.Failed, Reason: "500"}, status: 500}
	forbidden = reaction{after: 10 * time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "403"}, status: 403}
	hangs     = reaction{hangs: true}
)

func always(by ...reaction) func(int, int) reaction {
	return func(slot, _ int) reaction { return by[slot] }
}

func (w *world) open(slots ...int) {
	for _, s := range slots {
		w.health[s].State, w.health[s].Until = health.Open, w.now.Add(time.Hour)
	}
}

func (w *world) errs() (refused int) {
	for _, q := range w.requests {
		if q.end.Err != nil {
			refused++
		}
	}
	return refused
}

func TestTrialFindsTheBackendThatIsWellAgain(t *testing.T) {
	w := newWorld(1, 1)
	w.open(0)
	began := w.now
	w.behaviour = func(int, int) reaction {
		if w.now.Sub(began) < time.Second {
			return fails
		}
		return serves
	}
	for i := range 200 {
		w.arrive(time.Duration(i)*10*time.Millisecond, plain())
	}
	w.run()
	for _, q := range w.requests {
		if q.end.Err != nil && q.began.Sub(began) > time.Second {
			t.Errorf("a request of %v was refused", q.began.Sub(began))
		}
	}
	if w.errs() == 0 || w.errs() > 110 {
		t.Errorf("%d refused: those whose own trial failed, and nobody else", w.errs())
	}
}

func TestEveryRequestIsServedThoughAllCircuitsAreOpen(t *testing.T) {
	w := newWorld(2, 3)
	w.open(0, 1, 2)
	w.behaviour = always(fails, serves, fails)
	for range 100 {
		w.arrive(0, plain())
	}
	w.run()
	if w.errs() != 0 {
		t.Errorf("%d of 100 were refused, though b serves", w.errs())
	}
	if err := oneTrialAtATime(w); err != nil || w.sentTo[0] > 11 || w.sentTo[2] > 11 {
		t.Errorf("sent %v, %v: want one trial after the other at those that fail, until b answers", w.sentTo, err)
	}
}

func TestPendingTrialRefusesNobody(t *testing.T) {
	w := newWorld(3, 1)
	w.open(0)
	w.behaviour = func(_, sent int) reaction {
		if sent == 0 {
			return hangs
		}
		return serves
	}
	w.arrive(0, plain())
	for range 10 {
		w.arrive(time.Millisecond, plain())
	}
	w.run()
	for _, q := range w.requests[1:] {
		if q.end.Err != nil || q.ended.Sub(q.began) > 2*time.Second+200*time.Millisecond {
			t.Errorf("%v after %v: want it to try for itself after two seconds", q.end.Err, q.ended.Sub(q.began))
		}
	}
}

func TestTrialIsHeldNoLongerThanItsSilence(t *testing.T) {
	w := newWorld(3, 1)
	w.open(0)
	w.env.MaxWait = 10 * time.Second
	w.usual(100*time.Millisecond, 0)
	w.behaviour = func(_, sent int) reaction {
		if sent == 0 {
			return hangs
		}
		return serves
	}
	w.arrive(0, plain())
	for range 10 {
		w.arrive(time.Millisecond, plain())
	}
	w.run()
	for _, q := range w.requests[1:] {
		if took := q.ended.Sub(q.began); q.end.Err != nil || took > 2*time.Second+400*time.Millisecond {
			t.Errorf("%v after %v, want the next trial when the first fell silent", q.end.Err, took)
		}
	}
}

func TestStalledProcessReportsNoSilence(t *testing.T) {
	w := newWorld(6, 2)
	w.behaviour = always(hangs, serves)
	q := w.arrive(0, plain())
	w.usual(100*time.Millisecond, 0)
	for q.plan == nil || len(q.sends) == 0 {
		w.runOne()
	}
	w.now = w.now.Add(time.Minute) // the process stood still
	a := q.plan.Step(w.now, proxy.Event{Kind: proxy.AttemptLate})
	if a.Kind != proxy.Await || w.silent != 0 {
		t.Errorf("%+v, %d silences: want it to look again", a, w.silent)
	}
	w.now = w.now.Add(proxy.LookAgain)
	if a := q.plan.Step(w.now, proxy.Event{Kind: proxy.AttemptLate}); a.Kind != proxy.Send || w.silent != 1 {
		t.Errorf("%+v, %d silences: want a hedge", a, w.silent)
	}
}

func TestReopenedPoolIsTriedByOneFirst(t *testing.T) {
	w := newWorld(7, 1)
	w.health[0].Throttle.Until = w.now.Add(time.Second)
	for range 100 {
		w.arrive(0, plain())
	}
	began, alive, most := w.now, 0, 0
	var first time.Time
	w.behaviour = func(int, int) reaction {
		if first.IsZero() {
			first = w.now
		}
		if w.now.Sub(first) < 50*time.Millisecond {
			alive++
			most = max(most, alive)
		}
		return serves
	}
	w.run()
	if most != 1 {
		t.Errorf("%d requests were sent before the first was answered", most)
	}
	if w.errs() != 0 || w.now.Sub(began) > 230*time.Second {
		t.Errorf("%d refused", w.errs())
	}
}

func TestThrottledPoolIsTriedThreeTimesByARequest(t *testing.T) {
	w := newWorld(8, 2)
	throttles := reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Throttled, Wait: time.Millisecond, Reason: "429"}, status: 429}
	w.behaviour = always(throttles, throttles)
	q := w.arrive(0, plain())
	w.run()
	if !errors.Is(q.end.Err, proxy.ErrThrottled) || w.sentTo[0] != 3 || w.sentTo[1] != 3 {
		t.Errorf("%v after %v", q.end.Err, w.sentTo)
	}
}

func TestRetryInstantIsThatOfTheLastThrottle(t *testing.T) {
	w := newWorld(9, 1)
	w.behaviour = func(_, sent int) reaction {
		wait := time.Second
		if sent > 0 {
			wait = time.Minute
		}
		return reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Throttled, Wait: wait, Reason: "429"}, status: 429}
	}
	q := w.arrive(0, plain())
	w.run()
	if left := q.end.RetryAt.Sub(q.ended); !errors.Is(q.end.Err, proxy.ErrThrottled) || left != time.Minute {
		t.Errorf("%v, retry in %v, want a minute", q.end.Err, left)
	}
}

func TestRequestThatTwoBackendsRefuseForItsSize(t *testing.T) {
	for limit, want := range map[int64]bool{-1: false, 5000: true, 50_000: false} {
		w := newWorld(10, 2)
		signals := health.NoSignals()
		signals.LimitTokens = limit
		o := health.Outcome{Class: health.Throttled, Wait: time.Minute, Reason: "429 tokens", Limit: health.LimitTokens, Signals: signals}
		w.behaviour = func(int, int) reaction { return reaction{after: time.Millisecond, outcome: o, status: 429} }
		r := plain()
		r.Tokens = 10_000
		q := w.arrive(0, r)
		w.run()
		if !errors.Is(q.end.Err, proxy.ErrThrottled) || q.end.TooLarge != want {
			t.Errorf("limit %d: %v, too large %v, want %v", limit, q.end.Err, q.end.TooLarge, want)
		}
	}
}

func versioned(version string) *proxy.Request {
	r := plain()
	r.Operation, r.Query = operations.Operation{Name: "chat"}, "api-version="+version
	return r
}

func TestRefusedOperationOpensForItselfAlone(t *testing.T) {
	w := newWorld(11, 2)
	w.pool.Backends[1].Priority = 2
	var opened []proxy.OpenedOperation
	w.env.Operations.Opened = func(c proxy.OpenedOperation) { opened = append(opened, c) }
	broken := true
	w.behaviour = func(slot, _ int) reaction {
		if slot == 0 && broken {
			return forbidden
		}
		return serves
	}
	at := func(d time.Duration, want string, r *proxy.Request) {
		w.now = w.now.Add(d)
		q := w.arrive(0, r)
		w.run()
		got := ""
		for i := range q.sends {
			got += w.pool.Backends[q.sends[i].slot].Name
		}
		if got != want || q.end.Err != nil {
			t.Errorf("after %v: sent to %q, %v, want %q", d, got, q.end.Err, want)
		}
	}
	w.noBudgets = true
	at(0, "ab", versioned("1"))
	at(0, "b", versioned("1")) // for a second
	at(0, "ab", versioned("2"))
	at(1100*time.Millisecond, "ab", versioned("1"))
	if len(opened) != 1 || opened[0].APIVersion != "1" || opened[0].Slot != 0 || opened[0].Reason != "403" {
		t.Fatalf("opened %+v, want the operation with version 1", opened)
	}
	if all := w.env.Operations.List(w.now); !slices.Equal(all, opened) {
		t.Errorf("listed as open: %+v, want what opened: %+v", all, opened)
	}
	at(5*time.Second, "b", versioned("1"))
	at(6*time.Second, "ab", versioned("1")) // probed after ten seconds
	at(11*time.Second, "b", versioned("1")) // twice as long
	broken = false
	at(10*time.Second, "a", versioned("1"))
	at(0, "a", versioned("1"))
	if all := w.env.Operations.List(w.now); len(all) > 0 {
		t.Errorf("listed as open, although served: %+v", all)
	}
	if w.health[0].State != health.Closed {
		t.Error("the circuit of the slot opened, too")
	}
}

func TestWhatEveryBackendRefusesIsTheCallers(t *testing.T) {
	w := newWorld(12, 3)
	w.noBudgets = true
	w.env.Operations.Opened = func(c proxy.OpenedOperation) { t.Errorf("opened %+v", c) }
	refuse := true
	w.behaviour = func(int, int) reaction {
		if refuse {
			return forbidden
		}
		return serves
	}
	send := func(version string) (*simulated, int) {
		q := w.arrive(0, versioned(version))
		w.run()
		return q, len(q.sends)
	}
	if q, n := send("1"); !errors.Is(q.end.Err, proxy.ErrRefused) || n != 3 || q.end.Try != 0 {
		t.Errorf("%v after %d attempts, want the first refusal after three", q.end.Err, n)
	}
	if q, n := send("1"); !errors.Is(q.end.Err, proxy.ErrRefused) || n != 1 {
		t.Errorf("%v after %d attempts, want one within a minute", q.end.Err, n)
	}
	if q, n := send("2"); !errors.Is(q.end.Err, proxy.ErrRefused) || n != 3 {
		t.Errorf("%v after %d attempts of another version, want three", q.end.Err, n)
	}
	if all := w.env.Operations.List(w.now); len(all) != 2 || all[0].Model != "m" || all[0].Reason != "403" {
		t.Errorf("listed as refused by all: %+v, want the model twice", all)
	}
	w.now = w.now.Add(61 * time.Second)
	if _, n := send("1"); n != 3 {
		t.Errorf("%d attempts after a minute, want three", n)
	}
	refuse = false
	if q, n := send("1"); q.end.Err != nil || n != 1 {
		t.Errorf("%v after %d attempts: nothing was open", q.end.Err, n)
	}
	if all := w.env.Operations.List(w.now); len(all) > 0 {
		t.Errorf("listed as refused by all, although served: %+v", all)
	}
}

// All refuse once; then the last one is mended, and the first is not.
func TestWhatOneBackendServesAgainIsServed(t *testing.T) {
	w := newWorld(14, 3)
	for i := range w.pool.Backends {
		w.pool.Backends[i].Priority = i + 1
	}
	mended := w.now.Add(2 * time.Second)
	w.behaviour = func(slot, _ int) reaction {
		if slot < 2 || w.now.Before(mended) {
			return forbidden
		}
		return serves
	}
	for i := range 40 {
		w.arrive(time.Duration(i)*100*time.Millisecond, versioned("1"))
	}
	w.run()
	late := 0
	for _, q := range w.requests {
		if q.began.After(mended.Add(1100*time.Millisecond)) && q.end.Err != nil {
			late++
		}
	}
	if late > 0 || w.sentTo[1] > 12 {
		t.Errorf("%d were refused more than a second after the third was mended; sent %v", late, w.sentTo)
	}
}

func TestMissingIDConvictsNobody(t *testing.T) {
	w := newWorld(13, 2)
	w.noBudgets = true
	w.pool.Backends[1].Priority = 2
	missing := reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "deployment not found"}, status: 404}
	w.behaviour = always(missing, serves)
	for range 3 {
		r := versioned("1")
		r.Subpath = "some_id"
		q := w.arrive(0, r)
		w.run()
		if len(q.sends) != 2 {
			t.Errorf("%d attempts, want both: a 404 under an id says nothing about the backend", len(q.sends))
		}
	}
}

func TestFailuresAreTakenBackOnlyWhenAllFailed(t *testing.T) {
	w := newWorld(14, 3)
	w.behaviour = always(fails, fails, fails)
	w.arrive(0, plain())
	w.run()
	if w.takenBack != 4 {
		t.Errorf("%d taken back, want all three and the repetition", w.takenBack)
	}
	w = newWorld(14, 3)
	w.pool.Backends[1].Priority, w.pool.Backends[2].Priority = 2, 3
	w.behaviour = always(fails, fails, serves)
	w.arrive(0, plain())
	w.run()
	if w.takenBack != 0 {
		t.Errorf("%d taken back although the third served", w.takenBack)
	}
	w = newWorld(14, 2)
	w.behaviour = always(reaction{after: time.Millisecond, outcome: health.Outcome{Class: health.Misconfigured, Reason: "operation not supported"}, status: 400}, fails)
	w.arrive(0, plain())
	w.run()
	if w.takenBack != 2 {
		t.Errorf("%d taken back of a request that one refused and the other failed, want the failure and its repetition", w.takenBack)
	}
}
