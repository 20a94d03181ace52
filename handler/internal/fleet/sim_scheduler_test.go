package fleet

import (
	"container/heap"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"
)

// scheduler is a deterministic simulation: every task is a coroutine, exactly one
// runs at a time, and the next is chosen by virtual time and a seeded tie-break.
// One seed is one run, to the last event. It has no goroutine, no real clock and
// no global randomness. (testing/synctest gives virtual time, but not one order of
// events.)
type scheduler struct {
	now   time.Duration
	queue events
	rand  *rand.Rand
	cur   *task
	steps int
	after func() // runs after every event
}

// task is one coroutine of the simulation.
type task struct {
	next       func() (time.Duration, bool)
	stop       func()
	yield      func(time.Duration) bool
	owner      *machine // nil = the simulation itself
	kind       taskKind
	generation int // events of older generations are void
	woken      bool
	waiting    bool // wake interrupts its wait
	over       bool
}

// taskKind is what a task does, for the rule that requests do no I/O.
type taskKind uint8

const (
	simulationTask taskKind = iota
	replicaTask
	requestTask
)

type event struct {
	at         time.Duration
	tie        uint64
	task       *task
	generation int
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].tie < h[j].tie
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

var errStopped = errors.New("stopped")

func newScheduler(seed uint64) *scheduler {
	return &scheduler{rand: rand.New(rand.NewPCG(seed, 99))}
}

// spawn starts a task after a delay.
func (s *scheduler) spawn(owner *machine, kind taskKind, delay time.Duration, f func()) *task {
	t := &task{owner: owner, kind: kind}
	t.next, t.stop = iter.Pull(func(yield func(time.Duration) bool) {
		defer func() {
			e := recover()
			if err, ok := e.(error); e != nil && (!ok || !errors.Is(err, errStopped)) {
				panic(e)
			}
		}()
		t.yield = yield
		f()
	})
	s.push(s.now+delay, t)
	return t
}

func (s *scheduler) push(at time.Duration, t *task) {
	heap.Push(&s.queue, event{at, s.rand.Uint64(), t, t.generation})
}

// sleep suspends the running task for a virtual duration.
func (s *scheduler) sleep(d time.Duration) {
	if t := s.cur; !t.yield(max(d, 1)) || t.over {
		panic(errStopped)
	}
}

// wait is a sleep that wake interrupts; it reports whether it did.
func (s *scheduler) wait(d time.Duration) bool {
	t := s.cur
	if !t.woken {
		t.waiting = true
		s.sleep(d)
		t.waiting = false
	} else {
		s.sleep(1)
	}
	kicked := t.woken
	t.woken = false
	return kicked
}

func (s *scheduler) wake(t *task) {
	if t == nil || t.over {
		return
	}
	t.woken = true
	if t.waiting {
		t.waiting = false
		t.generation++
		s.push(s.now, t)
	}
}

// kill ends a task at once.
func (s *scheduler) kill(t *task) {
	if t != nil && !t.over {
		t.over = true
		t.generation++
		if t != s.cur {
			t.stop()
		}
	}
}

// run runs the simulation until the instant.
func (s *scheduler) run(until time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at <= until {
		e := heap.Pop(&s.queue).(event)
		if e.generation != e.task.generation || e.task.over {
			continue
		}
		s.now = max(s.now, e.at)
		if m := e.task.owner; m != nil && m.frozen > s.now {
			e.at = m.frozen // a suspended process continues when it is resumed
			heap.Push(&s.queue, e)
			continue
		}
		s.steps++
		s.cur = e.task
		d, ok := e.task.next()
		if ok {
			s.push(s.now+d, e.task)
		} else {
			e.task.over = true
		}
		if s.after != nil {
			s.after()
		}
	}
	s.now = max(s.now, until)
}

// stop ends all tasks.
func (s *scheduler) stop() {
	for _, e := range s.queue {
		if !e.task.over {
			e.task.over = true
			e.task.stop()
		}
	}
}

// between is a random duration.
func (s *scheduler) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rand.Int64N(int64(to-from)+1))
}

// happens reports whether an event of that probability happens.
func (s *scheduler) happens(probability float64) bool { return s.rand.Float64() < probability }

// simPacer is how a replica waits in the simulation.
type simPacer struct {
	scheduler *scheduler
	task      *task
}

func (p *simPacer) Wait(_ context.Context, d time.Duration) bool { return p.scheduler.wait(d) }
func (p *simPacer) Sleep(_ context.Context, d time.Duration)     { p.scheduler.sleep(d) }
func (p *simPacer) Wake()                                        { p.scheduler.wake(p.task) }
