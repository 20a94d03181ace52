package lease

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"
)

// The simulation runs the real accounts and records of a whole fleet in one event
// loop: virtual time, one seeded random source, a table that loses requests, loses
// answers of committed writes, conflicts falsely, is slow, and applies writes long
// after their writer gave up. The same seed gives the same trace.

// fleet is one simulated run.
type fleet struct {
	Instances int
	Limit     int64
	Period    Period
	Shards    int
	Load      float64 // of the limit, in estimated tokens
	Minutes   int     // measured, after the first, partial one
	Faults    float64 // 1 = the rates in simtable_test.go
	Over      bool    // answers use 70–130 % of the estimate instead of 40–100 %
	Outage    [2]time.Duration
	Mean      int64 // tokens of a request; 0 = 1,000
	Crash     bool  // an instance crashes and is replaced, every few seconds
	Until     time.Duration
	Quiet     time.Duration // no more traffic from here on; 0 = never
	Uneven    bool          // a tenth of the instances gets most of the traffic
	Unknown   bool          // the number of instances is unknown
	Ceiling   bool          // answers begin around the edge of a minute, use all their estimate, and count when they end

	Mutant string // how to break the protocol on purpose
}

// outcome is the result of a run.
type outcome struct {
	actual   map[int64]int64 // used, by the true window of admission
	admitted int
	denied   int
	waited   int
	waits    []time.Duration
	late     int // waited for the table and were decided without it
	ops      int
	writes   int
	conflict int
	minimum  int64 // least Granted, Spare or Debt in the table
	trace    uint64
	spent    int64 // used in all
	booked   int64 // in the table, net
	during   map[int64]int
	refused  map[int64]int
}

type event struct {
	at  time.Duration
	tie uint64
	do  func()
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].tie < h[j].tie
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any     { o := *h; x := o[len(o)-1]; *h = o[:len(o)-1]; return x }

type world struct {
	fleet
	now    time.Duration
	queue  events
	random *rand.Rand
	rows   map[string]*simRow
	feed   map[string][2]int64
	seq    int
	out    outcome
	hash   interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}
	start time.Time
	nodes []*node
}

type simRow struct{ version, body string }

type node struct {
	w        *world
	account  *Account
	crashed  bool
	busy     bool // an exchange is in flight
	timer    time.Duration
	skew     time.Duration // of this process's clock
	slow     time.Duration // how far behind the certain time is
	width    time.Duration // of its uncertainty
	waiting  map[int]*pending
	lastSeen time.Duration // of traffic
}

type pending struct {
	n       int64
	since   time.Duration
	decided bool
}

// began is when every simulation begins: in the middle of a minute.
var began = time.Date(2026, 3, 14, 10, 20, 30, 0, time.UTC)

// run simulates the fleet for its minutes.
func (f fleet) run(seed uint64) outcome {
	if f.Mean == 0 {
		f.Mean = 1000
	}
	w := &world{
		fleet: f, random: rand.New(rand.NewPCG(seed, 5)), rows: map[string]*simRow{}, feed: map[string][2]int64{},
		hash: fnv.New64a(), start: began,
		out: outcome{actual: map[int64]int64{}, during: map[int64]int{}, refused: map[int64]int{}},
	}
	for i := range f.Instances {
		w.nodes = append(w.nodes, w.newNode(i))
		w.traffic(i)
	}
	if f.Crash {
		w.after(w.upTo(10*time.Second), w.crash)
	}
	end := f.Until
	if end == 0 {
		end = 30*time.Second + time.Duration(f.Minutes)*time.Minute
	}
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.out.trace = w.hash.Sum64()
	return w.out
}

func (w *world) after(d time.Duration, do func()) {
	heap.Push(&w.queue, event{w.now + max(d, 1), w.random.Uint64(), do})
}

func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(d) + 1))
}

func (w *world) fault(p float64) bool { return w.random.Float64() < p*w.Faults }

func (w *world) trueWindow() int64 { return w.Period.Index(w.start.Add(w.now)) }

func (w *world) newNode(i int) *node {
	n := &node{
		w: w, waiting: map[int]*pending{},
		skew:  w.upTo(10*time.Minute) - 5*time.Minute,
		width: 100*time.Millisecond + w.upTo(80*time.Millisecond),
	}
	n.slow = time.Duration(w.random.Float64() * float64(n.width))
	w.seq++
	n.account = &Account{
		Config: LimitConfig{Limit: w.Limit, Period: w.Period, Shards: w.Shards, Ceiling: w.Ceiling},
		ID:     fmt.Sprintf("i%d.%d", i, w.seq), Jitter: w.random.Float64(),
	}
	w.after(w.upTo(500*time.Millisecond), n.poll)
	return n
}

// moment is by the instance's clocks.
func (n *node) moment() Moment {
	if n.w.Mutant == "no booking" {
		n.account.unbooked = min(0, n.account.unbooked)
	}
	certain := n.w.start.Add(n.w.now - n.slow)
	m := Moment{
		At:     n.w.start.Add(n.w.now + n.skew),
		Window: n.w.Period.Index(certain), LatestWindow: n.w.Period.Index(certain.Add(n.width)), Instances: n.w.Instances,
	}
	if n.w.Mutant == "local clock" {
		certain = m.At
		m.Window = n.w.Period.Index(certain)
		m.LatestWindow = m.Window
	}
	if n.w.Unknown {
		m.Instances = 0
	}
	m.WindowAge = certain.Sub(n.w.Period.Begins(m.Window))
	return m
}

func (w *world) atTheEdge() bool {
	second := w.start.Add(w.now).Second()
	return second < 3 || second >= 57
}

// traffic is one instance's callers: Poisson, without end.
func (w *world) traffic(i int) {
	perSecond := w.Load * float64(w.Limit) / 60 / float64(w.Mean) / float64(w.Instances)
	if w.Uneven {
		if i%10 == 0 {
			perSecond *= 8.2
		} else {
			perSecond *= 0.2
		}
	}
	var next func()
	next = func() {
		if w.Quiet > 0 && w.now > w.Quiet {
			return
		}
		if !w.Ceiling || w.atTheEdge() {
			w.arrive(w.nodes[i])
		}
		w.after(time.Duration(-math.Log(1-w.random.Float64())/perSecond*1e9), next)
	}
	w.after(time.Duration(-math.Log(1-w.random.Float64())/perSecond*1e9), next)
}

func (w *world) arrive(n *node) {
	estimate := w.Mean/2 + w.random.Int64N(w.Mean)
	n.lastSeen = w.now
	m := n.moment()
	decision, ticket := n.account.Reserve(estimate, m)
	if w.Mutant == "blind" && decision != Granted {
		decision = Granted
	}
	fmt.Fprintf(w.hash, "%d %s %d|", w.now, n.account.ID, decision)
	switch decision {
	case Pending:
		p := &pending{n: estimate, since: w.now}
		n.waiting[ticket] = p
		w.out.waited++
		w.after(1500*time.Millisecond, func() { n.expire(ticket, p) })
	case Granted:
		w.admit(n, estimate)
	case Denied, Undecided, TooLarge:
		w.deny()
	}
	n.pump()
}

func (n *node) expire(ticket int, p *pending) {
	if p.decided || n.crashed {
		return
	}
	n.w.out.late++
	delete(n.waiting, ticket)
	n.decide(p, n.account.Expire(ticket, n.moment()))
	n.pump()
}

func (n *node) decide(p *pending, decision Decision) {
	p.decided = true
	n.w.out.waits = append(n.w.out.waits, n.w.now-p.since)
	if decision == Granted {
		n.w.admit(n, p.n)
		return
	}
	n.w.deny()
}

func (w *world) deny() {
	w.out.denied++
	w.out.refused[w.trueWindow()]++
}

// admit serves the request; its usage is known when it ends.
func (w *world) admit(n *node, estimate int64) {
	used := int64(float64(estimate) * (0.4 + 0.6*w.random.Float64()))
	if w.Over {
		used = int64(float64(estimate) * (0.7 + 0.6*w.random.Float64()))
	}
	if w.Ceiling {
		used = estimate
	}
	w.out.admitted++
	w.out.spent += used
	if !w.Ceiling {
		w.out.actual[w.trueWindow()] += used
	}
	w.out.during[w.trueWindow()]++
	window := n.account.Window()
	long := 200*time.Millisecond + w.upTo(800*time.Millisecond)
	if w.random.IntN(20) == 0 {
		long += w.upTo(20 * time.Second)
	}
	if w.Ceiling {
		long = 3*time.Second + w.upTo(3*time.Second)
	}
	w.after(long, func() {
		if w.Ceiling {
			w.out.actual[w.trueWindow()] += used
		}
		if !n.crashed {
			n.account.Settle(window, estimate, used, n.moment())
			n.pump()
		}
	})
}

// poll reads the change feed, while there is traffic.
func (n *node) poll() {
	if n.crashed {
		return
	}
	w := n.w
	w.after(400*time.Millisecond+w.upTo(200*time.Millisecond), n.poll)
	if w.now-n.lastSeen > time.Minute || w.isOut() {
		return
	}
	at := w.now
	w.out.ops++
	w.after(w.leg(), func() {
		copied := map[string][2]int64{}
		for k, v := range w.feed {
			copied[k] = v
		}
		w.after(w.leg(), func() {
			if n.crashed {
				return
			}
			entry, listed := copied[fmt.Sprint(n.account.shard)]
			n.account.ObserveFeed(listed, entry[0], entry[1], n.moment(), w.start.Add(at+n.skew))
			n.pump()
		})
	})
}

func (w *world) leg() time.Duration {
	d := time.Millisecond + w.upTo(4*time.Millisecond)
	if w.fault(.02) {
		d += w.upTo(1500 * time.Millisecond)
	}
	return d
}

func (w *world) isOut() bool { return w.now >= w.Outage[0] && w.now < w.Outage[1] }

// crash ends an instance with its credit and debts, and starts another.
func (w *world) crash() {
	i := w.random.IntN(len(w.nodes))
	w.nodes[i].crashed = true
	w.nodes[i] = w.newNode(i)
	w.after(5*time.Second+w.upTo(10*time.Second), w.crash)
}

// pump makes the exchanges that the account wants.
func (n *node) pump() {
	n.serve()
	if n.busy || n.crashed {
		return
	}
	step := n.account.Next(n.moment())
	switch step.Action {
	case Idle:
		if step.WakeAt.IsZero() {
			return
		}
		due := step.WakeAt.Sub(n.w.start) - n.skew
		if n.timer <= n.w.now || due < n.timer {
			n.timer = due
			n.w.after(due-n.w.now, func() {
				if n.timer == due {
					n.timer = 0
				}
				n.pump()
			})
		}
	case Read:
		n.busy = true
		n.w.read(n, step)
	case Write:
		n.busy = true
		n.w.write(n, step)
	}
}

func (n *node) serve() {
	if shard, window, left, ok := n.account.Announcement(); ok {
		n.w.after(n.w.leg(), func() { n.w.feed[fmt.Sprint(shard)] = [2]int64{window, left} })
	}
	for _, s := range n.account.Resolve(n.moment()) {
		if p := n.waiting[s.Ticket]; p != nil {
			delete(n.waiting, s.Ticket)
			n.decide(p, s.Decision)
		}
	}
}
