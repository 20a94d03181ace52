package affinity_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/tablestore/memory"
)

// All instances have one secret, which stays; until the table can be read each has its
// own.
func TestSecretIsSharedByTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: new(memory.Store)}
		store.down.Store(true)
		a, stopA := run(t, affinity.Config{Table: store})
		b, stopB := run(t, affinity.Config{Table: store})
		time.Sleep(time.Second)
		if own := a.Secret(); len(own) < 20 || bytes.Equal(own, b.Secret()) {
			t.Errorf("without the table: %q and %q", own, b.Secret())
		}
		store.down.Store(false)
		time.Sleep(time.Minute)
		shared := a.Secret()
		stopA()
		stopB()
		c, stopC := run(t, affinity.Config{Table: store})
		time.Sleep(time.Second)
		defer stopC()
		if !bytes.Equal(shared, b.Secret()) || !bytes.Equal(shared, c.Secret()) {
			t.Errorf("with the table: %q, %q, and %q after a restart", shared, b.Secret(), c.Secret())
		}
		if alone := affinity.New(affinity.Config{}).Secret(); len(alone) < 20 || bytes.Equal(alone, shared) {
			t.Errorf("of an instance without a table: %q", alone)
		}
	})
}
