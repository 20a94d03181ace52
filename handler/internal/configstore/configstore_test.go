package configstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/memory"
	"spillway/handler/internal/tablestore/storetest"
)

// What the store promises, on a table in memory and on an emulator.
func TestStoreOnTables(t *testing.T) {
	connection, n := storetest.Azurite(t), 0
	for name, test := range map[string]func(t *testing.T, table tablestore.Store){
		"versions are pushed and rolled back": testVersionsArePushedAndRolledBack, "long documents": testLongDocumentsComeBackEqual,
		"of pushes at once one wins": testOfPushesAtOnceOneWins, "apps": testAppsDoNotReadEachOthersVersions,
	} {
		n++
		emulated, err := azure.Connect(connection, fmt.Sprint("config", n), azure.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { test(t, new(memory.Store)) })
		t.Run(name+", emulated", func(t *testing.T) { test(t, emulated) })
	}
}

func head(t *testing.T, s *Store) *Head {
	t.Helper()
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

func push(t *testing.T, s *Store, text string) Version {
	t.Helper()
	v, err := s.Push(t.Context(), head(t, s), text, "alice")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// current is the number and the text of the current version.
func current(t *testing.T, s *Store) string {
	t.Helper()
	h := head(t, s)
	if h.Document == "" {
		return fmt.Sprint(h.Number, " setting")
	}
	text, err := s.Document(t.Context(), &h.Version)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(h.Number, " ", text)
}

func testVersionsArePushedAndRolledBack(t *testing.T, table tablestore.Store) {
	t.Helper()
	s := &Store{Table: table, App: "func-a"}
	if got := current(t, s); got != "0 setting" {
		t.Fatalf("before the first push: %s", got)
	}
	push(t, s, "one")
	push(t, s, "two")
	if _, err := s.Push(t.Context(), head(t, s), "two", "bob"); !errors.Is(err, ErrUnchanged) {
		t.Errorf("the same again: %v", err)
	}
	if got := current(t, s); got != "2 two" {
		t.Errorf("after two pushes: %s", got)
	}
	for _, step := range []struct {
		to   int
		want string
	}{{1, "3 one"}, {0, "4 setting"}, {2, "5 two"}} {
		if _, err := s.Rollback(t.Context(), head(t, s), step.to, "bob"); err != nil {
			t.Fatal(err)
		}
		if got := current(t, s); got != step.want {
			t.Errorf("after a rollback to %d: %s", step.to, got)
		}
	}
	all, err := s.History(t.Context(), head(t, s))
	var got []string
	for _, v := range all {
		got = append(got, fmt.Sprintf("%d by %s %v %d %d", v.Number, v.By, v.Rollback, v.Restores, v.Size))
	}
	want := []string{"5 by bob true 2 3", "4 by bob true 0 0", "3 by bob true 1 3", "2 by alice false 0 3", "1 by alice false 0 3"}
	if d := cmp.Diff(want, got); d != "" || err != nil || all[0].At.IsZero() {
		t.Errorf("%v, %v\n%s", err, all, d)
	}
	if _, err := s.Rollback(t.Context(), head(t, s), 9, "bob"); !errors.Is(err, ErrNoVersion) {
		t.Errorf("a version that never was: %v", err)
	}
}

// A document longer than a column comes back as it was, whatever character is at the
// border of two.
func testLongDocumentsComeBackEqual(t *testing.T, table tablestore.Store) {
	t.Helper()
	s := &Store{Table: table, App: "func-a"}
	for shift := range 4 {
		text := strings.Repeat("x", shift) + strings.Repeat("𝄞é", partLength/3)
		push(t, s, text)
		if got := current(t, s); got != fmt.Sprint(shift+1, " ", text) {
			t.Errorf("shifted by %d: %d bytes came back as %d", shift, len(text), len(got))
		}
	}
	largest := strings.Repeat("x", MaxSize) // ASCII: the emulator counts the bytes that it receives
	push(t, s, largest)
	if got := current(t, s); !strings.HasSuffix(got, largest) {
		t.Error("the largest document came back otherwise")
	}
	if _, err := s.Push(t.Context(), head(t, s), largest+"x", "alice"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one that is too large: %v", err)
	}
}

// Of pushes that all saw the same version one wins, and the others say so.
func testOfPushesAtOnceOneWins(t *testing.T, table tablestore.Store) {
	t.Helper()
	s := &Store{Table: table, App: "func-a"}
	push(t, s, "base")
	base := head(t, s)
	results := make([]error, 8)
	var pushing sync.WaitGroup
	for i := range results {
		pushing.Go(func() { _, results[i] = s.Push(t.Context(), base, fmt.Sprint("of ", i), fmt.Sprint("user ", i)) })
	}
	pushing.Wait()
	won := -1
	for i, err := range results {
		switch {
		case err == nil && won < 0:
			won = i
		case !errors.Is(err, ErrConflict):
			t.Errorf("push %d: %v, and %d won", i, err, won)
		}
	}
	if got := current(t, s); got != fmt.Sprint("2 of ", won) {
		t.Errorf("push %d won: %s", won, got)
	}
}

func testAppsDoNotReadEachOthersVersions(t *testing.T, table tablestore.Store) {
	t.Helper()
	a, b := &Store{Table: table, App: "func-a"}, &Store{Table: table, App: "func-a'b"}
	push(t, a, "of a")
	if got := current(t, b); got != "0 setting" {
		t.Errorf("the other app sees %s", got)
	}
	push(t, b, "of b")
	if got := current(t, a); got != "1 of a" {
		t.Errorf("the first app sees %s", got)
	}
}

// However many versions are pushed, the table holds those that can be rolled back to.
func TestRowsDoNotGrow(t *testing.T) {
	s := &Store{Table: new(memory.Store), App: "func-a"}
	most := 0
	for i := range 4 * Kept {
		push(t, s, fmt.Sprint("document ", i%(3*Kept)))
		rows, _, err := s.Table.List(t.Context(), "", "", "")
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(rows))
	}
	if most > Kept+2 {
		t.Errorf("%d rows, want at most %d documents, the list and the head", most, Kept)
	}
	all, err := s.History(t.Context(), head(t, s))
	if err != nil || len(all) != Kept {
		t.Fatalf("%d versions, %v", len(all), err)
	}
	for i := range all {
		if _, err := s.Document(t.Context(), &all[i]); err != nil {
			t.Errorf("version %d: %v", all[i].Number, err)
		}
	}
}

// dying is a table whose writer dies after so many writes.
type dying struct {
	tablestore.Store
	left int
}

var errDied = errors.New("killed")

func (d *dying) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if d.left--; d.left < 0 {
		return "", tablestore.Response{}, errDied
	}
	return d.Store.Upsert(ctx, row)
}

func (d *dying) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if d.left--; d.left < 0 {
		return "", tablestore.Response{}, errDied
	}
	return d.Store.Replace(ctx, row)
}

func (d *dying) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	if d.left--; d.left < 0 {
		return tablestore.Response{}, errDied
	}
	return d.Store.Delete(ctx, row)
}

// A push that is killed after any of its writes leaves the version before it, or its
// own; the next push works, and deletes what was left.
func TestAKilledPushLeavesAWholeVersion(t *testing.T) {
	for writes := range 5 {
		table := new(memory.Store)
		s := &Store{Table: table, App: "func-a"}
		push(t, s, "one")
		_, err := (&Store{Table: &dying{table, writes}, App: "func-a"}).Push(t.Context(), head(t, s), "two", "alice")
		if got := current(t, s); got != "1 one" && got != "2 two" || (err == nil) != (got == "2 two") {
			t.Errorf("after %d writes: %s, %v", writes, got, err)
		}
		push(t, s, "three")
		rows, _, err := table.List(t.Context(), "", "", "")
		all, err2 := s.History(t.Context(), head(t, s))
		if err != nil || err2 != nil || len(rows) != len(all)+2 {
			t.Errorf("after %d writes and another push: %d rows of %d versions, %v, %v", writes, len(rows), len(all), err, err2)
		}
	}
}

// lossy loses the responses of the first swaps, which were applied or not.
type lossy struct {
	tablestore.Store
	applied []bool // of the next swaps
}

func (l *lossy) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if len(l.applied) == 0 {
		return l.Store.Replace(ctx, row)
	}
	applied := l.applied[0]
	l.applied = l.applied[1:]
	if applied {
		_, _, _ = l.Store.Replace(ctx, row)
	}
	return "", tablestore.Response{}, tablestore.ErrUnknown
}

func TestALostResponseIsLookedUp(t *testing.T) {
	for _, applied := range [][]bool{{true}, {false}, {false, true}, {false, false, false}} {
		s := &Store{Table: &lossy{new(memory.Store), applied}, App: "func-a"}
		push(t, s, "one")
		if got := current(t, s); got != "1 one" {
			t.Errorf("%v: %s", applied, got)
		}
		if all, err := s.History(t.Context(), head(t, s)); err != nil || len(all) != 1 {
			t.Errorf("%v: %d versions, %v", applied, len(all), err)
		}
	}
	s := &Store{Table: &lossy{new(memory.Store), make([]bool, swapTries)}, App: "func-a"}
	if _, err := s.Push(t.Context(), head(t, s), "one", "alice"); !errors.Is(err, tablestore.ErrUnknown) {
		t.Errorf("a table that never answers: %v", err)
	}
}

// What somebody else wrote into the table is never taken for a version.
func TestDamageIsNoVersion(t *testing.T) {
	hash := hashOf("one")
	for name, column := range map[string]string{
		"no JSON": "{", "a number that is none": `{"number":0,"document":"` + hash + `","history":"` + hash + `"}`,
		"a hash that is none": `{"number":1,"document":"../../x","history":"` + hash + `"}`, "no history": `{"number":1,"document":"` + hash + `"}`,
		"a number at the end": `{"number":9223372036854775807,"document":"` + hash + `","history":"` + hash + `"}`,
		"a terminal's escape": `{"number":1,"by":"\u001b[2J","document":"` + hash + `","history":"` + hash + `"}`,
	} {
		s := &Store{Table: new(memory.Store), App: "func-a"}
		put(t, s, headKey, map[string]string{headColumn: column})
		if h, err := s.Head(t.Context()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
	s := &Store{Table: new(memory.Store), App: "func-a"}
	v := push(t, s, "one")
	put(t, s, v.Document, map[string]string{partName(0): "another"})
	if text, err := s.Document(t.Context(), &v); !errors.Is(err, ErrDamaged) {
		t.Errorf("a text that was replaced: %q, %v", text, err)
	}
	put(t, s, head(t, s).history, map[string]string{partName(0): "[]"})
	if _, err := s.History(t.Context(), head(t, s)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a history that was replaced: %v", err)
	}
	push(t, s, "two") // begins the history anew
	if all, err := s.History(t.Context(), head(t, s)); err != nil || len(all) != 1 || all[0].Number != 2 {
		t.Errorf("%v, %v", all, err)
	}
}

func put(t *testing.T, s *Store, key string, columns map[string]string) {
	t.Helper()
	if _, _, err := s.Table.Upsert(t.Context(), tablestore.Row{Partition: s.partition(), Key: key, Columns: columns}); err != nil {
		t.Fatal(err)
	}
}

func TestVersionsPrintAsJSON(t *testing.T) {
	text, err := json.Marshal(Version{Number: 3, Document: "ab", Size: 2, By: "alice", Restores: 1, Rollback: true})
	if want := `{"number":3,"document":"ab","size":2,"by":"alice","at":"0001-01-01T00:00:00Z","restores":1,"rollback":true}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
