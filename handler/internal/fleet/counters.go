package fleet

import (
	"time"

	"spillway/handler/internal/health"
)

// Counters are totals since this instance began, and gauges at the end of the
// struct.
type Counters struct {
	Exchanges         uint64        // exchanges with the table, reads and writes
	Writes            uint64        // … of them writes
	Conflicts         uint64        // writes that another instance's write preceded
	UnknownOutcomes   uint64        // writes of unknown outcome, settled by reading back
	ReadFailures      uint64        // reads without a response
	ExchangeTime      time.Duration // the time that all exchanges took
	Outage            time.Duration // time in which the table did not answer, each beyond StaleAfter
	Trips             uint64        // trips of the fleet's circuits, as applied here
	OwnTrips          uint64        // trips of this instance's own circuits
	Stalls            uint64        // times this process did not run for more than a second
	RecordsLeftOut    uint64        // records that the full row had no space for
	Leases            uint64        // probe leases that this instance held
	ProbesReturned    uint64        // … of them returned because no request used them
	Probes            uint64        // requests sent as the fleet's one probe
	LocalProbes       uint64        // requests sent as a probe of this instance's own
	UnreadableRecords uint64        // records found unreadable
	ClockResets       uint64        // times the service's clock was lost
	Disagreement      time.Duration // from others' changes to their application here, summed
	Disagreements     uint64        // … over this many changes
	StaleRequests     uint64        // requests sent to a backend that the table showed to be unavailable
	Latency           [len(latencyBounds) + 1]uint64

	LastError        error         // gauge: the error of the last exchange, if any
	ClockUncertainty time.Duration // gauge: width of the bounds of the service's clock
	SinceContact     time.Duration // gauge: age of the last response
	Disconnected     bool          // gauge: the table is unreachable
	WriteError       error         // gauge: the error of the last write, if it failed; reads may work
}

// latencyBounds are the upper bounds of Counters.Latency; its last element counts
// what took longer.
var latencyBounds = [...]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// LatencyBounds are the upper bounds of the buckets of Counters.Latency.
func LatencyBounds() []time.Duration { return latencyBounds[:] }

// Counters returns the counters now.
func (r *Replica) Counters() Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks().local
	c := r.counters
	c.ClockResets, c.LastError = r.clock.resets, r.lastError
	c.ClockUncertainty, c.SinceContact, c.Disconnected = r.clock.uncertainty(), now-r.lastContact, r.disconnected
	if r.failingSince == 0 && r.idle(now) {
		c.SinceContact = 0 // nothing was asked
	}
	return c
}

func (c *Counters) recordExchange(took time.Duration) {
	c.Exchanges++
	c.ExchangeTime += took
	for i, bound := range latencyBounds {
		if took <= bound {
			c.Latency[i]++
			return
		}
	}
	c.Latency[len(latencyBounds)]++
}

// recordPropagation counts how long this instance did not have what another one
// wrote, and which of its requests it sent meanwhile to a backend that the table
// showed to be unavailable.
func (r *Replica) recordPropagation(s *slot, before health.Record, now clockReading) {
	record := s.record
	if record.LastChange == before.LastChange || record.LastChange.By == r.cfg.Instance || record.LastChange.At == 0 {
		return
	}
	at := r.clock.toLocal(record.LastChange.At)
	if at < r.activeSince {
		return // made while this instance was idle, or not there yet
	}
	r.counters.Disagreement += max(now.local-at, 0) // both clocks are known to a tenth of a second only
	r.counters.Disagreements++
	becameUnavailable := record.Circuit.State != health.Closed && before.Circuit.State == health.Closed || record.Windows != before.Windows
	if becameUnavailable {
		r.counters.StaleRequests += uint64(s.sent.since(at, now.local))
	}
}
