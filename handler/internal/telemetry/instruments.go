package telemetry

import "spillway/handler/internal/telemetry/meter"

// instruments is every family. The names that begin with gen_ai and http are
// OpenTelemetry's, with the buckets that it prescribes (facts/reliability.md
// §5.4); the others are ours.
type instruments struct {
	// Requests of callers.
	http, operation, tokens, overhead  *meter.Family
	kinds, cost, refusals, spills      *meter.Family
	firstToken, perToken               *meter.Family
	server, attempts, failovers, waits *meter.Family

	// Backends, as this instance believes them to be.
	phase, available, throttled, share, inFlight *meter.Family

	// The shared state.
	exchange, writes, conflicts, unknown, readFailures *meter.Family
	outage, age, degraded                              *meter.Family
	trips, probes, leases                              *meter.Family
	disagreement, changes, wasted, clockWidth          *meter.Family

	// Quotas, and this process.
	limit, remaining                  *meter.Family
	logDropped, spansDropped, pushes  *meter.Family
	memory, goroutines, files, uptime *meter.Family
	transcribed, untranscribed        *meter.Family
}

// The buckets that OpenTelemetry prescribes, and ours for what we add to a
// request.
func tokenBounds() []float64 {
	return []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
}

func operationBounds() []float64 {
	return []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
}

func firstTokenBounds() []float64 {
	return []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
}

func perTokenBounds() []float64 {
	return []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
}

func httpBounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
}

func overheadBounds() []float64 {
	return []float64{0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1}
}

func newInstruments(r *meter.Registry) *instruments {
	m := maker{r}
	i := new(instruments)
	m.requests(i)
	m.backends(i)
	m.state(i)
	m.process(i)
	return i
}

type maker struct{ *meter.Registry }

func (m maker) counter(name, unit, help string) *meter.Family {
	return m.Add(meter.Desc{Name: name, Unit: unit, Help: help, Kind: meter.Counter})
}

func (m maker) gauge(name, unit, help string) *meter.Family {
	return m.Add(meter.Desc{Name: name, Unit: unit, Help: help, Kind: meter.Gauge})
}

func (m maker) histogram(name, unit, help string, bounds []float64) *meter.Family {
	return m.Add(meter.Desc{Name: name, Unit: unit, Help: help, Kind: meter.Histogram, Bounds: bounds})
}

func (m maker) requests(i *instruments) {
	i.http = m.histogram("http.server.request.duration", "s", "Requests of callers, to the end of the answer.", httpBounds())
	i.operation = m.histogram("gen_ai.client.operation.duration", "s", "Requests whose model was found, to the end of the answer.", operationBounds())
	i.tokens = m.histogram("gen_ai.client.token.usage", "{token}", "Tokens of one answer.", tokenBounds())
	i.kinds = m.counter("spillway.tokens", "{token}", "Tokens by kind: input, of it cached; output, of it reasoning.")
	i.cost = m.counter("spillway.cost", "{currency}", "Money by the prices of the pool document.")
	i.overhead = m.histogram("spillway.overhead", "s", "The part of a request that no backend and no waiting room took.", overheadBounds())
	i.refusals = m.counter("spillway.refusals", "{request}", "Requests that got an error of Spillway's own, by its code.")
	i.spills = m.counter("spillway.spills", "{request}", "Requests served below the best priority group that their consumer may use.")
	i.firstToken = m.histogram("gen_ai.server.time_to_first_token", "s", "From the beginning of the attempt that served.", firstTokenBounds())
	i.perToken = m.histogram("gen_ai.server.time_per_output_token", "s", "Behind the first token of a stream.", perTokenBounds())
	i.server = m.histogram("gen_ai.server.request.duration", "s", "Attempts at backends, to the end of the answer.", operationBounds())
	i.attempts = m.counter("spillway.attempts", "{attempt}", "Attempts at backends, by verdict and reason.")
	i.failovers = m.counter("spillway.failovers", "{attempt}", "Attempts that another followed, by the backend that was left and why.")
	i.waits = m.counter("spillway.throttle.time", "s", "Time for which backends asked to be left alone.")
}

func (m maker) backends(i *instruments) {
	i.phase = m.gauge("spillway.breaker.phase", "", "0 closed, 1 half-open, 2 open.")
	i.available = m.gauge("spillway.backend.available", "", "1: a request would be sent there now.")
	i.throttled = m.gauge("spillway.backend.throttle.remaining", "s", "How long the backend is still to be left alone.")
	i.share = m.gauge("spillway.backend.share", "%", "Share of its normal traffic while it recovers; 100 = all of it.")
	i.inFlight = m.gauge("spillway.backend.in_flight", "{request}", "Attempts under way, of this instance.")
	i.limit = m.gauge("spillway.quota.limit", "", "What a consumer may use in one period of the limit.")
	i.remaining = m.gauge("spillway.quota.remaining", "", "What is left of it in the fleet, as far as this instance knows.")
}

func (m maker) state(i *instruments) {
	i.exchange = m.histogram("spillway.table.exchange.duration", "s", "Exchanges with the table.", tableBounds())
	i.writes = m.counter("spillway.table.writes", "{exchange}", "Writes of shared state.")
	i.conflicts = m.counter("spillway.table.conflicts", "{exchange}", "Writes that another instance came before.")
	i.unknown = m.counter("spillway.table.unknown", "{exchange}", "Writes of unknown outcome, settled by reading back.")
	i.readFailures = m.counter("spillway.table.read_failures", "{exchange}", "Reads without an answer.")
	i.outage = m.counter("spillway.table.outage", "s", "Time without the table.")
	i.age = m.gauge("spillway.table.age", "s", "How old the table's last answer is.")
	i.degraded = m.gauge("spillway.table.degraded", "", "1: the table is out of reach, and the instance on its own.")
	i.trips = m.counter("spillway.breaker.trips", "{trip}", "Trips that this instance adopted.")
	i.probes = m.counter("spillway.breaker.probes", "{request}", "Requests sent as probes: of the fleet, or of this instance alone.")
	i.leases = m.counter("spillway.breaker.leases", "{lease}", "Probe leases that this instance held.")
	i.disagreement = m.counter("spillway.agreement.disagreement", "s", "Time between others' changes and their adoption here.")
	i.changes = m.counter("spillway.agreement.changes", "{change}", "Changes of others that this instance adopted.")
	i.wasted = m.counter("spillway.agreement.wasted", "{request}", "Requests sent to a backend that the table knew to be shut.")
	i.clockWidth = m.gauge("spillway.clock.width", "s", "How exactly the table service's clock is known.")
}

func (m maker) process(i *instruments) {
	i.logDropped = m.counter("spillway.log.dropped", "{line}", "Lines of the log that were lost to a slow reader.")
	i.spansDropped = m.counter("spillway.telemetry.spans_dropped", "{span}", "Spans that could not be pushed.")
	i.pushes = m.counter("spillway.telemetry.failed_pushes", "{push}", "Pushes by OTLP that failed.")
	i.transcribed = m.counter("spillway.transcripts.written", "{blob}", "Blobs of transcripts that were written.")
	i.untranscribed = m.counter("spillway.transcripts.dropped", "{blob}", "Blobs of transcripts that were given up: the container did not keep up.")
	i.memory = m.gauge("process.memory.usage", "By", "Resident memory.")
	i.goroutines = m.gauge("go.goroutine.count", "{goroutine}", "Live goroutines.")
	i.files = m.gauge("process.open_file_descriptor.count", "{file_descriptor}", "Open files and sockets.")
	i.uptime = m.gauge("process.uptime", "s", "Time since the process began.")
}
