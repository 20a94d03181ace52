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
	LostRequest  float64       // never arrives
	LostResponse float64       // is applied, and the answer does not come
	Conflict     float64       // a write is refused with a conflict that was none
	Delay        float64       // takes up to DelayUpTo longer
	DelayUpTo    time.Duration // 0 = 800 ms
	Late         float64       // a write times out now and is applied up to LateUpTo later: a zombie
	LateUpTo     time.Duration // 0 = 3 s; the service says up to 30 s
}

// Scale is the faults n times as likely.
func (f Faults) Scale(n float64) Faults {
	f.LostRequest, f.LostResponse, f.Conflict, f.Delay, f.Late = n*f.LostRequest, n*f.LostResponse, n*f.Conflict, n*f.Delay, n*f.Late
	return f
}

// TypicalFaults are the faults that the protocol was measured with.
func TypicalFaults() Faults {
	return Faults{LostRequest: .02, LostResponse: .05, Conflict: .05, Delay: .05, Late: .02}
}

// Environment is how faults take time and chance. The zero Environment is the real one.
type Environment struct {
	Rand        func() float64                                   // in [0, 1)
	Sleep       func(ctx context.Context, d time.Duration) error // until d passed, or the error of ctx
	Go          func(f func())                                   // runs f beside the caller
	CallTimeout time.Duration                                    // how long a caller waits for an answer that does not come; 0 = until its ctx is done
}

// Store is one instance's way to the table under it. It is safe for concurrent
// use, as far as World is.
type Store struct {
	Inner       tablestore.Store
	Faults      Faults
	Environment Environment

	partitioned atomic.Bool
	lateWrites  sync.WaitGroup
	count       [5]atomic.Int64
}

// SetPartitioned breaks the way to the table, or mends it: an outage when all instances
// are cut off, a partition when some are.
func (s *Store) SetPartitioned(off bool) { s.partitioned.Store(off) }

// Counts are how often each fault happened so far.
type Counts struct{ LostRequest, LostResponse, Conflict, Delay, Late int64 }

// Counts reads them.
func (s *Store) Counts() Counts {
	return Counts{s.count[0].Load(), s.count[1].Load(), s.count[2].Load(), s.count[3].Load(), s.count[4].Load()}
}

// Wait waits for the writes that are still to be applied late. Only with the
// real World.Go.
func (s *Store) Wait() { s.lateWrites.Wait() }

// Get reads one row.
func (s *Store) Get(ctx context.Context, partition, key string) (row tablestore.Row, reply tablestore.Response, err error) {
	err = s.exchange(ctx, false, func(ctx context.Context) (err error) {
		row, reply, err = s.Inner.Get(ctx, partition, key)
		return err
	})
	if isInjected(err) {
		return tablestore.Row{}, tablestore.Response{}, err
	}
	return row, reply, err
}

// Put inserts or merges at a version.
func (s *Store) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	var a result // a write that is applied late has an answer too, for nobody
	err := s.exchange(ctx, true, func(ctx context.Context) (err error) {
		a.version, a.reply, err = s.Inner.Put(ctx, row)
		return err
	})
	if isInjected(err) {
		return "", tablestore.Response{}, err
	}
	return a.version, a.reply, err
}

// Upsert inserts or merges whatever is there.
func (s *Store) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	var a result // a write that is applied late has an answer too, for nobody
	err := s.exchange(ctx, true, func(ctx context.Context) (err error) {
		a.version, a.reply, err = s.Inner.Upsert(ctx, row)
		return err
	})
	if isInjected(err) {
		return "", tablestore.Response{}, err
	}
	return a.version, a.reply, err
}

// List reads rows.
func (s *Store) List(ctx context.Context, partition, from, to string) (rows []tablestore.Row, reply tablestore.Response, err error) {
	err = s.exchange(ctx, false, func(ctx context.Context) (err error) {
		rows, reply, err = s.Inner.List(ctx, partition, from, to)
		return err
	})
	if isInjected(err) {
		return nil, tablestore.Response{}, err
	}
	return rows, reply, err
}

// Delete removes a row at its version.
func (s *Store) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	var a result
	err := s.exchange(ctx, true, func(ctx context.Context) (err error) {
		a.reply, err = s.Inner.Delete(ctx, row)
		return err
	})
	if isInjected(err) {
		return tablestore.Response{}, err
	}
	return a.reply, err
}

// result is what the table under it said to a write.
type result struct {
	version tablestore.Version
	reply   tablestore.Response
}

// injectedError is an outcome that the store under it did not give.
type injectedError struct{ error }

func (f injectedError) Unwrap() error { return f.error }

func isInjected(err error) bool {
	_, ok := err.(injectedError) //nolint:errorlint // only one of our own, unwrapped
	return ok
}

// exchange takes one exchange to the table, or does not.
func (s *Store) exchange(ctx context.Context, write bool, apply func(context.Context) error) error {
	switch {
	case s.partitioned.Load():
		return s.noResponse(ctx)
	case s.occurs(s.Faults.LostRequest, 0):
		return s.noResponse(ctx)
	case write && s.occurs(s.Faults.Conflict, 2):
		return injectedError{tablestore.ErrConflict}
	case write && s.occurs(s.Faults.Late, 4):
		s.applyLate(apply)
		return s.noResponse(ctx)
	}
	if s.occurs(s.Faults.Delay, 3) {
		if err := s.sleep(ctx, s.randomDelay(s.Faults.DelayUpTo, 800*time.Millisecond)); err != nil {
			return injectedError{tablestore.ErrUnknown}
		}
	}
	err := apply(ctx)
	if s.occurs(s.Faults.LostResponse, 1) {
		return s.noResponse(ctx)
	}
	return err
}

// noResponse is an answer that does not come: either the connection breaks at
// some moment, or the caller's patience ends.
func (s *Store) noResponse(ctx context.Context) error {
	patience := s.Environment.CallTimeout
	if deadline, ok := ctx.Deadline(); patience == 0 && ok {
		patience = time.Until(deadline)
	}
	if s.random() < .5 {
		patience = time.Duration(s.random() * float64(patience))
	}
	_ = s.sleep(ctx, patience)
	return injectedError{tablestore.ErrUnknown}
}

// applyLate applies a write after its caller has given up.
func (s *Store) applyLate(apply func(context.Context) error) {
	after := s.Environment.CallTimeout + s.randomDelay(s.Faults.LateUpTo, 3*time.Second)
	zombie := func() {
		if s.sleep(context.Background(), after) == nil {
			_ = apply(context.Background()) // nobody listens any more
		}
	}
	if s.Environment.Go != nil {
		s.Environment.Go(zombie)
		return
	}
	s.lateWrites.Go(zombie)
}

func (s *Store) occurs(probability float64, kind int) bool {
	if probability <= 0 || s.random() >= probability {
		return false
	}
	s.count[kind].Add(1)
	return true
}

func (s *Store) randomDelay(upTo, otherwise time.Duration) time.Duration {
	if upTo == 0 {
		upTo = otherwise
	}
	return time.Duration(s.random() * float64(upTo))
}

func (s *Store) random() float64 {
	if s.Environment.Rand != nil {
		return s.Environment.Rand()
	}
	return rand.Float64() //nolint:gosec // faults need no secrecy
}

func (s *Store) sleep(ctx context.Context, d time.Duration) error {
	if s.Environment.Sleep != nil {
		return s.Environment.Sleep(ctx, d)
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

// Partitioned reports whether the way to the table is broken.
func (s *Store) Partitioned() bool { return s.partitioned.Load() }
