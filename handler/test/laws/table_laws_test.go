package laws_test

import (
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// trouble is what the table answers instead of what it is asked for.
type trouble struct {
	name        string
	read, write error // nil = it serves
	retryAfter  time.Duration
}

// troubles are errors as package azure reports them.
func troubles() []*trouble {
	return []*trouble{
		{"503 with Retry-After", tablestore.ErrUnknown, tablestore.ErrUnknown, 3 * time.Second},
		{"503", tablestore.ErrUnknown, tablestore.ErrUnknown, 0},
		{"403 on writes", nil, tablestore.ErrRefused, 0},
		{"403", tablestore.ErrRefused, tablestore.ErrRefused, 0},
		{"404 for ever", tablestore.ErrUnknown, tablestore.ErrUnknown, 0},
		{"409 while it is deleted", tablestore.ErrRefused, tablestore.ErrRefused, 0},
		{"a page of HTML", tablestore.ErrUnknown, tablestore.ErrUnknown, 0},
	}
}

// of is the error of one call; nil = the table serves.
func (t *trouble) of(write bool) (tablestore.Response, error) {
	switch {
	case t == nil:
		return tablestore.Response{}, nil
	case write:
		return tablestore.Response{RetryAfter: t.retryAfter}, t.write
	}
	return tablestore.Response{RetryAfter: t.retryAfter}, t.read
}

// tableTrouble: a table in trouble is asked no more often than one that serves, one that
// cannot be read no more often than one without changes; it is shown within two seconds;
// and idle minutes are no outage.
func tableTrouble(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	w.load(30*time.Second, w.rate, own, nil)
	w.run(w.now + 10*time.Second) // nothing has changed lately
	quiet := w.exchangesIn(20 * time.Second)
	w.deployed[0].fails = .6 // there is always something to write
	w.load(30*time.Second, w.rate, own, nil)
	w.run(w.now + 10*time.Second)
	busy := w.exchangesIn(20 * time.Second)
	var errs []error
	for _, t := range troubles() {
		w.trouble = t
		w.load(28*time.Second, w.rate, own, nil)
		if n := w.hideTrouble(); n > 0 {
			errs = append(errs, fmt.Errorf("%s: %d instances show nothing after 2 s", t.name, n))
		}
		w.run(w.now + 6*time.Second)
		healthy := quiet
		if t.read == nil {
			healthy = busy
		}
		if n := w.exchangesIn(20 * time.Second); n > atMost(float64(healthy)) {
			errs = append(errs, fmt.Errorf("%s: %d exchanges in 20 s, %d of a table that serves", t.name, n, healthy))
		}
		w.trouble = nil
		w.pass(20 * time.Second)
	}
	w.drain()
	return errors.Join(append(errs, w.idleIsNoOutage())...)
}

// exchangesIn is how often the table is asked in that time.
func (w *world) exchangesIn(d time.Duration) int {
	before := w.exchanges
	w.run(w.now + d)
	return w.exchanges - before
}

// hideTrouble lets two seconds pass, and counts the instances that have met the
// trouble and do not show it.
func (w *world) hideTrouble() (n int) {
	began := w.now
	w.run(w.now + 2*time.Second)
	for _, i := range w.instances {
		c := i.Counters()
		if i.met >= began && c.LastError == nil && c.WriteError == nil && !c.Disconnected {
			n++
		}
	}
	return n
}

func (w *world) idleIsNoOutage() error {
	w.deployed[0].fails = 0
	w.pass(w.long(100, 2*time.Second))
	w.drain()
	before := w.outages()
	w.run(w.now + 10*time.Minute)
	w.pass(w.long(100, 2*time.Second))
	w.drain()
	if now := w.outages(); now > before {
		return fmt.Errorf("ten idle minutes are an outage of %v", now-before)
	}
	return nil
}

func (w *world) outages() (sum time.Duration) {
	for _, i := range w.instances {
		sum += i.Counters().Outage
	}
	return sum
}

// identity is that of a backend of one of the two apps on the table: they differ in one
// part of it, or in none.
func (w *world) identity(backend, instance int) string {
	endpoint, deployment, model := fmt.Sprintf("https://b%d.openai.azure.com", backend), "d", "m"
	if instance%2 == 1 && w.mutant != sharesByName {
		switch w.neighbours {
		case otherEndpoint:
			endpoint = fmt.Sprintf("https://c%d.openai.azure.com", backend)
		case otherDeployment:
			deployment = "e"
		case otherModel:
			model = "n"
		case sameApp:
		}
	}
	return document.Identity(&document.Backend{Endpoint: endpoint}, deployment, model)
}

// neighbours is in what the backends of every second instance differ.
type neighbours uint8

const (
	sameApp neighbours = iota
	otherEndpoint
	otherDeployment
	otherModel
)

func apps() (all []setup) {
	for _, kind := range []neighbours{otherEndpoint, otherDeployment, otherModel} {
		for _, backends := range []int{1, 3} {
			s := fleetOf(6, backends, 5)
			s.neighbours = kind
			all = append(all, s)
		}
	}
	return all
}

// ownVerdicts: nothing that one app sees of its backends reaches an app whose backends
// have the same names and lead elsewhere.
func ownVerdicts(w *world) error {
	w.pass(w.long(100, 2*time.Second))
	for _, b := range w.deployed {
		b.fails, b.failsFor = 1, func(i *instance) bool { return i.number%2 == 0 }
	}
	calls := w.pass(w.long(1000, 20*time.Second))
	w.drain()
	var mine []*call
	for _, c := range calls {
		if c.i.number%2 == 1 {
			mine = append(mine, c)
		}
	}
	for _, i := range w.instances {
		if i.number%2 == 1 && i.adopted > 0 {
			return fmt.Errorf("instance %d adopted %d changes of the other app's circuits", i.number, i.adopted)
		}
	}
	return noneRefused(mine)
}

// freshInstances: a hundred instances that start in an outage learn of it before they
// send a request there.
func freshInstances(w *world) error {
	w.pass(w.long(200, 2*time.Second))
	w.deployed[0].fails = 1
	w.pass(w.long(500, 10*time.Second))
	w.deployed[0].sends = nil
	const fresh = 100
	for range fresh {
		w.startInstance(len(w.instances), 0)
	}
	w.run(w.now + 50*time.Millisecond) // until a front end finds them ready
	var calls []*call
	for _, i := range w.instances[w.size:] {
		from := len(w.calls)
		w.arrive(i, own, nil)
		calls = append(calls, w.calls[from:]...)
	}
	w.load(5*time.Second, w.rate, own, nil)
	w.run(w.now + 5*time.Second)
	w.drain()
	sent := 0
	for i := range w.deployed[0].sends {
		if s := &w.deployed[0].sends[i]; s.instance >= w.size && s.ordinary() {
			sent++
		}
	}
	return errors.Join(noneRefused(calls), limit("sent to a backend that the fleet has left, by fresh instances", sent, 0))
}

// readiness: a front end sends to an instance only while it is ready, as polled every
// five seconds. After an outage of all backends it sends again within 15 s of their
// return.
func readiness(w *world) error {
	w.pass(w.long(100, 2*time.Second))
	for _, b := range w.deployed {
		b.fails = 1
	}
	w.behindFrontEnd(w.long(300, 40*time.Second))
	for _, b := range w.deployed {
		if w.mutant != neverHeals {
			b.fails = 0
		}
	}
	back, from := w.now, len(w.calls)
	w.behindFrontEnd(40 * time.Second)
	w.drain()
	first := make([]time.Duration, len(w.instances))
	for _, c := range w.calls[from:] {
		if !c.refused() && first[c.i.number] == 0 {
			first[c.i.number] = c.began + c.took - back
		}
	}
	for n, d := range first {
		if wait := time.Duration(8 / w.rate * float64(time.Second)); d == 0 || d > 15*time.Second+wait+maxWait {
			return fmt.Errorf("instance %d serves again %v after the return", n, d)
		}
	}
	return nil
}

// peek is what the instance knows, without keeping it fresh.
func (i *instance) peek() *health.Snapshot {
	s := i.PeekSnapshot()
	if i.w.mutant != countsOldFailures {
		return s
	}
	s = &health.Snapshot{Version: s.Version, Taken: s.Taken, Slots: append([]health.Health{}, s.Slots...)}
	for k := range s.Slots {
		s.Slots[k].FailedAt, s.Slots[k].Until = i.now(), i.now().Add(time.Second)
	}
	return s
}

// behindFrontEnd lets requests arrive at instances that were ready when last polled.
func (w *world) behindFrontEnd(d time.Duration) {
	end := w.now + d
	for _, i := range w.instances {
		probe := api.PoolReadiness{
			Pools: []balancer.Pool{w.pool}, Snapshot: i.peek, Refresh: i.Snapshot, Now: i.now,
		}
		ready := true
		var poll, arrival func()
		poll = func() {
			if w.now < end {
				ready, _ = probe.Ready("")
				w.in(i, 5*time.Second, poll)
			}
		}
		arrival = func() {
			if w.now < end {
				if ready {
					w.arrive(i, own, nil)
				}
				w.in(nil, time.Duration(w.random.ExpFloat64()/w.rate*float64(time.Second)), arrival)
			}
		}
		poll()
		arrival()
	}
	w.run(end)
}

// consumerThatFloods: one consumer sends hundreds of requests a second while the pool
// is throttled for a second and a half of every four; the other's wait for it all the same.
func consumerThatFloods(w *world) error {
	return w.besidesThrottled(&reaction{status: 200, after: usualAnswer}, 100)
}

// consumerOfHugeRequests: one consumer's requests are over the limit of every backend.
func consumerOfHugeRequests(w *world) error {
	return w.besides(&reaction{status: 429, after: 10 * time.Millisecond, tokens: 100_000}, w.rate, 0)
}

func (w *world) besidesThrottled(other *reaction, rate float64) error {
	w.during = func(d time.Duration) {
		for at := time.Second; at < d-2*time.Second; at += 4 * time.Second {
			w.in(nil, at, func() {
				for _, b := range w.deployed {
					b.throttledUntil = w.now + 1500*time.Millisecond
				}
			})
		}
	}
	return w.besides(other, rate, maxWait)
}
