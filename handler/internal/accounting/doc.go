// Package usagebook keeps what was used: tokens and money by hour, consumer,
// model and backend, in a table that outlives every instance.
//
// # What is promised
//
// Each process writes rows of its own, one an hour (more than a thousand
// combinations of consumer, model and backend take further rows), and nobody
// else ever writes them. A row holds the sums of its hour so far, whole, so that
// writing it again changes nothing; each write is a swap against the version
// that this process wrote last, so that one whose answer was lost, and which
// lands late, cannot take back what came after it.
//
// A process that ends in good order loses nothing. One that is killed loses what
// was used since its last flush: at most [Config.Every] and the time of one
// exchange with the table, and while the table is out of reach, what was used
// since then. Nothing is ever counted twice.
//
// What is counted is what the backends said. An answer that did not say (a
// stream that broke ahead of its usage, an answer that is no text) is counted as
// unmetered. An attempt whose answer never reached the caller has no usage that
// anybody could know.
//
// Hours are UTC, by the clock of the instance that served, and by the end of the
// request.
package accounting
