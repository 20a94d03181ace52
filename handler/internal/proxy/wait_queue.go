package proxy

import (
	"slices"
	"sync"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
)

// MostWaiting is how many requests of an instance may wait at once: each holds its body in
// memory.
const MostWaiting = 1000

// WaitQueue holds requests that wait: for a throttled pool to reopen
// (SPILLWAY_MAX_WAIT), for the trial of another request, or for a stored object to
// become visible. When its seats are taken, interactive requests take those of batch
// requests, and a consumer takes one of another that has more than half of them.
//
// A pool that reopened is tried by one of the requests first, and by more as their
// attempts succeed. The queue neither reads a clock nor blocks: the instants at
// which requests go on are its callers'. The zero WaitQueue has no seat limit. It
// is safe for concurrent use.
type WaitQueue struct {
	Capacity int // 0 = no limit

	mu    sync.Mutex
	seats []*Seat // in order of arrival
	gates map[*balancer.Pool]*gate
}

// Seat is one waiting request. Its owner must call leave.
type Seat struct {
	queue    *WaitQueue
	pool     *balancer.Pool // nil = it waits for something else
	consumer string
	class    consumer.Class
	woken    bool
	revoked  bool
	due      bool // its pool reopened, and others try it first
	going    bool // admitted by the gate, and not settled yet
	wake     func()
}

// gate admits the requests that waited for one pool.
type gate struct {
	window  int            // how many may be under way
	out     int            // how many are
	granted map[string]int // by consumer: how often it was its turn
}

// join takes a seat; nil when none is free.
func (q *WaitQueue) join(pool *balancer.Pool, name string, class consumer.Class) *Seat {
	s := &Seat{queue: q, pool: pool, consumer: name, class: class}
	joined := false
	s.change(func() (wakes []func()) {
		var evicted *Seat
		evicted, joined = q.findSeat(s)
		if evicted != nil {
			evicted.revoked = true
			wakes = evicted.wakeUp(wakes)
			q.remove(evicted)
		}
		if joined {
			q.seats = append(q.seats, s)
		}
		return wakes
	})
	if !joined {
		return nil
	}
	return s
}

// change makes a change under the lock, ends the gate of the seat's pool when nobody is
// left there, and then calls those whom the change wakes.
func (s *Seat) change(apply func() (wakes []func())) {
	q := s.queue
	q.mu.Lock()
	wakes := apply()
	if g := q.gates[s.pool]; g != nil && g.out == 0 && !q.anyAt(s.pool) {
		delete(q.gates, s.pool)
	}
	q.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

// wakeUp adds what wakes the request.
func (s *Seat) wakeUp(wakes []func()) []func() {
	if s.woken = true; s.wake != nil {
		wakes = append(wakes, s.wake)
	}
	return wakes
}

// findSeat returns whose seat the request takes (nil when there is a free one), and
// whether it gets one.
func (q *WaitQueue) findSeat(s *Seat) (*Seat, bool) {
	if q.Capacity == 0 {
		return nil, true
	}
	own := q.count(s.consumer)
	if 2*(own+1) > q.Capacity && own < len(q.seats) {
		return nil, false // more than half of them, while another consumer waits
	}
	if len(q.seats) < q.Capacity {
		return nil, true
	}
	if s.class == consumer.Interactive {
		if last := q.last(func(o *Seat) bool { return o.class == consumer.Batch }); last != nil {
			return last, true
		}
	}
	last := q.last(func(o *Seat) bool { return o.consumer != s.consumer && 2*q.count(o.consumer) > q.Capacity })
	return last, last != nil
}

func (q *WaitQueue) count(name string) int {
	n := 0
	for _, s := range q.seats {
		if s.consumer == name {
			n++
		}
	}
	return n
}

func (q *WaitQueue) last(is func(*Seat) bool) *Seat {
	for _, s := range slices.Backward(q.seats) {
		if is(s) {
			return s
		}
	}
	return nil
}

func (q *WaitQueue) remove(s *Seat) {
	if i := slices.Index(q.seats, s); i >= 0 {
		q.seats = slices.Delete(q.seats, i, i+1)
	}
}

// OnWake sets what is called when the request is to decide anew before its instant;
// at once when it is already. It must not block, and may be called more than once.
func (s *Seat) OnWake(wake func()) {
	s.queue.mu.Lock()
	s.wake = wake
	woken := s.woken
	s.queue.mu.Unlock()
	if woken {
		wake()
	}
}

// admit asks whether the request may try its pool now, which has reopened. If not,
// it is woken when an attempt of another one has ended. A request that was admitted
// is settled by settle.
func (s *Seat) admit() bool {
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.pool == nil || s.going {
		return true
	}
	g := q.gates[s.pool]
	if g == nil {
		if q.gates == nil {
			q.gates = map[*balancer.Pool]*gate{}
		}
		g = &gate{window: 1, granted: map[string]int{}}
		q.gates[s.pool] = g
	}
	first := q.next(s.pool, g)
	if s.due = g.out >= g.window || first != nil && !s.woken && g.before(first, s); s.due {
		s.woken = false
		return false
	}
	s.woken, s.going = false, true
	g.granted[s.consumer]++
	g.out++
	q.remove(s)
	return true
}

// next returns the request whose turn it is at the pool, of those that the gate has
// not admitted; nil = there is none.
func (q *WaitQueue) next(pool *balancer.Pool, g *gate) *Seat {
	var first *Seat
	for _, s := range q.seats {
		if s.pool == pool && s.due && !s.woken && (first == nil || g.before(s, first)) {
			first = s
		}
	}
	return first
}

// before reports whether s goes before other: an interactive request before one of a
// batch; then the consumer whose turn it was less often.
func (g *gate) before(s, other *Seat) bool {
	if s.class != other.class {
		return s.class == consumer.Interactive
	}
	return g.granted[s.consumer] < g.granted[other.consumer]
}

// settle records how the attempt of an admitted request ended. After a success one
// more may be under way; after a refusal only one, and the others decide anew.
func (s *Seat) settle(success bool) {
	s.change(func() []func() {
		g := s.queue.gates[s.pool]
		if !s.going || g == nil {
			return nil
		}
		s.going = false
		g.out--
		if g.window++; !success {
			g.window = 1
		}
		return s.queue.wakeDue(s.pool, g, success)
	})
}

// wakeDue wakes the requests that have waited for the gate: as many as it admits
// after a success, all of them after a refusal, because their instants have changed.
func (q *WaitQueue) wakeDue(pool *balancer.Pool, g *gate, success bool) (wakes []func()) {
	for free := g.window - g.out; free > 0 || !success; free-- {
		s := q.next(pool, g)
		if s == nil {
			break
		}
		wakes = s.wakeUp(wakes)
	}
	return wakes
}

// isRevoked reports whether the seat went to another request.
func (s *Seat) isRevoked() bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.revoked
}

// leave gives the seat back, and its turn to the next.
func (s *Seat) leave() {
	s.change(func() []func() {
		s.queue.remove(s)
		if g := s.queue.gates[s.pool]; g != nil && s.woken && s.due {
			return s.queue.wakeDue(s.pool, g, true)
		}
		return nil
	})
}

func (q *WaitQueue) anyAt(pool *balancer.Pool) bool {
	return slices.ContainsFunc(q.seats, func(s *Seat) bool { return s.pool == pool })
}
