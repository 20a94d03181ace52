package simulator

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SKU is the kind of capacity behind a deployment.
type SKU string

// The kinds of capacity. The zero SKU is Standard.
const (
	Standard       SKU = "Standard"
	GlobalStandard SKU = "GlobalStandard"
	Provisioned    SKU = "Provisioned"
)

// Deployment is one model of a resource. The zero value with Name and Model
// answers at once and without limit.
type Deployment struct {
	Name         string `json:"name"`
	Model        string `json:"model"`
	ModelVersion string `json:"modelVersion,omitempty"`
	SKU          SKU    `json:"sku,omitempty"`

	// TokensPerMinute and RequestsPerMinute are the limits of a pay-as-you-go
	// deployment; 0 is none.
	TokensPerMinute   int `json:"tokensPerMinute,omitempty"`
	RequestsPerMinute int `json:"requestsPerMinute,omitempty"`

	// SlidingTokens counts tokens over the last 60 s instead of with a counter that
	// is reset each minute.
	SlidingTokens bool `json:"slidingTokens,omitempty"`

	// RequestWindow is the part of a minute over which RequestsPerMinute is
	// enforced: 1 s or 10 s (docs/azure-openai.md#how-limits-count); 0 is 10 s.
	RequestWindow time.Duration `json:"requestWindow,omitempty"`

	// SimpleEstimate charges max_tokens, else 16, without the prompt, as the
	// aoai-api-simulator does; otherwise a request is charged prompt plus output.
	SimpleEstimate bool `json:"simpleEstimate,omitempty"`

	// RateHeaders is the form of the x-ratelimit-* headers.
	RateHeaders RateHeaders `json:"rateHeaders,omitempty"`

	// ProvisionedTokensPerMinute is the rate at which a Provisioned deployment's
	// bucket drains; 0 is unlimited. ProvisionedBurst is the size of the bucket at
	// 100 %, as the time in which it drains; 0 is 10 s.
	ProvisionedTokensPerMinute int           `json:"provisionedTokensPerMinute,omitempty"`
	ProvisionedBurst           time.Duration `json:"provisionedBurst,omitempty"`

	// ContextWindow is the most tokens of prompt and output; 0 is no limit.
	ContextWindow int `json:"contextWindow,omitempty"`

	// AsyncFilter sends tokens at once and their annotations later, in chunks
	// without a delta. FilterBurst is how many tokens the synchronous filter holds
	// before it sends them together; 0 is 1.
	AsyncFilter bool `json:"asyncFilter,omitempty"`
	FilterBurst int  `json:"filterBurst,omitempty"`

	// Spillover is the deployment of the same resource that serves what this one
	// refuses (docs/azure-openai.md#spillover).
	Spillover string `json:"spillover,omitempty"`

	// TimeToFirstToken and PerToken delay a response; PerPromptToken is added to
	// the former for each prompt token that was not cached. Jitter is the
	// standard deviation as a share of each. LoadFactor adds that share of the
	// time for each other request in flight.
	TimeToFirstToken time.Duration `json:"timeToFirstToken,omitempty"`
	PerToken         time.Duration `json:"perToken,omitempty"`
	PerPromptToken   time.Duration `json:"perPromptToken,omitempty"`
	Jitter           float64       `json:"jitter,omitempty"`
	LoadFactor       float64       `json:"loadFactor,omitempty"`

	// AnswerTokens is the length of a completion unless the request limits it; 0 is
	// 16. Answer is its text; "" is seeded text.
	AnswerTokens int    `json:"answerTokens,omitempty"`
	Answer       string `json:"answer,omitempty"`

	// ReasoningTokens are charged before the visible completion.
	ReasoningTokens int `json:"reasoningTokens,omitempty"`

	// Supports overrides the model's capabilities, e.g. {"chat", "responses"}.
	Supports []string `json:"supports,omitempty"`
}

const standardOutputTokens = 16

func (d Deployment) validate() error {
	switch d.SKU {
	case "", Standard, GlobalStandard, Provisioned:
	default:
		return fmt.Errorf("sku %q is none of Standard, GlobalStandard, Provisioned", d.SKU)
	}
	if !slices.Contains([]RateHeaders{RateHeadersNormal, RateHeadersQuirk, RateHeadersNone}, d.RateHeaders) {
		return fmt.Errorf("rateHeaders %q is none of quirk, none, or empty", d.RateHeaders)
	}
	if d.Model == "" {
		return fmt.Errorf("deployment %q has no model; name the one it serves", d.Name)
	}
	return nil
}

// defaultOutputTokens is the length of a completion without a limit.
func (d Deployment) defaultOutputTokens() int {
	if d.AnswerTokens > 0 {
		return d.AnswerTokens
	}
	return standardOutputTokens
}

// servedModel is the model with its version, as responses name it.
func (d Deployment) servedModel() string {
	if d.ModelVersion == "" {
		return d.Model
	}
	return d.Model + "-" + d.ModelVersion
}

// reasons reports whether the model is of a reasoning family, which refuses
// max_tokens.
func (d Deployment) reasons() bool {
	return strings.HasPrefix(d.Model, "o1") || strings.HasPrefix(d.Model, "o3") ||
		strings.HasPrefix(d.Model, "o4") || strings.HasPrefix(d.Model, "gpt-5")
}

// supports reports whether the model has a capability: chat, messages, responses,
// completions, embeddings, images, speech or transcription.
func (d Deployment) supports(family string) bool {
	if len(d.Supports) > 0 {
		return slices.Contains(d.Supports, family)
	}
	switch {
	case strings.HasPrefix(d.Model, "claude"):
		return family == "messages"
	case strings.Contains(d.Model, "embedding"):
		return family == "embeddings"
	case strings.HasPrefix(d.Model, "dall-e"), strings.HasPrefix(d.Model, "gpt-image"):
		return family == "images"
	case strings.HasPrefix(d.Model, "whisper"), strings.Contains(d.Model, "transcribe"):
		return family == "transcription"
	case strings.HasPrefix(d.Model, "tts"), strings.HasSuffix(d.Model, "-tts"):
		return family == "speech"
	default:
		return family == "chat" || family == "responses" || family == "completions"
	}
}

// deployment is the state of a Deployment. Its configuration may be replaced
// while requests are served; each request keeps the one it began with.
type deployment struct {
	original Deployment
	spec     atomic.Pointer[Deployment]
	inFlight atomic.Int64

	mu sync.Mutex
	Capacity
}

func newDeployment(d Deployment, now time.Time) *deployment {
	dep := &deployment{original: d}
	dep.reset(now)
	return dep
}

func (d *deployment) reset(now time.Time) {
	spec := d.original
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spec.Store(&spec)
	d.Capacity = NewCapacity(spec, now)
}

const (
	defaultBurst    = 10 * time.Second
	largestEstimate = 100_000_000 // tokens; more would overflow
)

// minuteTokens is an amount of tokens in units of 1/(60·10⁹): a rate per minute
// drains whole units in a nanosecond, so nothing is ever rounded.
type minuteTokens int64

const oneToken = minuteTokens(time.Minute)

// bucket is the leaky bucket of a provisioned deployment
// (docs/azure-openai.md#provisioned-throughput): filled by estimates, corrected by
// real use, drained all the time. Above 100 % it refuses.
type bucket struct {
	rate      minuteTokens // drained per nanosecond: the tokens per minute; 0 is unlimited
	size      minuteTokens // at 100 %
	level     minuteTokens
	at        time.Time
	report    PTUReport
	saturated bool      // above 100 %
	idleSince time.Time // since when it is open and unused after a saturation
}

// PTUReport is the use of a provisioned deployment since it was made or reset.
// Idle is capacity that clients did not use after a refusal.
type PTUReport struct {
	Elapsed     time.Duration `json:"elapsed"`
	Busy        time.Duration `json:"busy"`        // the bucket was not empty
	Saturated   time.Duration `json:"shut"`        // above 100 %
	Idle        time.Duration `json:"slack"`       // open after a saturation, until the next admission
	Admitted    int           `json:"admitted"`    // requests
	Refused     int           `json:"refused"`     // requests
	Drained     float64       `json:"drained"`     // tokens
	Utilization float64       `json:"utilization"` // percent, now
}

// BusyShare is Busy over Elapsed, 0 when nothing elapsed.
func (r PTUReport) BusyShare() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Busy) / float64(r.Elapsed)
}

// UsedShare is the share of the time in which the deployment was busy or
// saturated: 1 − Idle/Elapsed, 1 when nothing elapsed.
func (r PTUReport) UsedShare() float64 {
	if r.Elapsed <= 0 {
		return 1
	}
	return 1 - float64(r.Idle)/float64(r.Elapsed)
}

func newBucket(d Deployment, now time.Time) bucket {
	b := bucket{at: now}
	b.resize(d)
	return b
}

// resize sets the capacity of a deployment and keeps the level.
func (b *bucket) resize(d Deployment) {
	burst := d.ProvisionedBurst
	if burst <= 0 {
		burst = defaultBurst
	}
	b.rate = minuteTokens(d.ProvisionedTokensPerMinute)
	b.size = b.rate * minuteTokens(burst)
	b.updateState()
}

// admit adds an estimate, or returns how long the bucket stays above 100 %. A
// request at 100 % or below is served even if it fills the bucket above.
func (b *bucket) admit(now time.Time, estimate int) (time.Duration, bool) {
	b.drain(now)
	if b.saturated {
		b.report.Refused++
		return b.untilAccepting(), false
	}
	if !b.idleSince.IsZero() {
		b.report.Idle += now.Sub(b.idleSince)
		b.idleSince = time.Time{}
	}
	b.report.Admitted++
	b.add(estimate)
	return 0, true
}

// settle replaces an admitted estimate by the request's real use.
func (b *bucket) settle(now time.Time, estimate, actual int) {
	b.drain(now)
	b.add(actual - estimate)
}

func (b *bucket) add(tokens int) {
	if b.rate > 0 {
		b.level = max(0, b.level+minuteTokens(tokens)*oneToken)
		b.updateState()
	}
}

// updateState records whether the bucket is above 100 %, and since when it is open
// and unused.
func (b *bucket) updateState() {
	above := b.level > b.size && b.rate > 0
	switch {
	case above:
		b.idleSince = time.Time{}
	case b.saturated:
		b.idleSince = b.at
	}
	b.saturated = above
}

// drain advances the bucket to now and accounts for the time.
func (b *bucket) drain(now time.Time) {
	passed := now.Sub(b.at)
	if passed <= 0 {
		return
	}
	b.report.Elapsed += passed
	if b.rate > 0 && b.level > 0 {
		b.drainBusy(passed)
	}
	b.at = now
}

func (b *bucket) drainBusy(passed time.Duration) {
	busy := min(passed, b.untilLevel(0))
	b.report.Busy += busy
	if b.saturated {
		saturated := min(passed, b.untilAccepting())
		b.report.Saturated += saturated
		b.idleSince = b.at.Add(saturated)
	}
	done := min(b.level, b.rate*minuteTokens(busy))
	b.report.Drained += float64(done) / float64(oneToken)
	b.level -= done
	b.saturated = b.level > b.size
	if b.saturated {
		b.idleSince = time.Time{}
	}
}

// untilLevel is how long until no more than this is in the bucket, rounded up
// to the nanosecond.
func (b *bucket) untilLevel(level minuteTokens) time.Duration {
	if b.rate == 0 || b.level <= level {
		return 0
	}
	return time.Duration((b.level - level + b.rate - 1) / b.rate)
}

// untilAccepting is how long until the bucket is at 100 %.
func (b *bucket) untilAccepting() time.Duration { return b.untilLevel(b.size) }

// utilization is in percent.
func (b *bucket) utilization() float64 {
	if b.size == 0 {
		return 0
	}
	return 100 * float64(b.level) / float64(b.size)
}

// reportAt is the bucket's use up to now.
func (b *bucket) reportAt(now time.Time) PTUReport {
	b.drain(now)
	r := b.report
	r.Utilization = b.utilization()
	if !b.idleSince.IsZero() {
		r.Idle += now.Sub(b.idleSince)
	}
	return r
}

// utilizationText is the header's form: "87.3%".
func utilizationText(percent float64) string { return fmt.Sprintf("%.1f%%", percent) }
