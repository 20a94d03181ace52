// Package keys issues consumers' keys and looks them up on every instance
// (docs/security.md#credentials). It does not know HTTP.
//
// A key is spw_ and 58 characters: 256 random bits and a checksum, so that
// scanners for leaked secrets can match spw_[a-z2-7]{58} and be sure. The table
// holds its SHA-256. A consumer has at most [MaxKeys] valid keys, so that they
// can be rotated without a refused request.
//
// # When a change takes effect
//
// Every change writes a new stamp to the change feed, a row that every instance
// reads once per refresh while there is traffic; an instance that reads a new
// stamp reads the keys. So a revoked key is refused everywhere within one
// refresh and two round trips to the table: about 500 ms at the default refresh.
//
// A request with a known key never waits for the table. One with an unknown key
// may wait for a read of the feed, at most one per refresh on an instance
// whatever the number of such requests; so a new key works at its first use, or
// within one refresh where another unknown key was used just before. After a
// minute without requests an instance no longer reads the feed: its next request
// waits for a read, at most a second, whatever its key. While the table cannot be
// read, known keys stay valid.
package keys
