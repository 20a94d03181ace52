package overload

import (
	"errors"
	"testing"
	"time"
)

const mib = 1 << 20

// fill opens requests of a consumer with so many bytes each until one is refused.
func fill(t *testing.T, b *Budget, consumer string, each int64) (held []*Memory) {
	t.Helper()
	for range 1000 {
		m := new(Memory)
		if err := b.Open(m, consumer); err != nil {
			return held
		}
		if err := m.Grow(each - RequestSize); err != nil {
			m.Close()
			return held
		}
		held = append(held, m)
	}
	t.Fatal("nothing was refused")
	return nil
}

func TestMemoryIsSharedOut(t *testing.T) {
	b := &Budget{Limit: 200 * mib}
	alone := fill(t, b, "heavy", mib)
	if n := len(alone); n != 160 {
		t.Errorf("one consumer alone held %d of 200 MiB, want four fifths", n)
	}
	if n := len(fill(t, b, "second", mib)); n != 32 {
		t.Errorf("whoever came then held %d of the 40 MiB that were left", n)
	}
	small := new(Memory)
	if err := b.Open(small, "third"); err != nil {
		t.Errorf("a small request of somebody else: %v", err)
	}
	if err := b.Open(new(Memory), "heavy"); !errors.Is(err, ErrOverloaded) {
		t.Errorf("one more of the heaviest: %v", err)
	}
	for _, m := range alone[:100] {
		m.Close()
	}
	if err := b.Open(new(Memory), "heavy"); err != nil {
		t.Errorf("after it gave most of it back: %v", err)
	}
}

func TestLargestRequestFitsAlone(t *testing.T) {
	b := &Budget{Limit: 200 * mib}
	if err := (&Memory{budget: b}).Grow(b.Largest()); err != nil {
		t.Error(err)
	}
}

func TestClosedMemoryIsGivenBackOnce(t *testing.T) {
	b, m := &Budget{Limit: mib}, new(Memory)
	if err := b.Open(m, "a"); err != nil {
		t.Fatal(err)
	}
	m.Charge(10 * mib) // what cannot be refused
	if err := b.Open(new(Memory), "b"); !errors.Is(err, ErrOverloaded) {
		t.Errorf("above the budget: %v", err)
	}
	m.Close()
	m.Shrink(5)
	m.Charge(7)
	m.Close()
	if b.Used() != 0 || len(b.held) != 0 {
		t.Errorf("%d bytes of %v are held by nobody", b.Used(), b.held)
	}
}

func TestMemoryWithoutBudget(t *testing.T) {
	for _, m := range []*Memory{nil, new(Memory)} {
		if err := m.Grow(1 << 50); err != nil {
			t.Error(err)
		}
		m.Charge(1)
		m.Shrink(1)
		m.Close()
	}
}

// Whatever requests were counted to hold, those who hold most are not let in while the
// process itself is short of memory.
func TestGuard(t *testing.T) {
	now, live := time.UnixMilli(1_900_000_000_000), int64(0)
	g := &Guard{Limit: 100 * mib, Live: func() int64 { return live }, Now: func() time.Time { return now }}
	b := &Budget{Limit: 60 * mib, Short: g.Short}
	open := func(consumer string) error {
		m := new(Memory)
		defer m.Close()
		return b.Open(m, consumer)
	}
	held := new(Memory)
	if err := b.Open(held, "heavy"); err != nil {
		t.Error(err)
	}
	if err := held.Grow(mib); err != nil {
		t.Error(err)
	}
	live = 96 * mib
	if err := open("heavy"); err != nil {
		t.Errorf("it looked before a tenth of a second was over: %v", err)
	}
	now = now.Add(guardInterval)
	if err := open("heavy"); !errors.Is(err, ErrOverloaded) {
		t.Errorf("with 96 of 100 MiB in use: %v", err)
	}
	if err := open("other"); err != nil {
		t.Errorf("who holds nothing: %v", err)
	}
	live, now = 50*mib, now.Add(guardInterval)
	if err := open("heavy"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if liveBytes() <= 0 {
		t.Error("no memory is in use")
	}
}
