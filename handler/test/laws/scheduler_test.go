package laws_test

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// scheduler is virtual time: one event at a time, in an order that the seed decides.
type scheduler struct {
	now    time.Duration
	queue  events
	random *rand.Rand
}

// event is something that an instance does; owner nil is the outside world.
type event struct {
	at    time.Duration
	tie   uint64
	owner *instance
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].tie < e[j].tie
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *scheduler) in(owner *instance, d time.Duration, do func()) {
	heap.Push(&s.queue, event{s.now + max(d, 0), s.random.Uint64(), owner, do})
}

// run lets time pass until the instant. What a suspended instance has to do waits for
// its resumption, and then happens in any order.
func (s *scheduler) run(until time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at <= until {
		e := heap.Pop(&s.queue).(event)
		s.now = max(s.now, e.at)
		if e.owner != nil && e.owner.frozen > s.now {
			s.in(e.owner, e.owner.frozen-s.now, e.do)
			continue
		}
		e.do()
	}
	s.now = max(s.now, until)
}

func (s *scheduler) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.random.Int64N(int64(to-from)+1))
}

func (s *scheduler) happens(probability float64) bool { return s.random.Float64() < probability }
