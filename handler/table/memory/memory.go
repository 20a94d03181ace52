// Package memory is a table that forgets: for runs without Azure, and tests.
package memory

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"spillway/handler/table"
)

var _ table.Store = (*Store)(nil)

// Store holds rows in memory, linearizably: each call takes effect at one
// moment. The zero Store is empty and usable. It must not be copied.
type Store struct {
	// Now is the service's clock; nil = time.Now.
	Now func() time.Time

	mu   sync.Mutex
	rows map[key]table.Row
	puts uint64
}

type key struct{ partition, row string }

// Get reads one row.
func (s *Store) Get(ctx context.Context, partition, name string) (table.Row, table.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return table.Row{}, table.Reply{}, table.ErrUnknown
	}
	row, ok := s.rows[key{partition, name}]
	if !ok {
		return table.Row{}, s.reply(), table.ErrNotFound
	}
	return clone(row), s.reply(), nil
}

// Put inserts or merges at a version.
func (s *Store) Put(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return "", table.Reply{}, table.ErrUnknown
	}
	// A row that is not there has the version "".
	if s.rows[key{row.Partition, row.Key}].Version != row.Version {
		return "", s.reply(), table.ErrConflict
	}
	return s.merge(row), s.reply(), nil
}

// Set inserts or merges whatever is there.
func (s *Store) Set(ctx context.Context, row table.Row) (table.Version, table.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return "", table.Reply{}, table.ErrUnknown
	}
	return s.merge(row), s.reply(), nil
}

// List reads rows in order of partition and key.
func (s *Store) List(ctx context.Context, partition, from, to string) ([]table.Row, table.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, table.Reply{}, table.ErrUnknown
	}
	var found []table.Row
	for k, row := range s.rows {
		if (partition == "" || k.partition == partition) && k.row >= from && (to == "" || k.row < to) {
			found = append(found, clone(row))
		}
	}
	slices.SortFunc(found, func(a, b table.Row) int {
		return strings.Compare(a.Partition+"\x00"+a.Key, b.Partition+"\x00"+b.Key)
	})
	return found, s.reply(), nil
}

// Delete removes the row at its version.
func (s *Store) Delete(ctx context.Context, row table.Row) (table.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return table.Reply{}, table.ErrUnknown
	}
	k := key{row.Partition, row.Key}
	if there, ok := s.rows[k]; ok && there.Version != row.Version {
		return s.reply(), table.ErrConflict
	}
	delete(s.rows, k)
	return s.reply(), nil
}

// merge must be called with mu held.
func (s *Store) merge(row table.Row) table.Version {
	if s.rows == nil {
		s.rows = map[key]table.Row{}
	}
	k := key{row.Partition, row.Key}
	merged := clone(s.rows[k])
	merged.Partition, merged.Key = row.Partition, row.Key
	maps.Copy(merged.Columns, row.Columns)
	s.puts++
	merged.Version = table.Version("m" + strconv.FormatUint(s.puts, 10))
	s.rows[k] = merged
	return merged.Version
}

// reply must be called with mu held.
func (s *Store) reply() table.Reply {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	return table.Reply{Date: now().UTC().Truncate(time.Second)}
}

func clone(row table.Row) table.Row {
	columns := make(map[string]string, len(row.Columns))
	maps.Copy(columns, row.Columns)
	row.Columns = columns
	return row
}
