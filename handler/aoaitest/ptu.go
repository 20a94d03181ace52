package aoaitest

import (
	"fmt"
	"math"
	"time"
)

const defaultBurst = 10 * time.Second

// bucket is the leaky bucket of a provisioned deployment
// (facts/azure-openai.md §3.5): filled by estimates, corrected by what was
// really used, drained without pause. Above 100 % it refuses.
type bucket struct {
	rate   float64 // tokens drained per second; 0 is unlimited
	size   float64 // tokens at 100 %
	level  float64
	at     time.Time
	report PTUReport
	shutAt time.Time // since when it stood above 100 %, zero when it does not
	openAt time.Time // since when it stands open unused after having been full
}

// PTUReport says how a provisioned deployment was used since it was made or
// reset. Busy/Elapsed is its use; Slack is capacity thrown away by callers.
type PTUReport struct {
	Elapsed     time.Duration `json:"elapsed"`
	Busy        time.Duration `json:"busy"`        // something was in the bucket
	Shut        time.Duration `json:"shut"`        // above 100 %: refusing
	Slack       time.Duration `json:"slack"`       // open again after having been shut, until the next admission
	Admitted    int           `json:"admitted"`    // requests
	Refused     int           `json:"refused"`     // requests
	Drained     float64       `json:"drained"`     // tokens worked off
	Utilization float64       `json:"utilization"` // percent, now
}

// BusyShare is Busy over Elapsed, 0 when nothing elapsed.
func (r PTUReport) BusyShare() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Busy) / float64(r.Elapsed)
}

func newBucket(d Deployment, now time.Time) bucket {
	b := bucket{at: now}
	b.resize(d)
	return b
}

// resize takes over a deployment's capacity and keeps the level.
func (b *bucket) resize(d Deployment) {
	burst := d.ProvisionedBurst
	if burst <= 0 {
		burst = defaultBurst
	}
	b.rate = float64(d.ProvisionedTokensPerMinute) / 60
	b.size = b.rate * burst.Seconds()
}

// admit adds an estimate, or says how long the bucket stays above 100 %. A
// request that finds it at 100 % or below is served even if it fills it above.
func (b *bucket) admit(now time.Time, estimate int) (time.Duration, bool) {
	b.drain(now)
	if b.level > b.size && b.rate > 0 {
		b.report.Refused++
		return b.untilOpen(), false
	}
	if !b.openAt.IsZero() {
		b.report.Slack += now.Sub(b.openAt)
		b.openAt = time.Time{}
	}
	b.report.Admitted++
	b.add(float64(estimate))
	return 0, true
}

// settle corrects an admitted estimate by what the request really took.
func (b *bucket) settle(now time.Time, estimate, actual int) {
	b.drain(now)
	b.add(float64(actual - estimate))
}

func (b *bucket) add(tokens float64) {
	if b.rate == 0 {
		return
	}
	b.level = max(0, b.level+tokens)
	switch above := b.level > b.size; {
	case above && b.shutAt.IsZero():
		b.shutAt, b.openAt = b.at, time.Time{}
	case !above && !b.shutAt.IsZero():
		b.shutAt, b.openAt = time.Time{}, b.at
	}
}

// drain moves the bucket to now and books the time that went by.
func (b *bucket) drain(now time.Time) {
	passed := now.Sub(b.at)
	if passed <= 0 {
		return
	}
	b.report.Elapsed += passed
	if b.rate > 0 && b.level > 0 {
		busy := min(passed, seconds(b.level/b.rate))
		b.report.Busy += busy
		b.report.Drained += min(b.level, b.rate*passed.Seconds())
		b.bookShut(passed)
		b.level = max(0, b.level-b.rate*passed.Seconds())
	}
	b.at = now
}

func (b *bucket) bookShut(passed time.Duration) {
	if b.shutAt.IsZero() {
		return
	}
	shut := b.untilOpen()
	if shut > passed {
		b.report.Shut += passed
		return
	}
	b.report.Shut += shut
	b.shutAt, b.openAt = time.Time{}, b.at.Add(shut)
}

// untilOpen is how long until the bucket is at 100 %.
func (b *bucket) untilOpen() time.Duration {
	if b.rate == 0 || b.level <= b.size {
		return 0
	}
	return seconds((b.level - b.size) / b.rate)
}

// utilization is in percent.
func (b *bucket) utilization() float64 {
	if b.size == 0 {
		return 0
	}
	return 100 * b.level / b.size
}

// at reports the bucket's use up to now.
func (b *bucket) reportAt(now time.Time) PTUReport {
	b.drain(now)
	r := b.report
	r.Utilization = b.utilization()
	if !b.openAt.IsZero() {
		r.Slack += now.Sub(b.openAt)
	}
	return r
}

// utilizationText is the header's form: "87.3%".
func utilizationText(percent float64) string { return fmt.Sprintf("%.1f%%", percent) }

// seconds rounds up to the nanosecond, so that a wait is never too short.
func seconds(s float64) time.Duration { return time.Duration(math.Ceil(s * float64(time.Second))) }
