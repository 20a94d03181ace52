// Package chaos is a table that goes wrong in all the ways that a real one
// does (facts/table-state.md §1), as often as it is told to.
package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/tablestore"
)

var _ tablestore.Store = (*Store)(nil)

// Faults are how often each kind of fault happens, as a probability. The zero
// Faults never happen.
type Faults struct {
	LostRequest float64       // never arrives
	LostAnswer  float64       // is applied, and the answer does not come
	Conflict    float64       // a write is refused with a conflict that was none
	Delay       float64       // takes up to DelayUpTo longer
	DelayUpTo   time.Duration // 0 = 800 ms
	Late        float64       // a write times out now and is applied up to LateUpTo later: a zombie
	LateUpTo    time.Duration // 0 = 3 s; the service says up to 30 s
}

// Times is the faults n times as likely.
func (f Faults) Times(n float64) Faults {
	f.LostRequest, f.LostAnswer, f.Conflict, f.Delay, f.Late = n*f.LostRequest, n*f.LostAnswer, n*f.Conflict, n*f.Delay, n*f.Late
	return f
}

// Usual are the faults that the protocol was measured with.
func Usual() Faults {
	return Faults{LostRequest: .02, LostAnswer: .05, Conflict: .05, Delay: .05, Late: .02}
}

// World is how faults take time and chance. The zero World is the real one.
type World struct {
	Chance  func() float64                                   // in [0, 1)
	Sleep   func(ctx context.Context, d time.Duration) error // until d passed, or the error of ctx
	Go      func(f func())                                   // runs f beside the caller
	Timeout time.Duration                                    // how long a caller waits for an answer that does not come; 0 = until its ctx is done
}

// Store is one instance's way to the table under it. It is safe for concurrent
// use, as far as World is.
type Store struct {
	Under  tablestore.Store
	Faults Faults
	World  World

	cut   atomic.Bool
	late  sync.WaitGroup
	count [5]atomic.Int64
}

// Cut breaks the way to the table, or mends it: an outage when all instances
// are cut off, a partition when some are.
func (s *Store) Cut(off bool) { s.cut.Store(off) }

// Counts are how often each fault happened so far.
type Counts struct{ LostRequest, LostAnswer, Conflict, Delay, Late int64 }

// Counts reads them.
func (s *Store) Counts() Counts {
	return Counts{s.count[0].Load(), s.count[1].Load(), s.count[2].Load(), s.count[3].Load(), s.count[4].Load()}
}

// Wait waits for the writes that are still to be applied late. Only with the
// real World.Go.
func (s *Store) Wait() { s.late.Wait() }

// Get reads one row.
func (s *Store) Get(ctx context.Context, partition, key string) (row tablestore.Row, reply tablestore.Reply, err error) {
	err = s.through(ctx, false, func(ctx context.Context) (err error) {
		row, reply, err = s.Under.Get(ctx, partition, key)
		return err
	})
	if lost(err) {
		return tablestore.Row{}, tablestore.Reply{}, err
	}
	return row, reply, err
}

// Put inserts or merges at a version.
func (s *Store) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Reply, error) {
	var a answer // a write that is applied late has an answer too, for nobody
	err := s.through(ctx, true, func(ctx context.Context) (err error) {
		a.version, a.reply, err = s.Under.Put(ctx, row)
		return err
	})
	if lost(err) {
		return "", tablestore.Reply{}, err
	}
	return a.version, a.reply, err
}

// Set inserts or merges whatever is there.
func (s *Store) Set(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Reply, error) {
	var a answer // a write that is applied late has an answer too, for nobody
	err := s.through(ctx, true, func(ctx context.Context) (err error) {
		a.version, a.reply, err = s.Under.Set(ctx, row)
		return err
	})
	if lost(err) {
		return "", tablestore.Reply{}, err
	}
	return a.version, a.reply, err
}

// List reads rows.
func (s *Store) List(ctx context.Context, partition, from, to string) (rows []tablestore.Row, reply tablestore.Reply, err error) {
	err = s.through(ctx, false, func(ctx context.Context) (err error) {
		rows, reply, err = s.Under.List(ctx, partition, from, to)
		return err
	})
	if lost(err) {
		return nil, tablestore.Reply{}, err
	}
	return rows, reply, err
}

// Delete removes a row at its version.
func (s *Store) Delete(ctx context.Context, row tablestore.Row) (tablestore.Reply, error) {
	var a answer
	err := s.through(ctx, true, func(ctx context.Context) (err error) {
		a.reply, err = s.Under.Delete(ctx, row)
		return err
	})
	if lost(err) {
		return tablestore.Reply{}, err
	}
	return a.reply, err
}

// answer is what the table under it said to a write.
type answer struct {
	version tablestore.Version
	reply   tablestore.Reply
}

// fault is an outcome that the store under it did not give.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

func lost(err error) bool {
	_, ok := err.(fault) //nolint:errorlint // only one of our own, unwrapped
	return ok
}

// through takes one exchange to the table, or does not.
func (s *Store) through(ctx context.Context, write bool, apply func(context.Context) error) error {
	switch {
	case s.cut.Load():
		return s.silence(ctx)
	case s.happens(s.Faults.LostRequest, 0):
		return s.silence(ctx)
	case write && s.happens(s.Faults.Conflict, 2):
		return fault{tablestore.ErrConflict}
	case write && s.happens(s.Faults.Late, 4):
		s.later(apply)
		return s.silence(ctx)
	}
	if s.happens(s.Faults.Delay, 3) {
		if err := s.sleep(ctx, s.some(s.Faults.DelayUpTo, 800*time.Millisecond)); err != nil {
			return fault{tablestore.ErrUnknown}
		}
	}
	err := apply(ctx)
	if s.happens(s.Faults.LostAnswer, 1) {
		return s.silence(ctx)
	}
	return err
}

// silence is an answer that does not come: either the connection breaks at
// some moment, or the caller's patience ends.
func (s *Store) silence(ctx context.Context) error {
	patience := s.World.Timeout
	if deadline, ok := ctx.Deadline(); patience == 0 && ok {
		patience = time.Until(deadline)
	}
	if s.chance() < .5 {
		patience = time.Duration(s.chance() * float64(patience))
	}
	_ = s.sleep(ctx, patience)
	return fault{tablestore.ErrUnknown}
}

// later applies a write after its caller has given up.
func (s *Store) later(apply func(context.Context) error) {
	after := s.World.Timeout + s.some(s.Faults.LateUpTo, 3*time.Second)
	zombie := func() {
		if s.sleep(context.Background(), after) == nil {
			_ = apply(context.Background()) // nobody listens any more
		}
	}
	if s.World.Go != nil {
		s.World.Go(zombie)
		return
	}
	s.late.Go(zombie)
}

func (s *Store) happens(probability float64, kind int) bool {
	if probability <= 0 || s.chance() >= probability {
		return false
	}
	s.count[kind].Add(1)
	return true
}

func (s *Store) some(upTo, otherwise time.Duration) time.Duration {
	if upTo == 0 {
		upTo = otherwise
	}
	return time.Duration(s.chance() * float64(upTo))
}

func (s *Store) chance() float64 {
	if s.World.Chance != nil {
		return s.World.Chance()
	}
	return rand.Float64() //nolint:gosec // faults need no secrecy
}

func (s *Store) sleep(ctx context.Context, d time.Duration) error {
	if s.World.Sleep != nil {
		return s.World.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// IsCut reports whether the way to the table is broken.
func (s *Store) IsCut() bool { return s.cut.Load() }
