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

func TestWithoutFaultsItIsAnOrdinaryTable(t *testing.T) {
	storetest.Run(t, func(*testing.T) tablestore.Store { return &chaos.Store{Inner: &memory.Store{}} })
}

// write puts one row under a deadline of a second.
func write(t *testing.T, s tablestore.Store, columns string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, reply, err := s.Put(ctx, tablestore.Row{Partition: "p", Key: "r", Columns: map[string]string{"c": columns}})
	if err != nil && !reply.Date.IsZero() {
		t.Errorf("an answer that did not come is dated %v", reply.Date)
	}
	return err
}

func there(t *testing.T, s tablestore.Store) bool {
	_, _, err := s.Get(t.Context(), "p", "r")
	return err == nil
}

func TestEachFaultIsWhatItSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults chaos.Faults
		want   error
		now    bool // applied when the caller hears of it
		later  bool // applied some time after
	}{
		{"lost request", chaos.Faults{LostRequest: 1}, tablestore.ErrUnknown, false, false},
		{"lost answer", chaos.Faults{LostResponse: 1}, tablestore.ErrUnknown, true, true},
		{"conflict that was none", chaos.Faults{Conflict: 1}, tablestore.ErrConflict, false, false},
		{"late", chaos.Faults{Late: 1}, tablestore.ErrUnknown, false, true},
		{"delay", chaos.Faults{Delay: 1, DelayUpTo: 500 * time.Millisecond}, nil, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				under := &memory.Store{}
				s := &chaos.Store{Inner: under, Faults: c.faults, Environment: chaos.Environment{Rand: func() float64 { return .75 }}}
				if err := write(t, s, "x"); !errors.Is(err, c.want) {
					t.Errorf("the caller heard %v, want %v", err, c.want)
				}
				if got := there(t, under); got != c.now {
					t.Errorf("applied: %v, want %v", got, c.now)
				}
				s.Wait()
				if got := there(t, under); got != c.later {
					t.Errorf("applied in the end: %v, want %v", got, c.later)
				}
			})
		})
	}
}

func TestACutStoreIsOutOfReachUntilItIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &chaos.Store{Inner: &memory.Store{}}
		s.SetPartitioned(true)
		if err := write(t, s, "x"); !errors.Is(err, tablestore.ErrUnknown) {
			t.Errorf("cut off: %v, want ErrUnknown", err)
		}
		s.SetPartitioned(false)
		if err := write(t, s, "x"); err != nil {
			t.Errorf("mended: %v", err)
		}
	})
}
