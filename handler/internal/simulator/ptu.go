package simulator

import (
	"fmt"
	"time"
)

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
