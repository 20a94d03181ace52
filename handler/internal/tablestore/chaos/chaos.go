// Package chaos injects the faults of a real table
// (docs/shared-state.md#what-the-table-does) into one, at given rates.
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

// Faults are the probability of each kind of fault. The zero Faults never happen.
type Faults struct {
	LostRequest  float64       // the request never arrives
	LostResponse float64       // it is applied, and the response is lost
	Conflict     float64       // a write is refused with a false conflict
	Delay        float64       // it takes up to DelayUpTo longer
	DelayUpTo    time.Duration // 0 = 800 ms
	Late         float64       // a write times out and is applied up to LateUpTo later
	LateUpTo     time.Duration // 0 = 3 s; the service documents up to 30 s
}

// Scale returns the faults, n times as likely.
func (f Faults) Scale(n float64) Faults {
	f.LostRequest, f.LostResponse, f.Conflict, f.Delay, f.Late = n*f.LostRequest, n*f.LostResponse, n*f.Conflict, n*f.Delay, n*f.Late
	return f
}

// TypicalFaults are the rates that the protocol was measured with.
func TypicalFaults() Faults {
	return Faults{LostRequest: .02, LostResponse: .05, Conflict: .05, Delay: .05, Late: .02}
}

// Environment is the clock and randomness of faults. The zero Environment is the
// real one.
type Environment struct {
	Rand        func() float64                                   // in [0, 1)
	Sleep       func(ctx context.Context, d time.Duration) error // until d passed, or the error of ctx
	Go          func(f func())                                   // runs f in the background
	CallTimeout time.Duration                                    // how long a caller waits for a lost response; 0 = until its ctx is done
}

// Store is one instance's connection to the table Inner. It is safe for
// concurrent use, as far as Environment is.
type Store struct {
	Inner       tablestore.Store
	Faults      Faults
	Environment Environment

	partitioned atomic.Bool
	lateWrites  sync.WaitGroup
	count       [5]atomic.Int64
}

// SetPartitioned cuts the connection to the table, or restores it: an outage when
// it is cut for all instances, a partition when for some.
func (s *Store) SetPartitioned(partitioned bool) { s.partitioned.Store(partitioned) }

// Partitioned reports whether the connection to the table is cut.
func (s *Store) Partitioned() bool { return s.partitioned.Load() }

// Counts are how often each fault happened.
type Counts struct{ LostRequest, LostResponse, Conflict, Delay, Late int64 }

// Counts returns how often each fault happened so far.
func (s *Store) Counts() Counts {
	return Counts{s.count[0].Load(), s.count[1].Load(), s.count[2].Load(), s.count[3].Load(), s.count[4].Load()}
}

// Wait waits for the writes that are still to be applied late. Only with the real
// Environment.Go.
func (s *Store) Wait() { s.lateWrites.Wait() }

// Get reads one row.
func (s *Store) Get(ctx context.Context, partition, key string) (row tablestore.Row, response tablestore.Response, err error) {
	err = s.exchange(ctx, false, func(ctx context.Context) (err error) {
		row, response, err = s.Inner.Get(ctx, partition, key)
		return err
	})
	if isInjected(err) {
		return tablestore.Row{}, tablestore.Response{}, err
	}
	return row, response, err
}

// Put inserts or merges at a version.
func (s *Store) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return s.write(ctx, row, s.Inner.Put)
}

// Replace inserts or replaces at a version.
func (s *Store) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return s.write(ctx, row, s.Inner.Replace)
}

// Upsert inserts or merges at any version.
func (s *Store) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return s.write(ctx, row, s.Inner.Upsert)
}

func (s *Store) write(ctx context.Context, row tablestore.Row, apply func(context.Context, tablestore.Row) (tablestore.Version, tablestore.Response, error)) (tablestore.Version, tablestore.Response, error) {
	var a result // a late write has a result too, which its caller does not see
	err := s.exchange(ctx, true, func(ctx context.Context) (err error) {
		a.version, a.response, err = apply(ctx, row)
		return err
	})
	if isInjected(err) {
		return "", tablestore.Response{}, err
	}
	return a.version, a.response, err
}

// List reads rows.
func (s *Store) List(ctx context.Context, partition, from, to string) (rows []tablestore.Row, response tablestore.Response, err error) {
	err = s.exchange(ctx, false, func(ctx context.Context) (err error) {
		rows, response, err = s.Inner.List(ctx, partition, from, to)
		return err
	})
	if isInjected(err) {
		return nil, tablestore.Response{}, err
	}
	return rows, response, err
}

// Delete removes a row at its version.
func (s *Store) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	var a result
	err := s.exchange(ctx, true, func(ctx context.Context) (err error) {
		a.response, err = s.Inner.Delete(ctx, row)
		return err
	})
	if isInjected(err) {
		return tablestore.Response{}, err
	}
	return a.response, err
}

// result is that of a write to Inner.
type result struct {
	version  tablestore.Version
	response tablestore.Response
}

// injectedError is an error that Inner did not return.
type injectedError struct{ error }

func (f injectedError) Unwrap() error { return f.error }

func isInjected(err error) bool {
	_, ok := err.(injectedError) //nolint:errorlint // its own type, never wrapped
	return ok
}

// exchange passes one exchange to the table, or injects a fault.
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

// noResponse is a lost response: either the connection breaks at some moment, or
// the caller's deadline passes.
func (s *Store) noResponse(ctx context.Context) error {
	wait := s.Environment.CallTimeout
	if deadline, ok := ctx.Deadline(); wait == 0 && ok {
		wait = time.Until(deadline)
	}
	if s.random() < .5 {
		wait = time.Duration(s.random() * float64(wait))
	}
	_ = s.sleep(ctx, wait)
	return injectedError{tablestore.ErrUnknown}
}

// applyLate applies a write after its caller has given up.
func (s *Store) applyLate(apply func(context.Context) error) {
	after := s.Environment.CallTimeout + s.randomDelay(s.Faults.LateUpTo, 3*time.Second)
	late := func() {
		if s.sleep(context.Background(), after) == nil {
			_ = apply(context.Background()) // its caller has given up
		}
	}
	if s.Environment.Go != nil {
		s.Environment.Go(late)
		return
	}
	s.lateWrites.Go(late)
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
