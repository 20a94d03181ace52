package accounting

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/memory"

	"spillway/handler/internal/openai/usage"
)

var nine = time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)

func used(prompt, completion int64) Totals {
	return Totals{Requests: 1, Tokens: usage.Tokens{Prompt: prompt, Cached: prompt / 2, Completion: completion, Reasoning: completion / 4}, Cost: MoneyOf(float64(prompt) * 0.0000025)}
}

func key(consumer, backend string) Key {
	return Key{Consumer: consumer, Model: "gpt-4o", Backend: backend, Currency: "USD"}
}

// summary reads the usage in the table, summed by these fields.
func summary(t *testing.T, s tablestore.Store, from, to time.Time, by ...string) []Row {
	t.Helper()
	rows, err := (&Reader{s}).Summary(t.Context(), from, to, by)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// What one process estimated is taken back by another one, in its hour, at any time.
func TestUsageIsWithdrawn(t *testing.T) {
	store := new(memory.Store)
	one, two := New(Config{Store: store, BootID: "a"}), New(Config{Store: store, BootID: "b"})
	guess, reported := used(100, 900), used(90, 48)
	guess.Unmetered, guess.Estimated, guess.EstimatedCost = 1, usage.Tokens{Prompt: 100, Completion: 900}, guess.Cost
	tier := key("team-a", "ptu")
	tier.Tier = "priority"
	flush := func(r *Recorder) {
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	one.Add(nine, key("team-a", "ptu"), guess)
	one.Add(nine, key("team-a", "payg"), guess)
	flush(one)
	two.Add(nine.Add(3*time.Hour), key("team-a", "ptu"), used(7, 7))
	two.Withdraw(nine, key("team-a", "ptu"), guess)
	two.Add(nine, tier, reported)
	flush(two)
	if d := cmp.Diff([]Row{{Key: Key{Backend: "payg", Currency: "USD"}, Totals: guess}, {Key: Key{Backend: "ptu", Tier: "priority", Currency: "USD"}, Totals: reported}},
		summary(t, store, nine, nine.Add(time.Hour), "backend", "tier")); d != "" {
		t.Errorf("the hour (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Row{{Key: Key{Currency: "USD"}, Totals: guess.Add(reported).Add(used(7, 7))}}, summary(t, store, nine, nine.Add(24*time.Hour))); d != "" {
		t.Errorf("the day (-want +got):\n%s", d)
	}
}

func TestUsageOfADay(t *testing.T) {
	store := new(memory.Store)
	one := New(Config{Store: store, Instance: "i-1", BootID: "a"})
	two := New(Config{Store: store, Instance: "i-2", BootID: "b"})
	one.Add(nine.Add(time.Minute), key("team-a", "ptu"), used(100, 10))
	one.Add(nine.Add(59*time.Minute), key("team-a", "ptu"), used(200, 20))
	two.Add(nine.Add(time.Minute), key("team-b", "payg"), used(7, 3))
	two.Add(nine.Add(time.Hour), key("team-a", "ptu"), used(1, 1)) // the next hour
	for _, r := range []*Recorder{one, two, one, two, two} {       // again changes nothing
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a := used(100, 10).Add(used(200, 20))
	want := []Row{{nine, key("team-a", "ptu"), a}, {nine, key("team-b", "payg"), used(7, 3)}, {nine.Add(time.Hour), key("team-a", "ptu"), used(1, 1)}}
	if d := cmp.Diff(want, summary(t, store, nine, nine.Add(2*time.Hour), "hour", "consumer", "model", "backend")); d != "" {
		t.Errorf("by all fields (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Row{{Key: Key{Consumer: "team-a", Currency: "USD"}, Totals: a.Add(used(1, 1))}, {Key: Key{Consumer: "team-b", Currency: "USD"}, Totals: used(7, 3)}},
		summary(t, store, nine.Add(-24*time.Hour), nine.Add(40*24*time.Hour), "consumer")); d != "" {
		t.Errorf("by consumer, over two months (-want +got):\n%s", d)
	}
	if got := summary(t, store, nine, nine.Add(time.Hour)); len(got) != 1 || got[0].Requests != 3 {
		t.Errorf("the first hour: %+v", got)
	}
	if got := summary(t, store, nine.Add(30*time.Minute), nine.Add(31*time.Minute)); len(got) != 1 || got[0].Requests != 3 {
		t.Errorf("half an hour: %+v", got)
	}
	one.Add(nine.Add(10*time.Minute), key("team-a", "ptu"), used(5, 5)) // a late request
	if err := one.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := summary(t, store, nine, nine.Add(time.Hour), "backend"); got[1].Totals != a.Add(used(5, 5)) {
		t.Errorf("a late request is not in its hour: %+v", got)
	}
	if _, err := (&Reader{store}).Summary(t.Context(), nine, nine, []string{"colour"}); !errors.Is(err, ErrField) {
		t.Errorf("by colour: %v", err)
	}
}

func TestCurrenciesAreNotSummed(t *testing.T) {
	store := new(memory.Store)
	r := New(Config{Store: store})
	r.Add(nine, Key{Model: "m", Backend: "x", Currency: "USD"}, used(10, 1))
	r.Add(nine, Key{Model: "m", Backend: "x", Currency: "EUR"}, used(10, 1))
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := summary(t, store, nine, nine.Add(time.Hour)); len(got) != 2 || got[0].Currency != "EUR" || got[1].Currency != "USD" {
		t.Errorf("%+v", got)
	}
}

func TestManyCombinationsTakeSeveralRows(t *testing.T) {
	store := new(memory.Store)
	r := New(Config{Store: store, BootID: "a"})
	const n = 2500
	for round := range 2 {
		for i := range n {
			r.Add(nine, Key{Consumer: fmt.Sprint("team-", i), Model: strings.Repeat("m", 128), Backend: strings.Repeat("b", 64), Currency: "USD"}, used(int64(i), 1))
		}
		if err := r.Flush(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	got := summary(t, store, nine, nine.Add(time.Hour))
	if len(got) != 1 || got[0].Requests != 2*n || got[0].Tokens.Prompt != n*(n-1) {
		t.Errorf("%+v", got)
	}
	rows, _, err := store.List(t.Context(), "2026-11", "", "")
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v; want 3", len(rows), err)
	}
	for _, row := range rows {
		total := 0
		for name, text := range row.Columns {
			total += 2 * len(text)
			if 2*len(text) > 60<<10 {
				t.Errorf("column %s of %d bytes on the wire", name, 2*len(text))
			}
		}
		if total > 900<<10 || len(row.Columns) > 250 {
			t.Errorf("a row of %d bytes and %d columns", total, len(row.Columns))
		}
	}
}

func TestFailuresAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &chaos.Store{Inner: new(memory.Store)}
		store.SetPartitioned(true)
		r := New(Config{Store: store, FlushInterval: time.Second})
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		r.Add(time.Now(), key("team-a", "ptu"), used(10, 1))
		r.Run(ctx)
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "write usage of 20") {
			t.Errorf("reported %v", err)
		}
		store.SetPartitioned(false)
		ctx, stop = context.WithTimeout(t.Context(), 2*time.Second)
		defer stop()
		r.Run(ctx)
		if err := r.Err(); err != nil {
			t.Errorf("the table is back: %v", err)
		}
	})
}

func TestDeleteExpired(t *testing.T) {
	store := new(memory.Store)
	r := New(Config{Store: store})
	for _, months := range []int{0, 1, 12, 13, 14, 15, 18} {
		r.Add(nine.AddDate(0, -months, 0), key("team-a", "ptu"), used(int64(months), 1))
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := DeleteExpired(t.Context(), store, nine)
	left := summary(t, store, nine.AddDate(-3, 0, 0), nine.Add(time.Hour), "month")
	if err != nil || n != 3 || len(left) != 4 || left[0].Hour.Format(monthLayout) != "2025-10" {
		t.Errorf("%d rows deleted, %v; left %+v", n, err, left)
	}
}

func TestUnreadableRowsAreLeftOut(t *testing.T) {
	store := new(memory.Store)
	r := New(Config{Store: store})
	r.Add(nine, key("team-a", "ptu"), used(10, 1))
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for k, text := range map[string]string{"30T09|x|1.0": `[{"n":-5}]`, "30T09|y|1.0": `[{`, "30T0z|z": `[]`} {
		if _, _, err := store.Put(t.Context(), tablestore.Row{Partition: "2026-11", Key: k, Columns: map[string]string{"u0": text}}); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := (&Reader{store}).Summary(t.Context(), nine, nine.Add(time.Hour), nil)
	if err == nil || len(rows) != 1 || rows[0].Requests != 1 {
		t.Errorf("%+v, %v", rows, err)
	}
}

// FuzzRow checks that usage is read as it was written, whatever the names are.
func FuzzRow(f *testing.F) {
	f.Add("team-a", "gpt-4o", "ptu", int64(5), int64(7))
	f.Add("a\"|\n", "*", "", int64(1)<<50, int64(0))
	f.Fuzz(func(t *testing.T, consumer, model, backend string, prompt, completion int64) {
		if prompt < 0 || completion < 0 || prompt > 1<<50 || completion > 1<<50 {
			return
		}
		valid := func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
		k := Key{Consumer: valid(consumer), Model: valid(model), Backend: valid(backend)}
		s := Totals{Requests: 1, Tokens: usage.Tokens{Prompt: prompt, Completion: completion}, Cost: MoneyOf(float64(prompt) / 1e6)}
		row := tablestore.Row{Partition: partitionOf(nine), Key: keyOf(nine, "w", 1, 0), Columns: encode("i", []*entry{{key: k, totals: s}})}
		rows, err := decode(&row, nil)
		if err != nil || len(rows) != 1 || rows[0] != (Row{nine, k, s}) {
			t.Fatalf("%+v, %v; want %+v", rows, err, Row{nine, k, s})
		}
		row.Columns["u0"] = consumer
		if rows, err := decode(&row, nil); err == nil {
			for _, l := range rows {
				if l.Requests < 0 || l.Cost < 0 || l.Tokens.Prompt < 0 {
					t.Fatalf("%q is read as %+v", consumer, l)
				}
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	recorder := New(Config{Store: new(memory.Store)})
	b.ReportAllocs()
	for b.Loop() {
		recorder.Add(nine, key("team-a", "ptu"), Totals{Requests: 1})
	}
}

// Everything that is recorded is read again.
func TestRowsHoldAllOfIt(t *testing.T) {
	store := new(memory.Store)
	r := New(Config{Store: store, BootID: "a"})
	k := Key{Consumer: "team-a", Caller: "0a1b", Model: "gpt-4o", Backend: "ptu", Currency: "USD", Tier: "flex"}
	all := Totals{
		Requests: 1, Unmetered: 2, Broken: 3, Cost: 4, EstimatedCost: 5, Estimated: usage.Tokens{Prompt: 6, Completion: 7},
		Tokens: usage.Tokens{Prompt: 8, Cached: 9, Completion: 10, Reasoning: 11, CacheWrite: 12, AudioInput: 13, AudioOutput: 14, Images: 15, Seconds: 16, CacheWriteHour: 17},
	}
	r.Add(nine, k, all)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []Row{{Key: k, Totals: all}}
	if d := cmp.Diff(want, summary(t, store, nine, nine.Add(time.Hour), "consumer", "caller", "model", "backend", "tier")); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
}
