package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// Counters are what this instance did and suffered since it began. They only
// grow, but for the gauges at the end.
type Counters struct {
	Exchanges     uint64        // exchanges with the table, reads and writes
	Writes        uint64        // … of them writes
	Conflicts     uint64        // writes that another instance came before
	Unknown       uint64        // writes of unknown outcome, settled by reading back
	ReadFailures  uint64        // reads without an answer
	Exchanging    time.Duration // the time that all exchanges took
	Outage        time.Duration // time without contact, each beyond StaleAfter
	Trips         uint64        // trips adopted
	Leases        uint64        // probe leases that this instance held
	Returned      uint64        // … of them given back because no request came
	Probes        uint64        // requests sent as the fleet's one probe
	ProbesAlone   uint64        // requests sent as a probe of this instance's own
	Poisoned      uint64        // records found unreadable
	ClockResets   uint64        // times the service's clock was lost
	Disagreement  time.Duration // between others' changes and their adoption here, summed
	Disagreements uint64        // … over so many changes
	Wasted        uint64        // requests sent to a backend that the table knew to be shut
	Latency       [len(latencyBounds) + 1]uint64

	Trouble    error         // gauge: what the last exchange failed with; nil = it did not
	ClockWidth time.Duration // gauge: how exactly the service's clock is known
	SinceTable time.Duration // gauge: how old the last answer is
	Alone      bool          // gauge: the table is out of reach
}

// latencyBounds are the upper bounds of Counters.Latency; the last count is
// what took longer.
var latencyBounds = [...]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// LatencyBounds are the upper bounds of the buckets of Counters.Latency.
func LatencyBounds() []time.Duration { return latencyBounds[:] }

// Counters is the state of the counters now.
func (k *Keeper) Counters() Counters {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.look().local
	c := k.count
	c.ClockResets, c.Trouble = k.clock.resets, k.trouble
	c.ClockWidth, c.SinceTable, c.Alone = k.clock.width(), now-k.contact, k.alone
	return c
}

func (c *Counters) exchanged(took time.Duration) {
	c.Exchanges++
	c.Exchanging += took
	for i, bound := range latencyBounds {
		if took <= bound {
			c.Latency[i]++
			return
		}
	}
	c.Latency[len(latencyBounds)]++
}

// outage books a silence that has just ended.
func (c *Counters) outage(from, to, allowed time.Duration) {
	if silent := to - from; silent > allowed {
		c.Outage += silent
	}
}

// measure books how long this instance did not know what another wrote, and
// which of its requests went to a backend that the table knew to be shut.
func (k *Keeper) measure(s *slot, before health.Record, now reading) {
	r := s.record
	if r.Stamp == before.Stamp || r.Stamp.By == k.cfg.Instance || r.Stamp.At == 0 {
		return
	}
	at := k.clock.local(r.Stamp.At)
	if at < 0 {
		return // it was so before this instance began
	}
	k.count.Disagreement += max(now.local-at, 0) // both clocks are known to a tenth of a second only
	k.count.Disagreements++
	shutNow := r.Circuit.Phase != health.Closed && before.Circuit.Phase == health.Closed || r.Windows != before.Windows
	if shutNow {
		k.count.Wasted += uint64(s.sent.since(at, now.local))
	}
}
