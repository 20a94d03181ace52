package telemetry

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry/meter"
	"spillway/handler/internal/telemetry/otlp"
)

// Sources is where that is read from which nobody counts as it happens. It is
// looked at when the metrics are read, and at no other time. The fields of the
// last group may be nil.
type Sources struct {
	Slots    []string // by health.Slot: "backend/model"
	Snapshot func() *health.Snapshot
	Counters func() fleet.Counters
	InFlight func(slot health.Slot) int64
	Now      func() time.Time
	Started  time.Time

	Quotas    func() []quota.LimitStatus
	LogWriter *LogWriter
	Pusher    *otlp.Pusher
	// Transcripts is how many blobs of transcripts were written, and given up.
	Transcripts func() (written, dropped uint64)
}

// Observe has the sources looked at ahead of each reading.
func (m *Metrics) Observe(s *Sources) {
	m.Registry.Observe(func() {
		m.backends(s)
		m.state(s)
		m.quotas(s)
		m.process(s)
	})
}

func (m *Metrics) backends(s *Sources) {
	now, snapshot, i := s.Now(), s.Snapshot(), m.instruments
	for slot, name := range s.Slots {
		h := snapshot.Of(health.Slot(slot))
		backend, model, _ := strings.Cut(name, "/")
		where := []meter.Label{label("gen_ai.request.model", model), label("spillway.backend", backend)}
		i.phase.With(where...).Set(phaseNumber(h.State))
		i.available.With(where...).Set(one(h.SkipReason(now, 0) == health.NotSkipped))
		i.throttled.With(where...).Set(max(h.Throttle.Until.Sub(now), 0).Seconds())
		share := float64(h.Share)
		if h.Share == 0 {
			share = 100
		}
		i.share.With(where...).Set(share)
		if s.InFlight != nil {
			i.inFlight.With(where...).Set(float64(s.InFlight(health.Slot(slot))))
		}
	}
}

// phaseNumber orders the phases by how bad they are.
func phaseNumber(p health.CircuitState) float64 {
	switch p {
	case health.Closed:
	case health.HalfOpen:
		return 1
	case health.Open:
		return 2
	}
	return 0
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// tableBounds are those that the keeper counts by.
func tableBounds() []float64 {
	var bounds []float64
	for _, b := range fleet.LatencyBounds() {
		bounds = append(bounds, b.Seconds())
	}
	return bounds
}

func (m *Metrics) state(s *Sources) {
	c, i := s.Counters(), m.instruments
	i.exchange.With().SetBuckets(c.Latency[:], c.ExchangeTime.Seconds())
	for f, n := range map[*meter.Family]float64{
		i.writes: float64(c.Writes), i.conflicts: float64(c.Conflicts), i.unknown: float64(c.UnknownOutcomes), i.readFailures: float64(c.ReadFailures),
		i.outage: c.Outage.Seconds(), i.age: c.SinceContact.Seconds(), i.degraded: one(c.Disconnected),
		i.trips: float64(c.Trips), i.leases: float64(c.Leases),
		i.disagreement: c.Disagreement.Seconds(), i.changes: float64(c.Disagreements), i.wasted: float64(c.StaleRequests),
		i.clockWidth: c.ClockUncertainty.Seconds(),
	} {
		f.With().Set(n)
	}
	i.probes.With(label("spillway.probe", "fleet")).Set(float64(c.Probes))
	i.probes.With(label("spillway.probe", "alone")).Set(float64(c.LocalProbes))
}

func (m *Metrics) quotas(s *Sources) {
	if s.Quotas == nil {
		return
	}
	for _, line := range s.Quotas() {
		labels := []meter.Label{label("spillway.consumer", line.Consumer), label("spillway.limit", line.Limit), label("gen_ai.request.model", line.Model)}
		m.instruments.limit.With(labels...).Set(line.Amount)
		m.instruments.remaining.With(labels...).Set(line.Remaining)
	}
}

func (m *Metrics) process(s *Sources) {
	i := m.instruments
	if s.LogWriter != nil {
		i.logDropped.With().Set(float64(s.LogWriter.Dropped()))
	}
	if s.Pusher != nil {
		i.spansDropped.With().Set(float64(s.Pusher.Dropped()))
		i.pushes.With().Set(float64(s.Pusher.Failed()))
	}
	if s.Transcripts != nil {
		written, dropped := s.Transcripts()
		i.transcribed.With().Set(float64(written))
		i.untranscribed.With().Set(float64(dropped))
	}
	i.goroutines.With().Set(float64(runtime.NumGoroutine()))
	i.uptime.With().Set(s.Now().Sub(s.Started).Seconds())
	if resident := residentMemory(); resident > 0 {
		i.memory.With().Set(resident)
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		i.files.With().Set(float64(len(open)))
	}
}

// residentMemory is the process's, in bytes; 0 where the system does not say.
func residentMemory() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(string(fields[1]))
	return float64(pages * os.Getpagesize())
}
