package health

// The share of normal traffic in the two steps of a recovery, in percent.
const (
	firstRampShare  = 10
	secondRampShare = 30
)

// Share is how much of its normal traffic a recovering backend should get at
// now, in percent; 0 = all of it. It is a function of the record and the
// instant, so that all instances ramp up together and nobody writes.
func (c Circuit) Share(now int64, p BreakerPolicy) uint8 {
	if c.State != Closed || c.Trips == 0 || p.RampStep <= 0 {
		return 0
	}
	switch step := p.RampStep.Milliseconds(); {
	case now < c.Since+step:
		return firstRampShare
	case now < c.Since+2*step:
		return secondRampShare
	}
	return 0
}
