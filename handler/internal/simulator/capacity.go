package simulator

import "time"

// Capacity is what a deployment has left of its limits: what the simulated service
// admits requests by, without HTTP. Instants do not go back. It is not safe for
// concurrent use.
type Capacity struct {
	tokens   tokenCounter
	requests requestWindow
	bucket   bucket
}

// NewCapacity is the capacity of a deployment that nobody has used.
func NewCapacity(d Deployment, now time.Time) Capacity { return Capacity{bucket: newBucket(d, now)} }

// AdmitRequest counts a request, or returns how long none is accepted.
func (c *Capacity) AdmitRequest(now time.Time, d *Deployment) (time.Duration, bool) {
	return c.requests.admit(now, d)
}

// AdmitTokens charges the tokens that a request is estimated to use, or returns how long
// none are accepted.
func (c *Capacity) AdmitTokens(now time.Time, d *Deployment, estimate int) (time.Duration, bool) {
	if d.SKU == Provisioned {
		return c.bucket.admit(now, estimate)
	}
	return c.tokens.admit(now, d, estimate)
}

// Settle replaces an admitted estimate by what was used. Only a provisioned deployment
// corrects it.
func (c *Capacity) Settle(now time.Time, d *Deployment, estimate, actual int) {
	if d.SKU == Provisioned {
		c.bucket.settle(now, estimate, actual)
	}
}

// Report is the use of a provisioned deployment.
func (c *Capacity) Report(now time.Time) PTUReport { return c.bucket.reportAt(now) }

// TokensLeft is what is left of the tokens of the minute of a pay-as-you-go deployment,
// which may be less than none.
func (c *Capacity) TokensLeft(now time.Time, d *Deployment) int {
	c.tokens.advance(now, d.SlidingTokens)
	return d.TokensPerMinute - c.tokens.used
}
