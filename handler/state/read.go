package state

import (
	"context"
	"errors"

	"spillway/handler/table"
)

// Read reads the shared rows once, for a command that only looks: Run must not
// be under way. The error is that of the exchange; a fleet that never wrote
// anything is none.
func (k *Keeper) Read(ctx context.Context) error {
	for n := range k.rows {
		row, _, err := k.cfg.Store.Get(ctx, k.partition(), k.rows[n].key)
		if err != nil && !errors.Is(err, table.ErrNotFound) {
			return err
		}
		k.took(n, row, err)
	}
	k.refresh(ctx) // with the table's clock, which the first look may lack
	return nil
}
