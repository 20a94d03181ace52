package chaos_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/memory"
	"spillway/handler/internal/tablestore/storetest"
)

func TestStoreWithoutFaultsMeetsContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) tablestore.Store { return &chaos.Store{Inner: &memory.Store{}} })
}

// write puts one row under a deadline of a second.
func write(t *testing.T, s tablestore.Store, columns string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, response, err := s.Put(ctx, tablestore.Row{Partition: "p", Key: "r", Columns: map[string]string{"c": columns}})
	if err != nil && !response.Date.IsZero() {
		t.Errorf("a lost response has the date %v", response.Date)
	}
	return err
}

func exists(t *testing.T, s tablestore.Store) bool {
	_, _, err := s.Get(t.Context(), "p", "r")
	return err == nil
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults chaos.Faults
		want   error
		now    bool // applied when the call returns
		later  bool // applied some time later
	}{
		{"lost request", chaos.Faults{LostRequest: 1}, tablestore.ErrUnknown, false, false},
		{"lost response", chaos.Faults{LostResponse: 1}, tablestore.ErrUnknown, true, true},
		{"false conflict", chaos.Faults{Conflict: 1}, tablestore.ErrConflict, false, false},
		{"late", chaos.Faults{Late: 1}, tablestore.ErrUnknown, false, true},
		{"delay", chaos.Faults{Delay: 1, DelayUpTo: 500 * time.Millisecond}, nil, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &memory.Store{}
				s := &chaos.Store{Inner: inner, Faults: c.faults, Environment: chaos.Environment{Rand: func() float64 { return .75 }}}
				if err := write(t, s, "x"); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if got := exists(t, inner); got != c.now {
					t.Errorf("applied: %v, want %v", got, c.now)
				}
				s.Wait()
				if got := exists(t, inner); got != c.later {
					t.Errorf("applied in the end: %v, want %v", got, c.later)
				}
			})
		})
	}
}

func TestPartitionedStoreIsUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &chaos.Store{Inner: &memory.Store{}}
		s.SetPartitioned(true)
		if err := write(t, s, "x"); !errors.Is(err, tablestore.ErrUnknown) {
			t.Errorf("partitioned: %v, want ErrUnknown", err)
		}
		s.SetPartitioned(false)
		if err := write(t, s, "x"); err != nil {
			t.Errorf("restored: %v", err)
		}
	})
}
