package health

import (
	"cmp"
	"slices"
)

// MaxReports bounds the list: beyond it the oldest suspicions are forgotten.
const MaxReports = 64

// FailureReport is a batch of failures that one instance saw, published because the
// sum over the fleet may trip a circuit that no single instance would. Who and
// At identify it, so that publishing it twice counts once.
type FailureReport struct {
	Reporter string // the accuser, short
	At       int64  // its newest failure
	Failures int
}

func (s FailureReport) compare(t FailureReport) int {
	return cmp.Or(cmp.Compare(s.At, t.At), cmp.Compare(s.Reporter, t.Reporter))
}

// mergeReports is all that either says, in order of time, at most MaxSuspects.
func mergeReports(a, b []FailureReport) []FailureReport {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	// Of two batches with one name the larger stands; it comes last.
	slices.SortFunc(all, func(s, t FailureReport) int { return cmp.Or(s.compare(t), cmp.Compare(t.Failures, s.Failures)) })
	all = slices.CompactFunc(all, func(s, t FailureReport) bool { return s.compare(t) == 0 })
	return all[max(0, len(all)-MaxReports):]
}

// AddReport adds a batch, and forgets what has left the window.
func (c Circuit) AddReport(s FailureReport, now TimeBounds, p BreakerPolicy) Circuit {
	fresh := slices.DeleteFunc(slices.Clone(c.Reports), func(o FailureReport) bool { return o.At <= now.Earliest-p.Interval.Milliseconds() })
	c.Reports = mergeReports(fresh, []FailureReport{s})
	return c
}

// HasReport reports whether the batch is on the list already.
func (c Circuit) HasReport(s FailureReport) bool {
	return slices.ContainsFunc(c.Reports, func(o FailureReport) bool { return o.compare(s) == 0 && o.Failures >= s.Failures })
}

// reporterFailures is what one accuser says in the window.
type reporterFailures struct {
	reporter string
	failures int
	first    int64
}

// failuresByReporter sums the window's suspicions by accuser, in order of their first.
func (c Circuit) failuresByReporter(now TimeBounds, p BreakerPolicy) []reporterFailures {
	var all []reporterFailures
	for _, s := range c.Reports {
		if s.At <= now.Earliest-p.Interval.Milliseconds() {
			continue
		}
		i := slices.IndexFunc(all, func(v reporterFailures) bool { return v.reporter == s.Reporter })
		if i < 0 {
			all = append(all, reporterFailures{reporter: s.Reporter, first: s.At})
			i = len(all) - 1
		}
		all[i].failures += s.Failures
	}
	return all
}

// ShouldTrip reports whether the suspicions add up to a trip.
//
// One accuser weighs at most half of what a trip takes, rounded up: an instance
// whose own network is broken sees every backend fail, and must not take them
// from the others. What it says alone is believed only when it has said enough
// for a trip and no instance that was served meanwhile contradicted it within
// the Hearing; until then its own overlay protects its own callers.
func (c Circuit) ShouldTrip(now TimeBounds, p BreakerPolicy) bool {
	sum := 0
	for _, v := range c.failuresByReporter(now, p) {
		sum += min(v.failures, (p.Failures+1)/2)
		if v.failures >= p.Failures && now.Earliest >= v.first+p.ObjectionPeriod.Milliseconds() && c.LastObjection < v.first {
			return true
		}
	}
	return sum >= p.Failures
}

// FailuresReportedBy reports whether who has failures on the list, within the window.
func (c Circuit) FailuresReportedBy(who string, now TimeBounds, p BreakerPolicy) int {
	for _, v := range c.failuresByReporter(now, p) {
		if v.reporter == who {
			return v.failures
		}
	}
	return 0
}

// FirstUnopposedReport is the instant of the first accusation that nobody who was
// served since has contradicted; false when there is none.
func (c Circuit) FirstUnopposedReport(now TimeBounds, p BreakerPolicy) (int64, bool) {
	for _, v := range c.failuresByReporter(now, p) {
		if c.LastObjection < v.first {
			return v.first, true
		}
	}
	return 0, false
}

// Object notes that an instance was served at that instant.
func (c Circuit) Object(served int64) Circuit {
	c.LastObjection = max(c.LastObjection, served)
	return c
}
