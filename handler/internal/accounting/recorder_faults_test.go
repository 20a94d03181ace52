package accounting

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/memory"
)

// Requests and answers are lost, conflicts are false, writes land after later
// ones. When the table has recovered, it holds exactly what was used.
func TestTableFaultsLoseAndDoubleNothing(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			inner := new(memory.Store)
			random := rand.New(rand.NewPCG(seed, 1))
			faulty := &chaos.Store{Inner: inner, Faults: chaos.TypicalFaults().Scale(4)}
			faulty.Faults.Late, faulty.Faults.LateUpTo = .3, 30*time.Second
			r := New(Config{Store: faulty, BootID: "a", FlushInterval: time.Second, Timeout: 500 * time.Millisecond})
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { r.Run(ctx) })
			want := Totals{}
			start := time.Now().Truncate(time.Hour)
			for range 400 {
				s := used(random.Int64N(1000), random.Int64N(100))
				r.Add(time.Now(), key(fmt.Sprint("team-", random.IntN(5)), "ptu"), s)
				want = want.Add(s)
				time.Sleep(time.Duration(random.IntN(10)) * time.Second / 10)
			}
			stop()
			running.Wait()
			r.cfg.Store = inner // recovered
			if err := r.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			faulty.Wait() // late writes land last
			var got Totals
			for _, l := range summary(t, inner, start, time.Now().Add(time.Hour)) {
				got = got.Add(l.Totals)
			}
			if got != want {
				t.Errorf("seed %d: %+v, want %+v; faults %+v", seed, got, want, faulty.Counts())
			}
		})
	}
}

// An instance that is killed loses what it had not written: nothing older than the
// time between two flushes and one exchange.
func TestKilledInstanceLosesAtMostOneInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory.Store)
		var recorders []*Recorder
		ctx, stop := context.WithCancel(t.Context())
		killed, kill := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range 3 {
			r := New(Config{Store: store, BootID: fmt.Sprint(i), FlushInterval: 30 * time.Second})
			if i == 2 { // a process that is killed does not flush at its end
				r.cfg.Store = &chaos.Store{Inner: store}
				running.Go(func() { r.Run(killed) })
			} else {
				running.Go(func() { r.Run(ctx) })
			}
			recorders = append(recorders, r)
		}
		start := time.Now()
		var want Totals
		for range 100 {
			for _, r := range recorders {
				r.Add(time.Now(), key("team-a", "ptu"), used(10, 1))
				want = want.Add(used(10, 1))
			}
			time.Sleep(time.Second)
		}
		recorders[2].cfg.Store.(*chaos.Store).SetPartitioned(true) // SIGKILL: nothing more reaches the table
		kill()
		stop()
		running.Wait()
		got := summary(t, store, start, time.Now().Add(time.Hour))[0]
		missing := want.Requests - got.Requests
		if missing < 1 || missing > 30 {
			t.Errorf("%d requests are missing, want 1 to 30: one a second, 30 s between flushes", missing)
		}
		if got.Requests < 200 {
			t.Errorf("instances that stopped in good order lost usage: %+v", got)
		}
	})
}

// meanwhile is a table that calls a function during each write.
type meanwhile struct {
	tablestore.Store
	during func()
}

func (m *meanwhile) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	m.during()
	return m.Store.Put(ctx, row)
}

// delayed is a table that delays its first write.
type delayed struct {
	tablestore.Store
	held func()
}

func (a *delayed) hold(row tablestore.Row, write func(context.Context, tablestore.Row) (tablestore.Version, tablestore.Response, error)) (tablestore.Version, tablestore.Response, error) {
	if a.held == nil {
		a.held = func() { _, _, _ = write(context.Background(), row) }
		return "", tablestore.Response{}, tablestore.ErrUnknown
	}
	return write(context.Background(), row)
}

func (a *delayed) Put(_ context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return a.hold(row, a.Store.Put)
}

func (a *delayed) Upsert(_ context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return a.hold(row, a.Store.Upsert)
}

func TestLateWriteUndoesNothing(t *testing.T) {
	store := &delayed{Store: new(memory.Store)}
	r := New(Config{Store: store})
	r.Add(nine, key("team-a", "ptu"), used(10, 1))
	if err := r.Flush(t.Context()); !errors.Is(err, tablestore.ErrUnknown) {
		t.Fatalf("the write was answered: %v", err)
	}
	r.Add(nine, key("team-a", "ptu"), used(10, 1))
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.held()
	if got := summary(t, store, nine, nine.Add(time.Hour)); len(got) != 1 || got[0].Requests != 2 {
		t.Errorf("%+v", got)
	}
}

func TestUsageDuringAWriteIsWrittenNext(t *testing.T) {
	store := &meanwhile{Store: new(memory.Store)}
	r := New(Config{Store: store})
	store.during = func() {
		store.during = func() {}
		r.Add(nine, key("team-a", "ptu"), used(5, 1))
	}
	r.Add(nine, key("team-a", "ptu"), used(10, 1))
	for range 2 {
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := summary(t, store, nine, nine.Add(time.Hour)); len(got) != 1 || got[0].Requests != 2 {
		t.Errorf("%+v", got)
	}
}

func TestClockSetBackLosesNothing(t *testing.T) {
	store := new(memory.Store)
	r := New(Config{Store: store})
	for _, at := range []time.Time{nine, nine.Add(5 * time.Hour), nine} {
		r.Add(at, key("team-a", "ptu"), used(10, 1))
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := summary(t, store, nine, nine.Add(time.Hour)); len(got) != 1 || got[0].Requests != 2 {
		t.Errorf("%+v", got)
	}
	if len(r.hours) > 2 {
		t.Errorf("%d hours are held", len(r.hours))
	}
}
