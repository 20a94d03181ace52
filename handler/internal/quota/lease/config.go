package lease

import "time"

// LimitConfig is the configuration of a limit. It must be the same on all
// instances, so it comes from configuration alone.
type LimitConfig struct {
	Limit   int64 // units per window, over the fleet
	Period  Period
	Shards  int           // rows that share the limit; 0 = 1. A request cannot be larger than Limit/Shards
	Refresh time.Duration // the age at which the row is read again; 0 = 500 ms
	// Ceiling: requests reserve what they may use, which is to hold in every window, so that
	// little is spent before it is booked. What is used beyond half of the limit is carried
	// into the next window.
	Ceiling bool
}

// Largest is the largest request that can fit: one shard's share.
func (c LimitConfig) Largest() int64 { return c.Limit / int64(max(1, c.Shards)) }

// Moment is when something happens: the instant by this process's clock, for
// ages and rates, and the window by the table's clock.
type Moment struct {
	At           time.Time
	Window       int64         // the window that has begun for certain: the earlier one, within the uncertainty of the clock
	LatestWindow int64         // the latest window that could have begun
	WindowAge    time.Duration // since Window began
	Estimated    bool          // the table's clock is not known: the windows are those of this machine's clock
	Instances    int           // instances that may be spending; 0 = not known
	Cold         bool          // this instance has just started: others that have are not known yet
}

// UntilEnd is the time until the window of that number has ended.
func (m Moment) UntilEnd(p Period, window int64) time.Duration {
	return p.Ends(window).Sub(p.Begins(m.Window)) - m.WindowAge
}
