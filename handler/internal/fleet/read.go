package fleet

import (
	"context"
	"fmt"
)

// Read reads the shared rows once, for a command that only looks. A fleet that
// never wrote anything is no error.
func (k *Keeper) Read(ctx context.Context) error {
	for n := range k.rows {
		if !k.reread(ctx, n) {
			return fmt.Errorf("read shared state: %w", k.Counters().Trouble)
		}
	}
	return nil
}
