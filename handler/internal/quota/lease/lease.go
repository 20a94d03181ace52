// Package quota is the arithmetic of a limit that a whole fleet shares: how
// much an instance may spend out of its own head, when it must ask the table,
// and what the books say afterwards. It does no I/O, reads no clock and draws
// no lots; package ledger lends it all three.
//
// # How a limit is kept
//
// One row of the table holds one limit of one consumer: what was granted in the
// window that runs ([Record]). An instance's side of it is an [Account]:
//
//   - While an even share of what is left is worth several requests, the
//     instance leases chunks of it and spends them without a word to anybody.
//     Chunks shrink as the row drains.
//   - While the row is known to have room to spare, but shares are small, the
//     instance spends first and books at once afterwards. How much the fleet may
//     have spent meanwhile is taken off before.
//   - Otherwise the request waits for the table, which grants exactly what it
//     needs.
//   - A row known to be used up refuses without asking.
//
// What was booked beyond the limit is carried into the next window, so that the
// mean stays within the limit whatever happens in one window. A request is
// charged to the window that has begun for certain; within the uncertainty of
// the clock (about a tenth of a second) that is the earlier one, so that a
// window under overload is never started twice (facts/table-state.md §4 leaves
// the choice open).
//
// # Writes whose answer is lost
//
// Every write carries a nonce that stays in the record. An instance that does
// not know whether its write landed reads the row: once the version has moved
// on, either the nonce is there or the write is dead. So no chunk is lost and
// no bill booked twice by a lost answer (facts/table-state.md §3 rule 4).
package lease
