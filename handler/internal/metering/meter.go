// Package metering decides what requests are charged: what is reserved before a
// request is sent, from what its consumer's answers lately used, and what is
// charged afterwards, from what the backend reported or, where it did not, from
// what was delivered (docs/quotas.md#limits).
//
// It does not know how limits are kept over all instances (package quota), nor
// where usage is recorded (package accounting).
package metering

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
)

// Limiter keeps the limits (package quota).
type Limiter interface {
	Enter(c *consumer.Consumer, free bool) (leave func(), err error)
	Reserve(ctx context.Context, c *consumer.Consumer, d quota.Demand) (*quota.Reservation, error)
	Correct(c *consumer.Consumer, k quota.Kept, expected, used quota.Usage)
	Exhausted(c *consumer.Consumer, d *quota.Demand) bool
	RateLimits(c *consumer.Consumer, caller, model string, price usage.Price) quota.RateLimitStatus
}

// Meter reserves and settles. It is safe for concurrent use.
type Meter struct {
	Limiter Limiter          // nil = nothing is limited
	Pools   []*balancer.Pool // by health.Slot: whose backends the slots are; nil = those of the result

	*learned
}

// learned is what answers lately used.
type learned struct {
	mu       sync.Mutex
	profiles map[profileKey]*usage.Profile
	shared   sharedMeans
	callers  callerMeans
}

// New returns a Meter that shares what it learns in the table of the limits; nil =
// it learns by itself.
func New(limiter Limiter, pools []*balancer.Pool, store tablestore.Store) *Meter {
	return &Meter{Limiter: limiter, Pools: pools, learned: &learned{shared: sharedMeans{store: store}}}
}

// WithPools is a Meter of other pools that learns together with this one.
func (m *Meter) WithPools(pools []*balancer.Pool) *Meter {
	return &Meter{Limiter: m.Limiter, Pools: pools, learned: m.learned}
}

// profileKey is a kind of answer.
type profileKey struct {
	consumer, model, operation string
	stream                     bool
	stored                     bool // its prompt is more than its body shows
}

// namesStored reports whether the model reads what the service has stored, such as an
// earlier response, or a file, of which the body does not show how many tokens it has.
func namesStored(r *proxy.Request) bool {
	p := &r.Parsed
	named := func(x request.Reference) bool { return !x.Described }
	return p.File || p.PreviousResponseID != "" || p.Conversation != "" || slices.ContainsFunc(p.References, named) ||
		r.Operation.Name == "responses" && bytes.Contains(r.Body, fileAddress)
}

// fileAddress is the member with the address of a file, as a body may have it that is
// read: within a string its quotes are escaped.
var fileAddress = []byte(`"file_url"`)

// maxProfiles bounds the memory: kinds come from configuration, so only a very
// large one has more.
const maxProfiles = 10_000

func keyOf(r *proxy.Request, model string) profileKey {
	k := profileKey{model: model, operation: r.Operation.Name, stream: r.Parsed.Stream, stored: namesStored(r)}
	if r.Consumer != nil {
		k.consumer = r.Consumer.Name
	}
	return k
}

// expect is what the next answer of a kind is expected to use: while too few are
// known, those of the same kind that were streamed or were not.
func (m *Meter) expect(k profileKey) usage.Expectation {
	m.mu.Lock()
	defer m.mu.Unlock()
	other := k
	other.stream = !k.stream
	var e, o usage.Expectation
	if p := m.profiles[k]; p != nil {
		e = p.Expect()
	}
	if p := m.profiles[other]; p != nil && e.Answers < certainAnswers {
		o = p.Expect()
	}
	if o.Answers > e.Answers {
		o.Idle = 0
		return o
	}
	return e
}

// learn remembers an answer.
func (m *Meter) learn(r *proxy.Request, model string, s usage.Sample) {
	k := keyOf(r, model)
	if r.Consumer != nil && r.Consumer.PerCaller != nil {
		m.callers.learn(r, k, s.Tokens.Completion/max(1, s.Choices))
	}
	m.learnKind(k, s)
}

func (m *Meter) learnKind(k profileKey, s usage.Sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.profiles[k]
	if p == nil {
		if m.profiles == nil || len(m.profiles) >= maxProfiles {
			m.profiles = map[profileKey]*usage.Profile{}
		}
		p = new(usage.Profile)
		m.profiles[k] = p
	}
	p.Add(s)
	m.shared.learned(k, s.Tokens.Completion/max(1, s.Choices), p.Expect())
}

// Reservation is what was reserved for a request. A nil Reservation reserves
// nothing, and its methods may be called.
type Reservation struct {
	quota    *quota.Reservation
	expect   usage.Expectation
	prompt   int64
	next     atomic.Int64                                     // tokens from which on more is reserved
	fallback func(ctx context.Context, p *balancer.Pool) bool // nil = none has limits of its own

	promised atomic.Pointer[Charge] // of the background response begun last; nil = none, or it was fulfilled
}

// Enter counts a request that begins; leave must be called once, when it is over. The
// error is a [quota.ExceededError] when a limit that does not depend on its body
// refuses it: that of requests under way, or one with nothing left.
func (m *Meter) Enter(c *consumer.Consumer, free bool) (leave func(), err error) {
	if m.Limiter == nil {
		return func() {}, nil
	}
	return m.Limiter.Enter(c, free)
}

// Reserve reserves what the request may use from the limits of its consumer. The
// error is a [quota.ExceededError] when one of them has not enough left. The
// pools are those that may serve it, in order.
func (m *Meter) Reserve(ctx context.Context, r *proxy.Request, pools []*balancer.Pool) (*Reservation, error) {
	if m.Limiter == nil || r.Consumer == nil {
		return unlimited(r), nil
	}
	k := keyOf(r, pools[0].Model)
	e := m.expect(k)
	if e.Answers < certainAnswers {
		if fleet := m.shared.mean(k); fleet.Answers > int64(e.Answers) {
			e.Output, e.Answers = fleet.Output, int(min(fleet.Answers, certainAnswers))
			e.Speed = fleet.Speed
		}
	}
	if r.Consumer.PerCaller != nil {
		m.callers.expect(r, k, &e)
	}
	d := demand(r, pools, &e)
	reserved, err := m.Limiter.Reserve(ctx, r.Consumer, d)
	if err != nil {
		return nil, err
	}
	if reserved == nil {
		return unlimited(r), nil
	}
	x := &Reservation{quota: reserved, expect: e, prompt: d.Prompt + d.Hidden}
	x.next.Store(farPast(x.prompt + d.Output))
	if len(r.Consumer.PerModel) > 0 {
		x.fallback = func(ctx context.Context, p *balancer.Pool) bool {
			d := m.demandOf(r, p)
			return reserved.Fallback(ctx, &d)
		}
	}
	return x, nil
}

// demandOf is what the request may use when this pool serves it.
func (m *Meter) demandOf(r *proxy.Request, p *balancer.Pool) quota.Demand {
	e := m.expect(keyOf(r, p.Model))
	return demand(r, []*balancer.Pool{p}, &e)
}

// unlimited is the reservation of a request without limits: it has one if something
// may be promised for it.
func unlimited(r *proxy.Request) *Reservation {
	if startsBackground(r) {
		return new(Reservation)
	}
	return nil
}

// RateLimits is the state of the limits per minute of the request's consumer and
// caller, for the pool's model.
func (m *Meter) RateLimits(r *proxy.Request, p *balancer.Pool) quota.RateLimitStatus {
	if m.Limiter == nil {
		return quota.RateLimitStatus{}
	}
	return m.Limiter.RateLimits(r.Consumer, callerOf(r), p.Model, p.Price)
}

// WithinLimits returns the pools without the fallbacks whose own limits, of the
// request's consumer, are used up. The first pool stays: its limits refuse the
// request.
func (m *Meter) WithinLimits(r *proxy.Request, pools []*balancer.Pool) []*balancer.Pool {
	if m.Limiter == nil || r.Consumer == nil || len(r.Consumer.PerModel) == 0 {
		return pools
	}
	kept := pools[:1:1]
	for i := 1; i < len(pools); i++ {
		if d := m.demandOf(r, pools[i]); !m.Limiter.Exhausted(r.Consumer, &d) {
			kept = append(kept, pools[i])
		}
	}
	return kept
}

// certainAnswers is how many answers make an expectation.
const certainAnswers = 5

// demand is what a request may use.
func demand(r *proxy.Request, pools []*balancer.Pool, e *usage.Expectation) quota.Demand {
	d := quota.Demand{Caller: callerOf(r), Model: pools[0].Model, Size: r.Tokens, Price: pools[0].Price, MaxPrice: dearest(pools, r)}
	if r.Operation.Counts() {
		d.Size = 0
	}
	if r.Operation.Free() {
		return d
	}
	d.Prompt, d.Hidden = e.Prompt(r.Parsed.PromptBytes)-e.HiddenPrompt, e.HiddenPrompt
	d.MaxPrompt = usage.MostTokens(r.Parsed.PromptBytes)
	if namesStored(r) {
		d.MaxPrompt += LargestPrompt(pools[0])
	}
	d.MaxOutput = maxOutput(r, pools[0])
	d.Output = min(e.Output*max(1, r.Parsed.Choices), d.MaxOutput)
	d.MinuteOutput = min(minuteOutput(e)*max(1, r.Parsed.Choices), d.MaxOutput)
	d.Images, d.Seconds, d.MaxSeconds = images(r), seconds(r, usualSpeech), seconds(r, densestSpeech)
	d.Lasting = r.Parsed.Background
	d.Certainty = min(1, float64(e.Answers)/certainAnswers)
	return d
}

// minuteOutput is how many tokens one answer may have in a minute, whatever was
// expected: as fast as answers of some length lately were. While there was none, as
// much as most models can answer at all: an expectation that rests on short answers
// alone may have been made so.
func minuteOutput(e *usage.Expectation) int64 {
	if e.Speed > 0 {
		return min(int64(60*max(e.Speed, leastSpeed)), commonLargest)
	}
	return commonLargest
}

const (
	commonLargest = 16_384 // tokens
	leastSpeed    = 50     // tokens a second; a caller that reads slowly makes answers seem slow
)

// dearest is the most that each token of the prompt and of the answer may cost: at any
// backend of the pools, at the service tier that the caller asks for, as the dearest
// that there may be.
func dearest(pools []*balancer.Pool, r *proxy.Request) usage.Price {
	sound, tier := r.Parsed.Audio || r.Operation.Name == "speech", tierOf(r)
	most := pools[0].Price.Dearest(sound)
	for _, p := range pools {
		var last *usage.Price // mostly all backends have the price of the pool
		for i := range p.Backends {
			at := p.PriceAt(&p.Backends[i])
			if at == last {
				continue
			}
			last = at
			price := at.ForTier(tier)
			price = price.Dearest(sound)
			most = most.Dearer(&price)
		}
	}
	return most
}

// tierOf is the service tier that the caller asks for; "" = the default one
// (docs/azure-openai.md#service-tiers).
func tierOf(r *proxy.Request) string {
	tier := cmp.Or(strings.ToLower(r.Header.Get("X-Ms-Service-Tier")), r.Parsed.ServiceTier)
	if tier == "auto" {
		return ""
	}
	return tier
}

// maxOutput is the most that an answer can have: what the caller allows for each
// choice, else the largest of the model.
func maxOutput(r *proxy.Request, p *balancer.Pool) int64 {
	choices, each := max(1, r.Parsed.Choices), r.Parsed.MaxOutputTokens
	switch {
	case !generates(&r.Operation):
		return spoken(r, p)
	case each == 0:
		each = LargestAnswer(p)
	}
	if each > maxTokens/choices {
		return maxTokens
	}
	return each * choices
}

// maxTokens is more than any answer has.
const maxTokens = 1 << 40

// generates reports whether answers of the operation have tokens of their own.
func generates(o *operations.Operation) bool {
	switch o.Name {
	case "embeddings", "speech", "models":
		return false
	}
	return !o.Free()
}

// farPast is from how many tokens on an answer has run far past so many.
func farPast(tokens int64) int64 { return tokens + tokens/4 }

// Progress reserves more when the text that was relayed so far runs far past what
// is reserved: an answer under way that is larger than expected leaves less to
// others.
func (x *Reservation) Progress(textBytes int64) {
	if x == nil {
		return
	}
	if n := x.prompt + x.expect.Text(textBytes); n > x.next.Load() {
		x.quota.Grow(farPast(n))
		x.next.Store(farPast(n))
	}
}

// Caller is the caller that the request is charged to, as reports name it; "" =
// the consumer's callers are not kept apart.
func (x *Reservation) Caller() string {
	if x == nil {
		return ""
	}
	return x.quota.Caller()
}

// Another asks for one more attempt of the request at the same time; nil = any
// number may be.
func (x *Reservation) Another() func() (release func(), ok bool) {
	if x == nil || !x.quota.Concurrent() {
		return nil
	}
	return x.quota.Another
}

// Fallback is what asks whether a fallback may serve, as in [proxy.Request].
func (x *Reservation) Fallback() func(ctx context.Context, p *balancer.Pool) bool {
	if x == nil {
		return nil
	}
	return x.fallback
}

// Refund returns what is still reserved.
func (x *Reservation) Refund() {
	if x != nil {
		x.quota.Refund()
	}
}
