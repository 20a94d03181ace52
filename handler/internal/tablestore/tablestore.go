// Package tablestore is what shared state, quotas, usage, affinity and keys need
// of Azure Table Storage: rows of string columns, with compare-and-swap. It knows
// neither the SDK nor what is stored. Package azure implements it for the
// service, package memory in the process.
package tablestore

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Version is a row's ETag, opaque. "" means that the row does not exist.
type Version string

// Row is one entity. Columns hold strings only, most of them JSON records, so
// that columns of a newer version of the program survive a merge.
type Row struct {
	Partition string
	Key       string
	Version   Version
	Columns   map[string]string
}

// Response is the metadata of an exchange. Date is the service's clock in whole
// seconds, the only clock that all instances share; zero without a response.
type Response struct {
	Date       time.Time
	RetryAfter time.Duration // how long the service asks not to be called; 0 = it does not
}

// The errors of an exchange, to be distinguished with errors.Is.
var (
	ErrNotFound = errors.New("table: no such row")
	// ErrConflict: the row changed since it was read, exists already, or was
	// deleted. This attempt was not applied; an earlier one of the same writer,
	// whose response was lost, may have been.
	ErrConflict = errors.New("table: row changed meanwhile")
	// ErrUnknown: a timeout, a broken connection, a 5xx. The write may have
	// been applied, or may still be, up to 30 s later
	// (docs/shared-state.md#what-the-table-does).
	ErrUnknown = errors.New("table: outcome unknown")
	// ErrRefused: the service rejects the request and would again: credentials,
	// limits, a malformed row.
	ErrRefused = errors.New("table: refused")
)

// Store is one table. Implementations try each call exactly once, obey the
// deadline of ctx, and are safe for concurrent use.
type Store interface {
	// Get reads one row, or ErrNotFound.
	Get(ctx context.Context, partition, key string) (Row, Response, error)
	// Put inserts the row when its Version is "", else merges its columns into
	// the row at that version; ErrConflict when another write preceded it.
	Put(ctx context.Context, row Row) (Version, Response, error)
	// Replace is Put, but that a row that exists has no other columns afterwards.
	Replace(ctx context.Context, row Row) (Version, Response, error)
	// Upsert inserts or merges at any version: for rows with a single writer.
	Upsert(ctx context.Context, row Row) (Version, Response, error)
	// List reads the rows of a partition with from <= key < to, in order of
	// key; "" is no bound. The partition "" is the whole table.
	List(ctx context.Context, partition, from, to string) ([]Row, Response, error)
	// Delete removes the row at that version; a row that does not exist is no error.
	Delete(ctx context.Context, row Row) (Response, error)
}

// EncodeKey escapes a name for a key of the table: letters, digits, '.', '_' and
// '-' stay, every other byte becomes ~ and two hexadecimal digits. Different
// names have different keys (docs/security.md#paths-and-names).
func EncodeKey(name string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			b.WriteByte('~')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}
