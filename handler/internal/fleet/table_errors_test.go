package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// refusal is how the table refuses.
type refusal struct {
	err        error
	retryAfter time.Duration
}

// refusingTable refuses reads or writes while it is told to.
type refusingTable struct {
	slowTable
	reads, writes   atomic.Pointer[refusal]
	asked, replaced atomic.Int64 // all exchanges, and writes of the shared row
}

func (s *refusingTable) refuse(what *atomic.Pointer[refusal]) (tablestore.Response, error) {
	s.asked.Add(1)
	time.Sleep(5 * time.Millisecond)
	if f := what.Load(); f != nil {
		return tablestore.Response{Date: time.Now().Truncate(time.Second), RetryAfter: f.retryAfter}, f.err
	}
	return tablestore.Response{}, nil
}

func (s *refusingTable) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	if response, err := s.refuse(&s.reads); err != nil {
		return tablestore.Row{}, response, err
	}
	return s.slowTable.Get(ctx, partition, key)
}

func (s *refusingTable) List(ctx context.Context, partition, from, to string) ([]tablestore.Row, tablestore.Response, error) {
	if response, err := s.refuse(&s.reads); err != nil {
		return nil, response, err
	}
	return s.slowTable.List(ctx, partition, from, to)
}

func (s *refusingTable) Replace(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	s.replaced.Add(1)
	if response, err := s.refuse(&s.writes); err != nil {
		return "", response, err
	}
	return s.slowTable.Replace(ctx, row)
}

func (s *refusingTable) Upsert(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if response, err := s.refuse(&s.writes); err != nil {
		return "", response, err
	}
	return s.slowTable.Upsert(ctx, row)
}

// withTraffic lets the time pass, with a request to the second slot each tenth of a
// second.
func withTraffic(t *testing.T, replica *Replica, d time.Duration, o health.Outcome) {
	t.Helper()
	for ends := time.Now().Add(d); time.Now().Before(ends); {
		request(replica, 1, o)
		time.Sleep(100 * time.Millisecond)
	}
}

// A credential that may read and not write: the instance goes on reading, tries to
// write ever less often, and shows it.
func TestInstanceThatMayNotWriteGoesOnReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingTable{}
		other := start(t, Config{Store: store, Instance: "other"})
		replica := start(t, Config{Store: store, Instance: "i"})
		snapshotAll([]*Replica{other, replica})
		time.Sleep(3 * time.Second)
		request(other, 1, throttled(5*time.Minute, health.LimitCapacity))
		time.Sleep(2 * time.Second)
		forbidden := fmt.Errorf("%w: 403 AuthorizationPermissionMismatch", tablestore.ErrRefused)
		store.writes.Store(&refusal{err: forbidden})
		request(replica, 0, throttled(5*time.Minute, health.LimitCapacity))
		time.Sleep(2 * time.Second)
		if c := replica.Counters(); !errors.Is(c.WriteError, forbidden) {
			t.Errorf("two seconds after the refusal the error of writes is %v", c.WriteError)
		}
		before := replica.Counters()
		for range 120 {
			time.Sleep(time.Second)
			replica.Snapshot()
		}
		after := replica.Counters()
		writes, reads := after.Writes-before.Writes, after.Exchanges-before.Exchanges-after.Writes+before.Writes
		t.Logf("in two minutes %d attempts to write, %d reads", writes, reads)
		if writes > 20 || writes < 8 {
			t.Errorf("%d attempts to write in two minutes, want one each ten seconds", writes)
		}
		if reads < 220 || reads > 300 {
			t.Errorf("%d reads in two minutes, want those of a healthy table", reads)
		}
		if c := replica.Counters(); c.WriteError == nil || c.Disconnected || c.Outage != 0 {
			t.Errorf("two minutes later: error of writes %v, disconnected %v, outage %v", c.WriteError, c.Disconnected, c.Outage)
		}
		if got := replica.Snapshot().Of(1).SkipReason(time.Now(), 1); got != health.SkipThrottled {
			t.Errorf("what the other instance wrote: %q", got)
		}
		store.writes.Store(nil)
		withTraffic(t, replica, 13*time.Second, served)
		if c := replica.Counters(); c.WriteError != nil {
			t.Errorf("after writes are allowed again: %v", c.WriteError)
		}
		other.Snapshot()
		time.Sleep(time.Second)
		if got := other.Snapshot().Of(0).SkipReason(time.Now(), 1); got != health.SkipThrottled {
			t.Errorf("at the other instance: %q, want throttled", got)
		}
	})
}

// One write of unknown outcome does not show that an instance cannot write; two in a
// row do.
func TestOneLateWriteIsNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingTable{}
		replica := start(t, Config{Store: store, Instance: "i"})
		withTraffic(t, replica, 3*time.Second, served)
		replica.mu.Lock()
		replica.writeFailed(tablestore.ErrUnknown)
		replica.mu.Unlock()
		if c := replica.Counters(); c.WriteError != nil {
			t.Errorf("after one: %v", c.WriteError)
		}
		withTraffic(t, replica, 16*time.Second, served)
		store.writes.Store(&refusal{err: tablestore.ErrUnknown})
		withTraffic(t, replica, 16*time.Second, served)
		if c := replica.Counters(); c.WriteError != nil {
			t.Errorf("after one heartbeat: %v", c.WriteError)
		}
		withTraffic(t, replica, 16*time.Second, served)
		if c := replica.Counters(); c.WriteError == nil {
			t.Error("after two heartbeats nothing is shown")
		}
	})
}

// The same without anything to write: the heartbeat shows it.
func TestInstanceThatMayNotWriteShowsItWithoutTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingTable{}
		store.writes.Store(&refusal{err: tablestore.ErrRefused})
		replica := start(t, Config{Store: store, Instance: "i"})
		withTraffic(t, replica, 2*time.Second, served)
		if c := replica.Counters(); c.WriteError == nil {
			t.Error("two seconds after the start there is no error of writes")
		}
		store.writes.Store(nil)
		withTraffic(t, replica, 20*time.Second, served)
		if c := replica.Counters(); c.WriteError != nil {
			t.Errorf("after writes are allowed again: %v", c.WriteError)
		}
	})
}

// What could not be written is over before the table can be written again: the
// heartbeat shows that it can.
func TestRefusedWriteThatIsNeededNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingTable{}
		replica := start(t, Config{Store: store, Instance: "i"})
		withTraffic(t, replica, 3*time.Second, served)
		store.writes.Store(&refusal{err: tablestore.ErrRefused})
		request(replica, 0, throttled(5*time.Second, health.LimitCapacity))
		withTraffic(t, replica, 20*time.Second, served)
		if c := replica.Counters(); c.WriteError == nil {
			t.Error("the refused write is not shown")
		}
		store.writes.Store(nil)
		before := store.replaced.Load()
		withTraffic(t, replica, 30*time.Second, served)
		if c := replica.Counters(); c.WriteError != nil || store.replaced.Load() != before {
			t.Errorf("after writes are allowed again: %v, %d writes", c.WriteError, store.replaced.Load()-before)
		}
	})
}

// The table asks not to be called for a while: neither reads, writes nor heartbeats
// call it, and what happened meanwhile is written then.
func TestRetryAfterOfTheTableIsHonoured(t *testing.T) {
	for _, c := range []struct{ reads, writes bool }{{true, true}, {true, false}, {false, true}} {
		synctest.Test(t, func(t *testing.T) {
			store := &refusingTable{}
			replica := start(t, Config{Store: store, Instance: "i"})
			withTraffic(t, replica, 5*time.Second, served)
			busy := &refusal{err: fmt.Errorf("%w: 503 ServerBusy", tablestore.ErrUnknown), retryAfter: 20 * time.Second}
			if c.reads {
				store.reads.Store(busy)
			}
			if c.writes {
				store.writes.Store(busy)
			}
			request(replica, 0, throttled(5*time.Minute, health.LimitCapacity))
			time.Sleep(700 * time.Millisecond) // it meets the refusal
			before := store.asked.Load()
			withTraffic(t, replica, 18*time.Second, served)
			if asked := store.asked.Load() - before; c.reads && asked > 0 || asked > 50 {
				t.Errorf("reads %v, writes %v: %d exchanges while the table asked not to be called", c.reads, c.writes, asked)
			}
			store.reads.Store(nil)
			store.writes.Store(nil)
			withTraffic(t, replica, 5*time.Second, served)
			if store.replaced.Load() == 0 || len(storedColumns(t, &store.slowTable, replica)) != 1 {
				t.Errorf("reads %v, writes %v: the window was not written when the table answered again", c.reads, c.writes)
			}
		})
	}
}

// The table asks for an hour and is well again in a second: it is called soon.
func TestRetryAfterOfTheTableIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingTable{}
		replica := start(t, Config{Store: store, Instance: "i"})
		withTraffic(t, replica, 5*time.Second, served)
		busy := &refusal{err: fmt.Errorf("%w: 503 ServerBusy", tablestore.ErrUnknown), retryAfter: time.Hour}
		store.reads.Store(busy)
		store.writes.Store(busy)
		request(replica, 0, throttled(5*time.Minute, health.LimitCapacity))
		withTraffic(t, replica, 1200*time.Millisecond, served)
		store.reads.Store(nil)
		store.writes.Store(nil)
		withTraffic(t, replica, 31*time.Second, served)
		if c := replica.Counters(); c.Disconnected || c.LastError != nil || len(storedColumns(t, &store.slowTable, replica)) != 1 {
			t.Errorf("31 seconds after the table's return: disconnected %v, %v", c.Disconnected, c.LastError)
		}
	})
}

// Reads and writes that fail for ever are tried each ten seconds in the end.
func TestErrorsOfTheTableAreBackedOff(t *testing.T) {
	for name, err := range map[string]error{
		"the table is gone": fmt.Errorf("%w: 404 TableNotFound", tablestore.ErrRefused), "unknown": tablestore.ErrUnknown,
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &refusingTable{}
			replica := start(t, Config{Store: store, Instance: "i"})
			withTraffic(t, replica, 5*time.Second, served)
			store.reads.Store(&refusal{err: err})
			store.writes.Store(&refusal{err: err})
			before := store.asked.Load()
			for range 600 { // with changes all the time
				request(replica, 0, failed)
				request(replica, 1, throttled(200*time.Millisecond, health.LimitCapacity))
				time.Sleep(100 * time.Millisecond)
			}
			if asked := store.asked.Load() - before; asked > 45 {
				t.Errorf("%s: %d exchanges in a minute, want fewer than half of a healthy table's 120", name, asked)
			}
			if c := replica.Counters(); !c.Disconnected || c.LastError == nil {
				t.Errorf("%s: disconnected %v, %v", name, c.Disconnected, c.LastError)
			}
		})
	}
}

// An instance that asks nothing for an hour was not cut off, and is not behind.
func TestIdleTimeIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingTable{}
		fleet := []*Replica{start(t, Config{Store: store, Instance: "a"}), start(t, Config{Store: store, Instance: "b"})}
		for range 10 {
			snapshotAll(fleet)
			time.Sleep(time.Second)
		}
		store.reads.Store(&refusal{err: tablestore.ErrUnknown}) // the last exchange before the pause fails
		time.Sleep(70 * time.Second)
		store.reads.Store(nil)
		for range 60 * 60 {
			time.Sleep(time.Second)
			fleet[1].Snapshot()
		}
		request(fleet[1], 0, throttled(5*time.Minute, health.LimitCapacity))
		time.Sleep(time.Minute)
		if c := fleet[0].Counters(); c.SinceContact > 2*time.Minute {
			t.Errorf("idle: %v since contact", c.SinceContact)
		}
		fleet[0].Snapshot()
		time.Sleep(50 * time.Millisecond)
		c := fleet[0].Counters()
		if c.Outage > 75*time.Second || c.Disconnected {
			t.Errorf("after an hour without traffic: an outage of %v, disconnected %v", c.Outage, c.Disconnected)
		}
		if c.Disagreement > time.Second || c.StaleRequests != 0 {
			t.Errorf("after an hour without traffic: %v behind, %d stale requests", c.Disagreement, c.StaleRequests)
		}
		if got := fleet[0].Snapshot().Of(0).SkipReason(time.Now(), 1); got != health.SkipThrottled {
			t.Errorf("50 ms after its first request: %q, want what happened meanwhile", got)
		}
	})
}
