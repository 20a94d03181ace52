package storetest

import (
	"context"
	"testing"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// lastWriterWins is a store without compare-and-swap.
type lastWriterWins struct{ tablestore.Store }

func (s lastWriterWins) Put(ctx context.Context, r tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return s.Upsert(ctx, r)
}

func (s lastWriterWins) Replace(ctx context.Context, r tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	return s.Upsert(ctx, r)
}

// A contract that a broken store meets would prove nothing.
func TestContractFailsWithoutCompareAndSwap(t *testing.T) {
	caught := map[string]error{}
	for _, check := range Contract() {
		if err := check.Run(t.Context(), lastWriterWins{&memory.Store{}}); err != nil {
			caught[check.Name] = err
		}
	}
	for _, name := range []string{
		"a second insert conflicts",
		"a replacement has no other columns",
		"a put at an old version conflicts and changes nothing",
		"a put at the version of a deleted row conflicts",
		"of many writers at one version one wins",
	} {
		if caught[name] == nil {
			t.Errorf("%q passes on a store where the last writer wins", name)
		}
	}
}
