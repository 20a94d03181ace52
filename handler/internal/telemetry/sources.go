package telemetry

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/telemetry/condition"
)

// Sources are what metrics are read from that nobody records as it happens.
// They are read when metrics are collected and at no other time. The fields of
// the last group may be nil.
type Sources struct {
	Slots    []string // by health.Slot: "backend/model"
	Snapshot func() *health.Snapshot
	Counters func() fleet.Counters
	InFlight func(slot health.Slot) int64
	// Suspicions returns how many failures make instances suspect the slot.
	Suspicions func(slot health.Slot) int
	Now        func() time.Time
	Started    time.Time

	Quotas    func() []quota.LimitStatus
	LogWriter *LogWriter
	// Conditions are the parts that may fail.
	Conditions *condition.Set
	// RefusedKeys returns how many credentials of operators were refused.
	RefusedKeys func() uint64
	// Transcripts returns how many blobs of transcripts were written and how
	// many were dropped.
	Transcripts func() (written, dropped uint64)
	// Memory is the budget of requests.
	Memory *overload.Budget
}

// observables are the instruments that are read from Sources.
type observables struct {
	builder
	all []metric.Observable

	// Backends, by the state that this instance knows.
	phase, own, suspicions                metric.Float64Observable
	available, throttled, share, inFlight metric.Float64Observable

	// The shared state.
	writes, conflicts, unknown, readFailures  metric.Float64Observable
	outage, age, degraded, readOnly, leftOut  metric.Float64Observable
	trips, ownTrips, probes, leases, stalls   metric.Float64Observable
	disagreement, changes, wasted, clockWidth metric.Float64Observable

	// Quotas, and this process.
	limit, used, remaining                  metric.Float64Observable
	logDropped, spansDropped, failedExports metric.Float64Observable
	memory, goroutines, files, uptime       metric.Float64Observable
	memoryHeld, memoryBudget                metric.Float64Observable
	transcriptsWritten, transcriptsDropped  metric.Float64Observable
	refusedKeys, conditions                 metric.Float64Observable
}

func (o *observables) gauge(name, unit, help string) metric.Float64Observable {
	g, err := o.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
	return o.keep(g, err)
}

func (o *observables) total(name, unit, help string) metric.Float64Observable {
	c, err := o.Float64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
	return o.keep(c, err)
}

// amount is a number that OpenTelemetry's conventions make an up-down counter.
func (o *observables) amount(name, unit, help string) metric.Float64Observable {
	c, err := o.Float64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
	return o.keep(c, err)
}

func (o *observables) keep(i metric.Float64Observable, err error) metric.Float64Observable {
	o.err = errors.Join(o.err, err)
	o.all = append(o.all, i)
	return i
}

func newObservables(b builder) *observables {
	o := &observables{builder: b}
	o.addBackends()
	o.addState()
	o.addProcess()
	return o
}

func (o *observables) addBackends() {
	o.phase = o.gauge("spillway.breaker.phase", "", "0 closed, 1 half-open, 2 open, as it binds this instance.")
	o.own = o.gauge("spillway.breaker.own", "", "1: the circuit is not closed and binds this instance alone.")
	o.suspicions = o.gauge("spillway.breaker.suspicions", "{failure}", "Failures by which instances suspect the backend, too few for one of them to open its circuit.")
	o.available = o.gauge("spillway.backend.available", "", "1: a request would be sent to it now.")
	o.throttled = o.gauge("spillway.backend.throttle.remaining", "s", "How long the backend is still throttled.")
	o.share = o.gauge("spillway.backend.share", "%", "Share of its normal traffic that it gets: 100 = all of it, less while it recovers, 0 while its circuit is not closed or it is drained.")
	o.inFlight = o.gauge("spillway.backend.in_flight", "{request}", "Attempts in flight, of this instance.")
	o.limit = o.gauge("spillway.quota.limit", "", "What a consumer may use in one period of the limit.")
	o.used = o.gauge("spillway.quota.used", "", "What was used of it over all instances, as far as this one knows: of a month by requests that ended.")
	o.remaining = o.gauge("spillway.quota.remaining", "", "What is left of it over all instances, as far as this one knows.")
}

func (o *observables) addState() {
	o.writes = o.total("spillway.table.writes", "{exchange}", "Writes of shared state.")
	o.conflicts = o.total("spillway.table.conflicts", "{exchange}", "Writes refused because another instance had written first.")
	o.unknown = o.total("spillway.table.unknown", "{exchange}", "Writes of unknown outcome, settled by reading back.")
	o.readFailures = o.total("spillway.table.read_failures", "{exchange}", "Reads without an answer.")
	o.outage = o.total("spillway.table.outage", "s", "Time without the table.")
	o.age = o.gauge("spillway.table.age", "s", "Age of the table's last answer.")
	o.degraded = o.gauge("spillway.table.degraded", "", "1: the last exchange with the table failed, or it takes no write.")
	o.readOnly = o.gauge("spillway.table.read_only", "", "1: the table can be read but not written: what this instance sees stays with it.")
	o.leftOut = o.total("spillway.table.records_left_out", "{record}", "Records that the full row had no space for.")
	o.trips = o.total("spillway.breaker.trips", "{trip}", "Trips of the fleet's circuits that this instance adopted.")
	o.ownTrips = o.total("spillway.breaker.own_trips", "{trip}", "Trips by what this instance saw itself.")
	o.stalls = o.total("spillway.process.stalls", "{stall}", "Times this process did not run for more than a second; attempts of that time are no evidence.")
	o.probes = o.total("spillway.breaker.probes", "{request}", "Requests sent as probes: of all instances, or of this instance alone.")
	o.leases = o.total("spillway.breaker.leases", "{lease}", "Probe leases that this instance held.")
	o.disagreement = o.total("spillway.agreement.disagreement", "s", "Time between changes by other instances and their adoption here.")
	o.changes = o.total("spillway.agreement.changes", "{change}", "Changes by other instances that this one adopted.")
	o.wasted = o.total("spillway.agreement.wasted", "{request}", "Requests sent to a backend that was unavailable by the table.")
	o.clockWidth = o.gauge("spillway.clock.width", "s", "Uncertainty of the estimate of the table service's clock.")
}

func (o *observables) addProcess() {
	o.logDropped = o.total("spillway.log.dropped", "{line}", "Log lines dropped because their reader was too slow.")
	o.spansDropped = o.total("spillway.telemetry.spans_dropped", "{span}", "Spans that were not exported.")
	o.failedExports = o.total("spillway.telemetry.failed_pushes", "{push}", "Exports of metrics or spans that failed.")
	o.transcriptsWritten = o.total("spillway.transcripts.written", "{blob}", "Blobs of transcripts that were written.")
	o.transcriptsDropped = o.total("spillway.transcripts.dropped", "{blob}", "Blobs of transcripts that were dropped because the container was too slow or failed.")
	o.conditions = o.gauge("spillway.condition", "", "How a part of this instance is: 0 ok, 1 degraded, 2 failing.")
	o.refusedKeys = o.total("spillway.operators.refused", "{request}", "Requests below /ops with a credential that was refused.")
	o.memory = o.amount("process.memory.usage", "By", "Resident memory.")
	o.memoryHeld = o.gauge("spillway.memory.held", "By", "Memory that requests hold.")
	o.memoryBudget = o.gauge("spillway.memory.budget", "By", "Memory that requests may hold; beyond it they are refused with 503 overloaded.")
	o.goroutines = o.amount("go.goroutine.count", "{goroutine}", "Live goroutines.")
	o.files = o.amount("process.open_file_descriptor.count", "{file_descriptor}", "Open files and sockets.")
	o.uptime = o.gauge("process.uptime", "s", "Time since the process started.")
}

// observation is one collection of metrics.
type observation struct {
	metric.Observer
	*observables
	*Sources
}

// set reports a value with the attributes.
func (o *observation) set(i metric.Float64Observable, value float64, attributes ...attribute.KeyValue) {
	o.ObserveFloat64(i, value, metric.WithAttributeSet(setOf(attributes)))
}

func (o *observation) backends() {
	now, snapshot := o.Now(), o.Snapshot()
	for slot, name := range o.Slots {
		if name == "" {
			continue // it is of no backend
		}
		h := snapshot.Of(health.Slot(slot))
		backend, model, _ := strings.Cut(name, "/")
		where := []attribute.KeyValue{text("gen_ai.request.model", model), text("spillway.backend", backend)}
		o.set(o.phase, phaseNumber(h.StateAt(now)), where...)
		o.set(o.own, number(h.Own), where...)
		if o.Suspicions != nil {
			o.set(o.suspicions, float64(o.Suspicions(health.Slot(slot))), where...)
		}
		o.set(o.available, number(h.SkipReason(now, 0) == health.NotSkipped), where...)
		o.set(o.throttled, max(h.Throttle.Until.Sub(now), 0).Seconds(), where...)
		o.set(o.share, sharePercent(h, now), where...)
		if o.InFlight != nil {
			o.set(o.inFlight, float64(o.InFlight(health.Slot(slot))), where...)
		}
	}
}

// phaseNumber orders the states of a circuit by how bad they are.
func phaseNumber(s health.CircuitState) float64 {
	switch s {
	case health.Closed:
	case health.HalfOpen:
		return 1
	case health.Open:
		return 2
	}
	return 0
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (o *observation) state() {
	c := o.Counters()
	for i, n := range map[metric.Float64Observable]float64{
		o.writes: float64(c.Writes), o.conflicts: float64(c.Conflicts), o.unknown: float64(c.UnknownOutcomes), o.readFailures: float64(c.ReadFailures),
		o.outage: c.Outage.Seconds(), o.age: c.SinceContact.Seconds(), o.degraded: number(c.Disconnected || readOnly(&c) || c.LastError != nil),
		o.readOnly: number(readOnly(&c)), o.leftOut: float64(c.RecordsLeftOut), o.stalls: float64(c.Stalls),
		o.trips: float64(c.Trips), o.ownTrips: float64(c.OwnTrips), o.leases: float64(c.Leases),
		o.disagreement: c.Disagreement.Seconds(), o.changes: float64(c.Disagreements), o.wasted: float64(c.StaleRequests),
		o.clockWidth: c.ClockUncertainty.Seconds(),
	} {
		o.set(i, n)
	}
	o.set(o.probes, float64(c.Probes), text("spillway.probe", "fleet"))
	o.set(o.probes, float64(c.LocalProbes), text("spillway.probe", "alone"))
}

// readOnly reports whether the table answers but takes no write.
func readOnly(c *fleet.Counters) bool { return c.WriteError != nil && !c.Disconnected }

// mostLimits is how many limits of consumers have series of their own.
const mostLimits = 400

func (o *observation) quotas() {
	if o.Quotas == nil {
		return
	}
	for _, l := range topLimits(o.Quotas(), mostLimits) {
		attributes := []attribute.KeyValue{text("spillway.consumer", l.Consumer), text("spillway.limit", l.Limit), text("gen_ai.request.model", l.Model)}
		o.set(o.limit, l.Amount, attributes...)
		o.set(o.used, l.Used, attributes...)
		o.set(o.remaining, l.Remaining, attributes...)
	}
}

func (o *observation) process() {
	if o.LogWriter != nil {
		o.set(o.logDropped, float64(o.LogWriter.Dropped()))
	}
	if o.Transcripts != nil {
		written, dropped := o.Transcripts()
		o.set(o.transcriptsWritten, float64(written))
		o.set(o.transcriptsDropped, float64(dropped))
	}
	if o.Conditions != nil {
		for _, c := range o.Conditions.All() {
			o.set(o.conditions, float64(c.State), text("spillway.part", c.Part.Name))
		}
	}
	if o.RefusedKeys != nil {
		o.set(o.refusedKeys, float64(o.RefusedKeys()))
	}
	if o.Memory != nil {
		o.set(o.memoryHeld, float64(o.Memory.Used()))
		o.set(o.memoryBudget, float64(o.Memory.Limit))
	}
	o.set(o.goroutines, float64(runtime.NumGoroutine()))
	o.set(o.uptime, o.Now().Sub(o.Started).Seconds())
	if resident := residentMemory(); resident > 0 {
		o.set(o.memory, resident)
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		o.set(o.files, float64(len(open)))
	}
}

// residentMemory is the process's, in bytes; 0 where the system has no /proc.
func residentMemory() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(statm)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(string(fields[1]))
	return float64(pages * os.Getpagesize())
}

// tableExchanges is the histogram of exchanges with the table, which fleet
// counts by itself: OpenTelemetry has no asynchronous histogram.
type tableExchanges struct{ p *Provider }

// Produce returns the histogram since the process started.
func (t tableExchanges) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	s := t.p.sources.Load()
	if s == nil {
		return nil, nil
	}
	c := s.Counters()
	point := metricdata.HistogramDataPoint[float64]{StartTime: s.Started, Time: s.Now(), Sum: c.ExchangeTime.Seconds(), BucketCounts: c.Latency[:]}
	for _, n := range c.Latency {
		point.Count += n
	}
	for _, b := range fleet.LatencyBounds() {
		point.Bounds = append(point.Bounds, b.Seconds())
	}
	return []metricdata.ScopeMetrics{{
		Scope: instrumentation.Scope{Name: scope},
		Metrics: []metricdata.Metrics{{
			Name: "spillway.table.exchange.duration", Unit: "s", Description: "Exchanges with the table.",
			Data: metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: []metricdata.HistogramDataPoint[float64]{point}},
		}},
	}}, nil
}

// sharePercent is the share of its normal traffic that the slot gets.
func sharePercent(h *health.Health, now time.Time) float64 {
	switch {
	case h.Drained, h.StateAt(now) != health.Closed:
		return 0
	case h.TrafficPercent > 0:
		return float64(h.TrafficPercent)
	}
	return 100
}
