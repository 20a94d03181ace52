// Package ledger keeps the quotas of consumers over all instances: it leases
// slices of each limit from the table, lets requests spend them, and books what
// was really used. The arithmetic is package quota's; this room lends it the
// table, the clock and chance.
//
// # What is promised
//
// For a limit L per minute, N instances, requests of at most m units, the time B
// until spending is booked (20 ms + one exchange with the table) and answers
// that use at most u more than was reserved for them:
//
//	any minute  ≤ L + u·(requests under way) + R·B
//	the mean    ≤ L + u·(requests under way)/minutes
//
// R is the rate at which the fleet admits; while it spends before it books, each
// instance owes at most an even share of what it last saw left, so R·B is never
// more than what was left at that look. What goes over is carried as debt, which
// is why the mean has no R in it.
//
// In numbers, from the simulation of package quota (N = 1, 20, 200; ten times the
// load; lost requests, lost answers, late writes, fake conflicts, instances that
// die; 203 seeded runs): the worst minute was 101.6 % of the limit where answers
// stayed within their reservation. Where they used up to 130 % of it, 103.2 % of
// 600,000 tokens and 105.9 % of 30,000, of which one answer is 5 %. The worst mean
// was 100.8 %. At 80 % load at most 0.04 % of the requests were refused, none in
// most runs. Twenty ledgers on the emulator, with faults: 99 to 103 %. Twenty
// processes on the emulator, ten times the load, from cold: 98.3 to 100.4 % in each
// of four minutes; with the processors kept busy by other work up to 113 % in one,
// and 95.6 to 100 % in later ones; none of 936 requests refused at 80 % load. A
// limit of fewer than some sixty requests a minute refuses now and then at 80 %
// load by chance alone, as any limit of that size would.
//
// For a limit M per month:
//
//	spent ≤ M + u·(requests under way) + N·m
//	not spendable ≤ crashes · min(M/1000, 30 s of the instance's own demand)
//
// A crash loses the lease of its instance: of a minute's limit it comes back with
// the next minute; of a month's, with the next month, which is why a month's
// lease is never more than a thousandth of it nor 30 seconds of demand. An
// instance that nobody calls gives its lease back after 2 seconds; one that is
// stopped in good order gives it back at once.
//
// # The table out of reach
//
// Leases go on being spent. Then each instance spends its even part: of what was
// last known to be left in this window, or of a whole window when nothing is
// known of this one, divided by the instances that were last seen; of a month,
// of at most a hundredth of it. Where the part is smaller than a request, as
// many instances as it takes serve one each. So the fleet stays about within its
// limits, and an instance with more than its share of callers refuses some that
// it would have served. All of it is booked when the table is back; what fits
// into the minutes in which nobody wrote burdens no later one.
//
// # Waiting
//
// A request waits for the table only when its instance holds no credit and the
// row is not known to have room: at most [Config.Patience], together for all its
// limits. Nothing is fetched for a consumer that nobody calls.
//
// # Concurrency
//
// A consumer's limit on requests at once holds on each instance for itself, as
// the pool document says. A share of it would refuse requests that the fleet has
// room for: which instance a request comes to is not the caller's choice.
//
// # How many instances
//
// Shares are cut for as many instances as run. Each says so itself in the table;
// one of them, in turn, counts every 15 to 30 s and puts the number on the notice
// board. Until the first count it is the number that has written a row of late.
package quota
