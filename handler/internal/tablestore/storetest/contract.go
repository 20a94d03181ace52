// Package storetest is the contract of tablestore.Store, as checks that a test of
// an implementation runs, and that the package's own test sees fail; and a live
// emulator to run them on.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/tablestore"
)

// Check is one clause of the contract. Run takes an empty store and returns what
// is wrong with it, or nil.
type Check struct {
	Name string
	Run  func(ctx context.Context, s tablestore.Store) error
}

// Run checks the contract on stores that open returns, empty each time.
func Run(t *testing.T, open func(t *testing.T) tablestore.Store) {
	for _, check := range Contract() {
		t.Run(check.Name, func(t *testing.T) {
			if err := check.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Contract returns all the clauses.
func Contract() []Check {
	return []Check{
		{"a row never written is not found", neverWritten},
		{"what is written is read back equal", comesBackEqual},
		{"a second insert conflicts", secondInsert},
		{"a merge keeps the other columns", mergeKeeps},
		{"a replacement has no other columns", replaceDrops},
		{"a put at an old version conflicts and changes nothing", oldVersion},
		{"a put at the version of a deleted row conflicts", goneRow},
		{"of many writers at one version one wins", oneWins},
		{"no version is used twice, even when the row is created again", versionsDiffer},
		{"upsert inserts and merges at any version", setMerges},
		{"list returns ranges in order of key", listRanges},
		{"list returns all pages", listPages},
		{"a partition's name is not a filter", quotedNames},
		{"delete needs the version, and ignores a row that does not exist", deletes},
		{"a cancelled exchange has an unknown outcome", cancelled},
		{"responses have the service's date", dated},
	}
}

const partition = "fleet|p 'q'"

func row(key string, columns ...string) tablestore.Row {
	r := tablestore.Row{Partition: partition, Key: key, Columns: map[string]string{}}
	for i := 0; i+1 < len(columns); i += 2 {
		r.Columns[columns[i]] = columns[i+1]
	}
	return r
}

func wantError(what string, err, wanted error) error {
	if !errors.Is(err, wanted) {
		return fmt.Errorf("%s: %w, want %w", what, orNil(err), orNil(wanted))
	}
	return nil
}

func orNil(err error) error {
	if err == nil {
		return errors.New("<nil>")
	}
	return err
}

// mustPut puts a row and returns it at its new version.
func mustPut(ctx context.Context, s tablestore.Store, r tablestore.Row) (tablestore.Row, error) {
	version, _, err := s.Put(ctx, r)
	if err != nil {
		return r, fmt.Errorf("put %q at %q: %w", r.Key, r.Version, err)
	}
	r.Version = version
	return r, nil
}

func expectRow(ctx context.Context, s tablestore.Store, r tablestore.Row) error {
	got, _, err := s.Get(ctx, r.Partition, r.Key)
	if err != nil {
		return fmt.Errorf("get %q: %w", r.Key, err)
	}
	if got.Version != r.Version || got.Partition != r.Partition || got.Key != r.Key || !maps.Equal(got.Columns, r.Columns) {
		return fmt.Errorf("got %+v, want %+v", got, r)
	}
	return nil
}

func neverWritten(ctx context.Context, s tablestore.Store) error {
	_, _, err := s.Get(ctx, partition, "never")
	return wantError("get", err, tablestore.ErrNotFound)
}

func comesBackEqual(ctx context.Context, s tablestore.Store) error {
	r, err := mustPut(ctx, s, row("0", "a", `{"v":1,"q":"it's \"so\""}`, "empty", "", "umlaut", "Zwölf Boxkämpfer 拳 \U0001F94A", "long", strings.Repeat("x", 30_000)))
	if err != nil {
		return err
	}
	return expectRow(ctx, s, r)
}

func replaceDrops(ctx context.Context, s tablestore.Store) error {
	first := row("0", "a", "1", "b", "2")
	version, _, err := s.Replace(ctx, first)
	if err != nil {
		return fmt.Errorf("insert by Replace: %w", err)
	}
	next := row("0", "b", "3")
	next.Version = version
	if next.Version, _, err = s.Replace(ctx, next); err != nil {
		return fmt.Errorf("replace: %w", err)
	}
	if err := expectRow(ctx, s, next); err != nil {
		return err
	}
	stale := row("0", "c", "4")
	stale.Version = version
	_, _, err = s.Replace(ctx, stale)
	return wantError("replace at an old version", err, tablestore.ErrConflict)
}

func secondInsert(ctx context.Context, s tablestore.Store) error {
	r, err := mustPut(ctx, s, row("0", "a", "1"))
	if err != nil {
		return err
	}
	_, _, err = s.Put(ctx, row("0", "a", "2"))
	return errors.Join(wantError("second insert", err, tablestore.ErrConflict), expectRow(ctx, s, r))
}

func mergeKeeps(ctx context.Context, s tablestore.Store) error {
	r, err := mustPut(ctx, s, row("0", "a", "1", "newer_version", "kept"))
	if err != nil {
		return err
	}
	merged := row("0", "a", "2", "b", "3")
	merged.Version = r.Version
	if merged, err = mustPut(ctx, s, merged); err != nil {
		return err
	}
	merged.Columns["newer_version"] = "kept"
	return expectRow(ctx, s, merged)
}

func oldVersion(ctx context.Context, s tablestore.Store) error {
	first, err := mustPut(ctx, s, row("0", "a", "1"))
	if err != nil {
		return err
	}
	// Unchanged content, yet a new version: a write without a change conflicts with others all the same.
	second, err := mustPut(ctx, s, first)
	if err != nil {
		return err
	}
	late := row("0", "a", "late")
	late.Version = first.Version
	_, _, err = s.Put(ctx, late)
	return errors.Join(wantError("put at an old version", err, tablestore.ErrConflict), expectRow(ctx, s, second))
}

func goneRow(ctx context.Context, s tablestore.Store) error {
	r, err := mustPut(ctx, s, row("0", "a", "1"))
	if err != nil {
		return err
	}
	if _, err := s.Delete(ctx, r); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, _, err = s.Put(ctx, r)
	return wantError("put at the version of a deleted row", err, tablestore.ErrConflict)
}

func oneWins(ctx context.Context, s tablestore.Store) error {
	r, err := mustPut(ctx, s, row("0", "a", "1"))
	if err != nil {
		return err
	}
	const writers = 24
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		wg.Go(func() {
			mine := row("0", "a", "by "+strconv.Itoa(i))
			mine.Version = r.Version
			_, _, errs[i] = s.Put(ctx, mine)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, tablestore.ErrConflict):
			return fmt.Errorf("a loser: %w, want ErrConflict", err)
		}
	}
	if won != 1 {
		return fmt.Errorf("%d of %d writers at one version won, want 1", won, writers)
	}
	return nil
}

func versionsDiffer(ctx context.Context, s tablestore.Store) error {
	seen := map[tablestore.Version]bool{}
	for range 20 {
		r, err := mustPut(ctx, s, row("0", "a", "same"))
		if err != nil {
			return err
		}
		if r.Version == "" || seen[r.Version] {
			return fmt.Errorf("version %q was used twice, or is empty", r.Version)
		}
		seen[r.Version] = true
		if _, err := s.Delete(ctx, r); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	return nil
}

func setMerges(ctx context.Context, s tablestore.Store) error {
	if _, _, err := s.Upsert(ctx, row("0", "a", "1")); err != nil {
		return fmt.Errorf("upsert a new row: %w", err)
	}
	version, _, err := s.Upsert(ctx, row("0", "b", "2"))
	if err != nil {
		return fmt.Errorf("upsert a row that exists: %w", err)
	}
	both := row("0", "a", "1", "b", "2")
	both.Version = version
	return expectRow(ctx, s, both)
}

func listRanges(ctx context.Context, s tablestore.Store) error {
	for _, key := range []string{"c", "a", "d", "b"} {
		if _, err := mustPut(ctx, s, row(key, "k", key)); err != nil {
			return err
		}
	}
	for _, c := range []struct{ from, to, keys string }{{"", "", "abcd"}, {"b", "", "bcd"}, {"b", "d", "bc"}, {"", "a", ""}, {"x", "", ""}} {
		rows, _, err := s.List(ctx, partition, c.from, c.to)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		got := ""
		for _, r := range rows {
			got += r.Key
			if r.Columns["k"] != r.Key || r.Partition != partition {
				return fmt.Errorf("list returned %+v", r)
			}
			if err := expectRow(ctx, s, r); err != nil {
				return fmt.Errorf("a listed row differs from the one that is read: %w", err)
			}
		}
		if got != c.keys {
			return fmt.Errorf("list %q <= key < %q: %q, want %q", c.from, c.to, got, c.keys)
		}
	}
	return nil
}

// listPages lists more rows than the service's page of 1,000 if SPILLWAY_SOAK is
// set. Otherwise an implementation tests its paging with smaller pages.
func listPages(ctx context.Context, s tablestore.Store) error {
	rows := 40
	if os.Getenv("SPILLWAY_SOAK") != "" {
		rows = 1010
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for w := range errs {
		wg.Go(func() {
			for i := w; i < rows && errs[w] == nil; i += len(errs) {
				_, errs[w] = mustPut(ctx, s, row(fmt.Sprintf("%05d", i)))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	got, _, err := s.List(ctx, partition, "", "")
	if err != nil || len(got) != rows {
		return fmt.Errorf("listed %d of %d rows: %w", len(got), rows, orNil(err))
	}
	return nil
}

func quotedNames(ctx context.Context, s tablestore.Store) error {
	if _, err := mustPut(ctx, s, row("0")); err != nil {
		return err
	}
	rows, _, err := s.List(ctx, "x' or PartitionKey ne '", "", "")
	if err != nil || len(rows) != 0 {
		return fmt.Errorf("listed %d rows of a partition that does not exist: %w", len(rows), orNil(err))
	}
	all, _, err := s.List(ctx, "", "", "")
	if err != nil || len(all) != 1 {
		return fmt.Errorf("listed %d rows of the whole table, want 1: %w", len(all), orNil(err))
	}
	return nil
}

func deletes(ctx context.Context, s tablestore.Store) error {
	first, err := mustPut(ctx, s, row("0", "a", "1"))
	if err != nil {
		return err
	}
	second, err := mustPut(ctx, s, first)
	if err != nil {
		return err
	}
	_, err = s.Delete(ctx, first)
	if err := errors.Join(wantError("delete at an old version", err, tablestore.ErrConflict), expectRow(ctx, s, second)); err != nil {
		return err
	}
	for _, when := range []string{"delete", "delete again"} {
		if _, err := s.Delete(ctx, second); err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
	}
	_, _, err = s.Get(ctx, partition, "0")
	return wantError("get a deleted row", err, tablestore.ErrNotFound)
}

func cancelled(ctx context.Context, s tablestore.Store) error {
	r, err := mustPut(ctx, s, row("0", "a", "1"))
	if err != nil {
		return err
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, _, getting := s.Get(cancelled, partition, "0")
	_, _, putting := s.Put(cancelled, r)
	_, _, setting := s.Upsert(cancelled, row("1"))
	_, _, listing := s.List(cancelled, partition, "", "")
	_, deleting := s.Delete(cancelled, r)
	return errors.Join(
		wantError("get", getting, tablestore.ErrUnknown), wantError("put", putting, tablestore.ErrUnknown), wantError("upsert", setting, tablestore.ErrUnknown),
		wantError("list", listing, tablestore.ErrUnknown), wantError("delete", deleting, tablestore.ErrUnknown),
	)
}

func dated(ctx context.Context, s tablestore.Store) error {
	began := time.Now()
	_, inserted, err := s.Put(ctx, row("0", "a", "1"))
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	_, refused, _ := s.Put(ctx, row("0", "a", "1"))
	_, set, _ := s.Upsert(ctx, row("0", "a", "2"))
	got, read, _ := s.Get(ctx, partition, "0")
	_, missing, _ := s.Get(ctx, partition, "never")
	_, listed, _ := s.List(ctx, partition, "", "")
	deleted, _ := s.Delete(ctx, got)
	for what, response := range map[string]tablestore.Response{
		"put": inserted, "conflict": refused, "upsert": set, "get": read, "not found": missing, "list": listed, "delete": deleted,
	} {
		if response.Date.Before(began.Add(-2*time.Second)) || response.Date.After(time.Now().Add(2*time.Second)) {
			return fmt.Errorf("%s has the date %v, not now", what, response.Date)
		}
		if response.Date.Nanosecond() != 0 {
			return fmt.Errorf("%s has the date %v: the service's is in whole seconds, and readers rely on that", what, response.Date)
		}
	}
	return nil
}
