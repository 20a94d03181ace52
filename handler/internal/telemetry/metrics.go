package telemetry

import (
	"net/http"
	"strconv"
	"strings"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/telemetry/meter"
)

var _ api.Observer = (*Metrics)(nil)

// Metrics counts the requests. What it counts in is found by what the request
// was, so that one more request of a known kind allocates nothing.
type Metrics struct {
	Registry *meter.Registry

	slots       []string
	instruments *instruments
	requests    cache[requestKey, requestSeries]
	attempts    cache[attemptKey, attemptSeries]
}

// NewMetrics makes every family of the registry. Slots are the names
// "backend/model" by health.Slot.
func NewMetrics(r *meter.Registry, slots []string) *Metrics {
	return &Metrics{Registry: r, slots: slots, instruments: newInstruments(r)}
}

// requestKey is what tells requests apart. Its texts come from configuration
// and fixed vocabularies.
type requestKey struct {
	consumer          *consumer.Consumer
	last              *balancer.Pool    // that was tried; nil = none was
	served            *balancer.Backend // nil = nobody served
	model             string
	operation, family string
	method            string
	code              string
	status            int
	stream, broken    bool
	metered, spilled  bool
}

// requestSeries is what a request counts in; nil = it does not.
type requestSeries struct {
	http, operation, overhead            *meter.Series
	input, output                        *meter.Series
	prompt, cached, completion, thinking *meter.Series
	cost, refusal, spill                 *meter.Series
	firstToken, perToken                 *meter.Series
}

// RequestDone counts a request that is over.
func (m *Metrics) RequestDone(x *api.RequestRecord) {
	k := requestKey{
		consumer: x.Consumer, model: x.Model, operation: x.Operation, family: x.Family,
		method: methodName(x.Method), code: x.Code, status: x.Status, stream: x.Stream,
	}
	if x.Result != nil {
		d := &x.Result.Delivery
		k.last, k.served, k.broken, k.spilled = x.Result.Pool, x.Result.ServedBy, d.Broken, Spilled(x.Result)
		k.metered = d.Usage.Total() > 0
	}
	s := m.requests.get(k, m.newRequestSeries)
	s.http.Observe(x.Duration.Seconds())
	if s.refusal != nil {
		s.refusal.Add(1)
	}
	if x.Result != nil {
		s.countResult(x)
		m.countAttempts(x)
	}
}

func (s *requestSeries) countResult(x *api.RequestRecord) {
	s.operation.Observe(x.Duration.Seconds())
	s.overhead.Observe(overhead(x).Seconds())
	if s.spill != nil {
		s.spill.Add(1)
	}
	d := &x.Result.Delivery
	if s.input != nil {
		s.input.Observe(float64(d.Usage.Prompt))
		s.output.Observe(float64(d.Usage.Completion))
		s.prompt.Add(float64(d.Usage.Prompt))
		s.cached.Add(float64(d.Usage.Cached))
		s.completion.Add(float64(d.Usage.Completion))
		s.thinking.Add(float64(d.Usage.Reasoning))
	}
	if s.cost != nil {
		s.cost.Add(x.Result.Pool.Price.Cost(d.Usage))
	}
	if s.firstToken == nil || d.FirstToken.IsZero() {
		return
	}
	for i := range x.Result.Attempts {
		if a := &x.Result.Attempts[i]; a.Backend == x.Result.ServedBy {
			s.firstToken.Observe(max(d.FirstToken.Sub(a.Began), 0).Seconds())
		}
	}
	if rest := d.Usage.Completion - 1; s.perToken != nil && rest > 0 {
		s.perToken.Observe(max(x.Start.Add(x.Duration).Sub(d.FirstToken), 0).Seconds() / float64(rest))
	}
}

// newRequestSeries makes what a new kind of request counts in.
func (m *Metrics) newRequestSeries(k requestKey) *requestSeries {
	i, s := m.instruments, new(requestSeries)
	who := meter.Label{Name: "spillway.consumer"}
	if k.consumer != nil {
		who.Value = k.consumer.Name
	}
	s.http = i.http.With(label("http.request.method", k.method), label("http.route", httpRoute(&k)), label("http.response.status_code", statusText(k.status)),
		label("error.type", errorType(&k)))
	if k.code != "" {
		s.refusal = i.refusals.With(label("error.type", k.code), label("gen_ai.request.model", k.model), who)
	}
	if k.last == nil {
		return s
	}
	asked := []meter.Label{label("gen_ai.operation.name", operationName(k.operation)), label("gen_ai.provider.name", providerName(k.served)), label("gen_ai.request.model", k.model)}
	if k.served != nil {
		asked = append(asked, label("gen_ai.response.model", k.last.Model), label("spillway.backend", k.served.Name))
	}
	full := append(asked[:len(asked):len(asked)], who)
	s.operation = i.operation.With(append(full[:len(full):len(full)], label("error.type", errorType(&k)))...)
	s.overhead = i.overhead.With(label("gen_ai.operation.name", operationName(k.operation)))
	if k.served != nil {
		m.servedSeries(s, &k, asked, full)
	}
	return s
}

// servedSeries is the part that only a request has that a backend served.
func (m *Metrics) servedSeries(s *requestSeries, k *requestKey, asked, full []meter.Label) {
	i := m.instruments
	s.firstToken = i.firstToken.With(asked...)
	if k.stream {
		s.perToken = i.perToken.With(asked...)
	}
	if k.spilled {
		s.spill = i.spills.With(full...)
	}
	if !k.metered {
		return
	}
	of := func(f *meter.Family, kind string) *meter.Series {
		return f.With(append(full[:len(full):len(full)], label("gen_ai.token.type", kind))...)
	}
	s.input, s.output = of(i.tokens, "input"), of(i.tokens, "output")
	s.prompt, s.cached, s.completion, s.thinking = of(i.kinds, "input"), of(i.kinds, "cached"), of(i.kinds, "output"), of(i.kinds, "reasoning")
	if k.last.Price.Currency != "" {
		s.cost = i.cost.With(append(full[:len(full):len(full)], label("spillway.currency", k.last.Price.Currency))...)
	}
}

// attemptKey is what tells attempts apart.
type attemptKey struct {
	backend   *balancer.Backend
	operation string
	verdict   string
	why       string
	status    int
}

type attemptSeries struct{ duration, count, failover, wait *meter.Series }

// countAttempts counts the attempts of a request.
func (m *Metrics) countAttempts(x *api.RequestRecord) {
	r := x.Result
	for i := range r.Attempts {
		a := &r.Attempts[i]
		s := m.attempts.get(attemptKey{a.Backend, x.Operation, a.Outcome.Class.String(), a.Outcome.Reason, a.Status}, m.newAttemptSeries)
		s.duration.Observe(a.Took.Seconds())
		s.count.Add(1)
		if i < len(r.Attempts)-1 {
			s.failover.Add(1)
		}
		if a.Outcome.Wait > 0 {
			s.wait.Add(a.Outcome.Wait.Seconds())
		}
	}
}

func (m *Metrics) newAttemptSeries(k attemptKey) *attemptSeries {
	i := m.instruments
	where := []meter.Label{label("gen_ai.request.model", slotModel(m.slots, k.backend)), label("spillway.backend", k.backend.Name)}
	verdict := append(where[:2:2], label("spillway.verdict", k.verdict), label("error.type", k.why))
	return &attemptSeries{
		duration: i.server.With(append(where[:2:2], label("gen_ai.operation.name", operationName(k.operation)), label("gen_ai.provider.name", providerName(k.backend)),
			label("error.type", k.why))...),
		count:    i.attempts.With(append(verdict[:4:4], label("http.response.status_code", statusText(k.status)))...),
		failover: i.failovers.With(verdict...),
		wait:     i.waits.With(where...),
	}
}

// Handler answers with everything as Prometheus text. Behind a load balancer a
// scrape reaches one instance at random: the label says which.
func (m *Metrics) Handler(instance string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", meter.ContentType)
		w.Header().Set("Cache-Control", "no-store")
		_ = meter.WriteText(w, m.Registry.Gather(), label("instance", instance)) // the scraper left
	})
}

func label(name, value string) meter.Label { return meter.Label{Name: name, Value: value} }

// slotModel is the model that the backend is of: a request may have tried those
// of several.
func slotModel(slots []string, b *balancer.Backend) string {
	if int(b.Slot) >= len(slots) {
		return ""
	}
	_, model, _ := strings.Cut(slots[b.Slot], "/")
	return model
}

// methodName is OpenTelemetry's word for a method that it does not know.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "_OTHER"
}

// httpRoute is the path without what callers put into it.
func httpRoute(k *requestKey) string {
	if k.operation == "" {
		return "other"
	}
	return "/" + k.family + "/" + k.operation
}

// errorType is OpenTelemetry's error.type: "" for what went well.
func errorType(k *requestKey) string {
	switch {
	case k.broken:
		return "broken"
	case k.code != "":
		return k.code
	case k.status >= http.StatusBadRequest:
		return strconv.Itoa(k.status)
	}
	return ""
}

func statusText(status int) string {
	if status < 100 || status > 599 {
		return ""
	}
	return strconv.Itoa(status)
}

// operationName is OpenTelemetry's name where it has one.
func operationName(operation string) string {
	switch operation {
	case "completions":
		return "text_completion"
	case "responses", "compact":
		return "chat"
	case "":
		return "other"
	}
	return operation
}

// providerName is who serves, by OpenTelemetry's names.
func providerName(b *balancer.Backend) string {
	if b != nil && b.OpenAI {
		return "openai"
	}
	return "azure.ai.openai"
}
