package health

// The share of normal traffic in the two steps of a recovery, in percent.
const (
	firstStep  = 10
	secondStep = 30
)

// Share is how much of its normal traffic a recovering backend should get at
// now, in percent; 0 = all of it. It is a function of the record and the
// instant, so that all instances ramp up together and nobody writes.
func (c Circuit) Share(now int64, p BreakerPolicy) uint8 {
	if c.Phase != Closed || c.Trips == 0 || p.Ramp <= 0 {
		return 0
	}
	switch step := p.Ramp.Milliseconds(); {
	case now < c.Since+step:
		return firstStep
	case now < c.Since+2*step:
		return secondStep
	}
	return 0
}
