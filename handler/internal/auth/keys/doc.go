// Package keys issues the keys of consumers and knows, on every instance, which
// ones are good.
//
// A key is spw_ and 58 letters and digits: 256 random bits and a checksum, so
// that a scanner for leaked secrets can tell one (spw_[a-z2-7]{58}) and be sure.
// The table keeps its SHA-256 only: a key is shown once. A consumer has at most
// two that are good, the old one and the new one, so that keys are changed
// without a refused request.
//
// # When a change is obeyed
//
// Every change puts a new stamp on the notice board, which every instance reads
// once per refresh while there is traffic. An instance that sees a new stamp
// reads the keys. So a key is refused everywhere within one refresh and two
// exchanges with the table of being revoked: 500 ms and some, at the default
// refresh.
//
// A request with a key that is known never waits for the table. One with a key
// that is not may wait for one look at the board, at most one per refresh on an
// instance, however many such requests come; so a new key works at its first use,
// or within one refresh where another unknown key was asked for just before. An
// instance that nobody has called for a minute has stopped reading the board:
// there the first request waits for a look (at most a second), whatever its
// key, because nothing that such an instance remembers is known to be so still.
// When the table is out of reach, what is remembered stands.
package keys
