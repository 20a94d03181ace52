// Package table is what the shared state, quotas, usage, affinity and keys
// need of Azure Table Storage: rows of string columns, swapped against a
// version. It knows no SDK and no network; azuretable and memory do.
package tablestore

import (
	"context"
	"errors"
	"time"
)

// Version is a row's revision mark (its ETag). "" means that there is no row.
type Version string

// Row is one entity. Columns hold strings only, most of them JSON records, so
// that columns of a newer version of the program survive a merge.
type Row struct {
	Partition string
	Key       string
	Version   Version
	Columns   map[string]string
}

// Response is what an exchange says besides its result. Date is the service's
// clock in whole seconds, the only clock that all instances share; zero when
// no answer came.
type Response struct{ Date time.Time }

// What an exchange with the store can end in, besides success. Tell them apart
// with errors.Is.
var (
	ErrNotFound = errors.New("table: no such row")
	// ErrConflict: the row changed since it was read, exists already, or is
	// gone. This attempt was not applied; an earlier one of the same writer,
	// whose answer was lost, may have been.
	ErrConflict = errors.New("table: row changed meanwhile")
	// ErrUnknown: a timeout, a broken connection, a 5xx. The write may have
	// been applied, or may still be, up to 30 s later.
	ErrUnknown = errors.New("table: outcome unknown")
	// ErrRefused: the service said no and will go on saying so: credentials,
	// limits, a malformed row.
	ErrRefused = errors.New("table: refused")
)

// Store is one table. Implementations make exactly one try per call, obey the
// deadline of ctx, and are safe for concurrent use.
type Store interface {
	// Get reads one row, or ErrNotFound.
	Get(ctx context.Context, partition, key string) (Row, Response, error)
	// Put inserts the row when its Version is "", else merges its columns into
	// the row at that version; ErrConflict when another writer came first.
	Put(ctx context.Context, row Row) (Version, Response, error)
	// Upsert inserts or merges whatever is there: for rows with a single writer.
	Upsert(ctx context.Context, row Row) (Version, Response, error)
	// List reads the rows of a partition with from <= key < to, in order of
	// key; "" bounds nothing. The partition "" is the whole table.
	List(ctx context.Context, partition, from, to string) ([]Row, Response, error)
	// Delete removes the row at that version; a row already gone is no error.
	Delete(ctx context.Context, row Row) (Response, error)
}
