package health

import (
	"cmp"
	"slices"
)

// MaxReports bounds the list of a circuit: beyond it the oldest are dropped.
const MaxReports = 64

// FailureReport is a batch of failures that one instance saw. It is published
// because the sum over the fleet may trip a circuit that no single instance
// would. Reporter and At identify it, so that publishing it twice counts once.
type FailureReport struct {
	Reporter string // short id of the instance
	At       int64  // its newest failure
	Failures int
}

func (f FailureReport) compare(g FailureReport) int {
	return cmp.Or(cmp.Compare(f.At, g.At), cmp.Compare(f.Reporter, g.Reporter))
}

// mergeReports returns the reports of both, in order of time, at most MaxReports.
func mergeReports(a, b []FailureReport) []FailureReport {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	// Of two reports with one identity the larger is kept: it sorts first.
	slices.SortFunc(all, func(f, g FailureReport) int { return cmp.Or(f.compare(g), cmp.Compare(g.Failures, f.Failures)) })
	all = slices.CompactFunc(all, func(f, g FailureReport) bool { return f.compare(g) == 0 })
	return all[max(0, len(all)-MaxReports):]
}

// AddReport adds a report, and drops those that have left the window.
func (c Circuit) AddReport(f FailureReport, now TimeBounds, p BreakerPolicy) Circuit {
	recent := slices.DeleteFunc(slices.Clone(c.Reports), func(g FailureReport) bool { return g.At <= now.Earliest-p.Interval.Milliseconds() })
	c.Reports = mergeReports(recent, []FailureReport{f})
	return c
}

// HasReport reports whether the report is in the list already.
func (c Circuit) HasReport(f FailureReport) bool {
	return slices.ContainsFunc(c.Reports, func(g FailureReport) bool { return g.compare(f) == 0 && g.Failures >= f.Failures })
}

// reporterFailures are the failures of one reporter in the window.
type reporterFailures struct {
	reporter string
	failures int
	first    int64
}

// failuresByReporter sums the window's reports, in order of each reporter's first.
func (c Circuit) failuresByReporter(now TimeBounds, p BreakerPolicy) []reporterFailures {
	var all []reporterFailures
	for _, f := range c.Reports {
		if f.At <= now.Earliest-p.Interval.Milliseconds() {
			continue
		}
		i := slices.IndexFunc(all, func(r reporterFailures) bool { return r.reporter == f.Reporter })
		if i < 0 {
			all = append(all, reporterFailures{reporter: f.Reporter, first: f.At})
			i = len(all) - 1
		}
		all[i].failures += f.Failures
	}
	return all
}

// ShouldTrip reports whether the reports add up to a trip.
//
// One reporter counts for at most half of a trip, rounded up: an instance whose
// own network is broken sees every backend fail, and must not take them from
// the others. Alone it trips the circuit only if it has reported enough for a
// trip and no instance that was served since objected within ObjectionPeriod.
func (c Circuit) ShouldTrip(now TimeBounds, p BreakerPolicy) bool {
	sum := 0
	for _, r := range c.failuresByReporter(now, p) {
		sum += min(r.failures, (p.Failures+1)/2)
		if r.failures >= p.Failures && now.Earliest >= r.first+p.ObjectionPeriod.Milliseconds() && c.LastObjection < r.first {
			return true
		}
	}
	return sum >= p.Failures
}

// FailuresReportedBy is how many failures the reporter has in the window.
func (c Circuit) FailuresReportedBy(reporter string, now TimeBounds, p BreakerPolicy) int {
	for _, r := range c.failuresByReporter(now, p) {
		if r.reporter == reporter {
			return r.failures
		}
	}
	return 0
}

// FirstUnopposedReport is the instant of the first report without a later
// objection; false when there is none.
func (c Circuit) FirstUnopposedReport(now TimeBounds, p BreakerPolicy) (int64, bool) {
	for _, r := range c.failuresByReporter(now, p) {
		if c.LastObjection < r.first {
			return r.first, true
		}
	}
	return 0, false
}

// Object records that an instance was served at that instant.
func (c Circuit) Object(served int64) Circuit {
	c.LastObjection = max(c.LastObjection, served)
	return c
}
