package telemetry

import (
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/quota"
)

var _ api.Observer = (*Metrics)(nil)

// Metrics counts requests. The series of a request are found by its kind, so
// that another request of a known kind allocates nothing.
type Metrics struct {
	slots       []string
	servers     []server
	instruments *instruments
	consumers   *topConsumers
	requests    cache[requestKey, requestSeries]
	attempts    cache[attemptKey, attemptSeries]
}

// requestKey is the kind of a request. Its texts come from configuration and
// fixed vocabularies.
type requestKey struct {
	consumer         *consumer.Consumer
	last             *balancer.Pool    // the last one tried; nil = none was
	served           *balancer.Backend // nil = none did
	model            string
	operation, route string
	method           string
	code, rule       string
	status           int
	stream           bool
	end              ending
	metered, spilled bool
}

// requestSeries are the series of one kind of request; nil = not recorded.
type requestSeries struct {
	http, operation, overhead            *histogramSeries
	input, output, firstToken, perToken  *histogramSeries
	prompt, cached, completion, thinking *counterSeries
	cost, rejection, spill               *counterSeries
}

// Warned counts a warning of what is left of a month.
func (m *Metrics) Warned(w *quota.Warning) {
	m.instruments.warnings.with(text("spillway.consumer", w.Consumer), text("spillway.limit", w.Limit), text("gen_ai.request.model", w.Model),
		text("spillway.mark", strconv.FormatFloat(w.Mark, 'f', -1, 64))).add(1)
}

// RequestDone counts a request that has ended.
func (m *Metrics) RequestDone(x *api.RequestRecord) {
	k := requestKey{
		consumer: m.consumers.of(x.Consumer), model: x.Model, operation: x.Operation, route: x.Route,
		method: methodName(x.Method), code: x.Code, rule: x.Rule, status: x.Status, stream: x.Stream,
	}
	if x.Result != nil {
		d := &x.Result.Delivery
		k.last, k.served, k.end, k.spilled = x.Result.Pool, x.Result.ServedBy, endingOf(x.Result), Spilled(x.Result)
		k.metered = d.Usage.Total() > 0
	}
	s := m.requests.get(k, m.newRequestSeries)
	s.http.observe(x.Duration.Seconds())
	if s.rejection != nil {
		s.rejection.add(1)
	}
	if x.Result != nil {
		s.countResult(x)
		m.countAttempts(x)
	}
}

func (s *requestSeries) countResult(x *api.RequestRecord) {
	s.operation.observe(x.Duration.Seconds())
	s.overhead.observe(overhead(x).Seconds())
	if s.spill != nil {
		s.spill.add(1)
	}
	d := &x.Result.Delivery
	if s.input != nil {
		s.input.observe(float64(d.Usage.Prompt))
		s.output.observe(float64(d.Usage.Completion))
		s.prompt.add(float64(d.Usage.Prompt))
		s.cached.add(float64(d.Usage.Cached))
		s.completion.add(float64(d.Usage.Completion))
		s.thinking.add(float64(d.Usage.Reasoning))
	}
	if s.cost != nil {
		_, cost, _ := metering.Total(x.Charges)
		s.cost.add(cost)
	}
	if s.firstToken == nil || d.FirstToken.IsZero() {
		return
	}
	if a := x.Result.ServingAttempt(); a != nil {
		s.firstToken.observe(max(d.FirstToken.Sub(a.Start), 0).Seconds())
	}
	if rest := d.Usage.Completion - 1; s.perToken != nil && rest > 0 {
		s.perToken.observe(max(x.Start.Add(x.Duration).Sub(d.FirstToken), 0).Seconds() / float64(rest))
	}
}

// newRequestSeries makes the series of a new kind of request.
func (m *Metrics) newRequestSeries(k requestKey) *requestSeries {
	i, s := m.instruments, new(requestSeries)
	who, failure := text("spillway.consumer", ""), text("error.type", errorType(k.code, k.status, k.end))
	if k.consumer != nil {
		who = text("spillway.consumer", k.consumer.Name)
	}
	// Callers speak HTTP to this server; whatever is in front of it speaks HTTPS.
	s.http = i.http.with(text("http.request.method", k.method), text("http.route", k.route), text("url.scheme", "http"), statusCode(k.status), failure)
	if k.code != "" {
		s.rejection = i.rejections.with(text("error.type", k.code), text("gen_ai.request.model", k.model), who, text("spillway.rule", k.rule))
	}
	if k.last == nil {
		return s
	}
	common := []attribute.KeyValue{text("gen_ai.operation.name", operationName(k.operation)), text("gen_ai.provider.name", providerName(k.served)), text("gen_ai.request.model", k.model)}
	if k.served != nil {
		common = append(common, text("gen_ai.response.model", k.last.Model), text("spillway.backend", k.served.Name))
	}
	s.operation = i.operation.with(slices.Concat(common, serverAttributes(m.servers, k.served), []attribute.KeyValue{who, failure})...)
	s.overhead = i.overhead.with(common[0])
	if k.served != nil {
		m.addServed(s, &k, common, who)
	}
	return s
}

// addServed adds the series of a request that a backend served.
func (m *Metrics) addServed(s *requestSeries, k *requestKey, common []attribute.KeyValue, who attribute.KeyValue) {
	i, address := m.instruments, serverAttributes(m.servers, k.served)
	full := append(slices.Clone(common), who)
	s.firstToken = i.firstToken.with(slices.Concat(common, address)...)
	if k.stream {
		s.perToken = i.perToken.with(slices.Concat(common, address)...)
	}
	if k.spilled {
		s.spill = i.spills.with(full...)
	}
	if !k.metered {
		return
	}
	usage := func(kind string) *histogramSeries {
		return i.tokens.with(slices.Concat(full, address, []attribute.KeyValue{text("gen_ai.token.type", kind)})...)
	}
	count := func(kind string) *counterSeries {
		return i.kinds.with(append(slices.Clone(full), text("gen_ai.token.type", kind))...)
	}
	s.input, s.output = usage("input"), usage("output")
	s.prompt, s.cached, s.completion, s.thinking = count("input"), count("cached"), count("output"), count("reasoning")
	if k.last.Price.Currency != "" {
		s.cost = i.cost.with(append(slices.Clone(full), text("spillway.currency", k.last.Price.Currency))...)
	}
}

// attemptKey is the kind of an attempt.
type attemptKey struct {
	backend   *balancer.Backend
	operation string
	verdict   string
	why       string
	status    int

	hedge, silent, trial bool
}

type attemptSeries struct {
	duration              *histogramSeries
	count, failover, wait *counterSeries
	hedge, silence, trial *counterSeries // nil = it is none
}

func (m *Metrics) countAttempts(x *api.RequestRecord) {
	r := x.Result
	for i := range r.Attempts {
		a := &r.Attempts[i]
		s := m.attempts.get(attemptKey{
			backend: a.Backend, operation: x.Operation, verdict: a.Outcome.Class.String(), why: a.Outcome.Reason, status: a.Status,
			hedge: a.Hedge, silent: a.Silent, trial: a.Trial,
		}, m.newAttemptSeries)
		s.duration.observe(a.Duration.Seconds())
		s.count.add(1)
		if i < len(r.Attempts)-1 {
			s.failover.add(1)
		}
		if a.Outcome.Wait > 0 {
			s.wait.add(a.Outcome.Wait.Seconds())
		}
		for _, kind := range [...]*counterSeries{s.hedge, s.silence, s.trial} {
			if kind != nil {
				kind.add(1)
			}
		}
	}
}

func (m *Metrics) newAttemptSeries(k attemptKey) *attemptSeries {
	i := m.instruments
	where := []attribute.KeyValue{text("gen_ai.request.model", slotModel(m.slots, k.backend)), text("spillway.backend", k.backend.Name)}
	failure := text("error.type", k.why)
	verdict := append(slices.Clone(where), text("spillway.verdict", k.verdict), failure)
	s := &attemptSeries{
		duration: i.server.with(slices.Concat(where, serverAttributes(m.servers, k.backend), []attribute.KeyValue{
			text("gen_ai.operation.name", operationName(k.operation)), text("gen_ai.provider.name", providerName(k.backend)), failure,
		})...),
		count:    i.attempts.with(append(slices.Clone(verdict), statusCode(k.status))...),
		failover: i.failovers.with(verdict...),
		wait:     i.waits.with(where...),
	}
	if k.hedge {
		s.hedge = i.hedges.with(verdict[:len(where)+1]...)
	}
	if k.silent {
		s.silence = i.silences.with(where...)
	}
	if k.trial {
		s.trial = i.trials.with(verdict[:len(where)+1]...)
	}
	return s
}
