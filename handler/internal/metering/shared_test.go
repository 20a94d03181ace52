package metering

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// failing is a table that can go away.
type failing struct {
	memory.Store
	away  atomic.Bool
	reads atomic.Int64
}

func (s *failing) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	s.reads.Add(1)
	if s.away.Load() {
		return tablestore.Row{}, tablestore.Response{}, tablestore.ErrUnknown
	}
	return s.Store.Get(ctx, partition, key)
}

// TestMeansWithoutTheTable: an outage costs a read in two seconds, not one an answer,
// and what is known stands.
func TestMeansWithoutTheTable(t *testing.T) { synctest.Test(t, meansWithoutTheTable) }

func meansWithoutTheTable(t *testing.T) {
	table := new(failing)
	shared := sharedMeans{store: table}
	kind := profileKey{consumer: "team", model: "gpt-4o", operation: "chat"}
	answer := func() {
		shared.learned(kind, 480, usage.Expectation{})
		synctest.Wait()
	}
	for range certainAnswers - 1 {
		answer()
	}
	table.away.Store(true)
	before := table.reads.Load()
	for range 1000 {
		answer()
		time.Sleep(10 * time.Millisecond)
	}
	if n := table.reads.Load() - before; n < 4 || n > 6 {
		t.Errorf("%d reads in 10 s of an outage, want one in 2 s", n)
	}
	if m := shared.mean(kind); m.Answers != certainAnswers-1 || m.Output != 480 {
		t.Errorf("known after the outage: %+v", m)
	}
	table.away.Store(false)
	time.Sleep(sharedRetry)
	answer()
	if m := shared.mean(kind); m.Answers != certainAnswers {
		t.Errorf("known with the table back: %+v", m)
	}
}
