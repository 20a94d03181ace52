// Package memory is a table in the process's memory: for runs without Azure, and
// tests.
package memory

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"spillway/handler/internal/tablestore"
)

var _ tablestore.Store = (*Store)(nil)

// Store holds rows in memory, linearizably: each call takes effect at one
// moment. The zero Store is empty and usable. It must not be copied.
type Store struct {
	// Now is the service's clock; nil = time.Now.
	Now func() time.Time

	mu     sync.Mutex
	rows   map[key]tablestore.Row
	writes uint64
}

type key struct{ partition, row string }

// Get reads one row.
func (s *Store) Get(ctx context.Context, partition, name string) (tablestore.Row, tablestore.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return tablestore.Row{}, tablestore.Response{}, tablestore.ErrUnknown
	}
	row, ok := s.rows[key{partition, name}]
	if !ok {
		return tablestore.Row{}, s.response(), tablestore.ErrNotFound
	}
	return clone(row), s.response(), nil
}

// Put inserts or merges at a version.
func (s *Store) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return s.swap(ctx, row, false)
}

// Replace inserts or replaces at a version.
func (s *Store) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return s.swap(ctx, row, true)
}

func (s *Store) swap(ctx context.Context, row tablestore.Row, whole bool) (tablestore.Version, tablestore.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return "", tablestore.Response{}, tablestore.ErrUnknown
	}
	k := key{row.Partition, row.Key}
	// A row that does not exist has the version "".
	if s.rows[k].Version != row.Version {
		return "", s.response(), tablestore.ErrConflict
	}
	if whole {
		delete(s.rows, k)
	}
	return s.merge(row), s.response(), nil
}

// Upsert inserts or merges at any version.
func (s *Store) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return "", tablestore.Response{}, tablestore.ErrUnknown
	}
	return s.merge(row), s.response(), nil
}

// List reads rows in order of partition and key.
func (s *Store) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, tablestore.Response{}, tablestore.ErrUnknown
	}
	var found []tablestore.Row
	for k, row := range s.rows {
		if (partition == "" || k.partition == partition) && k.row >= from && (to == "" || k.row < to) {
			found = append(found, clone(row))
		}
	}
	slices.SortFunc(found, func(a, b tablestore.Row) int {
		return strings.Compare(a.Partition+"\x00"+a.Key, b.Partition+"\x00"+b.Key)
	})
	return found, s.response(), nil
}

// Delete removes the row at its version.
func (s *Store) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return tablestore.Response{}, tablestore.ErrUnknown
	}
	k := key{row.Partition, row.Key}
	if there, ok := s.rows[k]; ok && there.Version != row.Version {
		return s.response(), tablestore.ErrConflict
	}
	delete(s.rows, k)
	return s.response(), nil
}

// merge must be called with mu held.
func (s *Store) merge(row tablestore.Row) tablestore.Version {
	if s.rows == nil {
		s.rows = map[key]tablestore.Row{}
	}
	k := key{row.Partition, row.Key}
	merged := clone(s.rows[k])
	merged.Partition, merged.Key = row.Partition, row.Key
	maps.Copy(merged.Columns, row.Columns)
	s.writes++
	merged.Version = tablestore.Version("m" + strconv.FormatUint(s.writes, 10))
	s.rows[k] = merged
	return merged.Version
}

// response must be called with mu held.
func (s *Store) response() tablestore.Response {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	return tablestore.Response{Date: now().UTC().Truncate(time.Second)}
}

func clone(row tablestore.Row) tablestore.Row {
	columns := make(map[string]string, len(row.Columns))
	maps.Copy(columns, row.Columns)
	row.Columns = columns
	return row
}
