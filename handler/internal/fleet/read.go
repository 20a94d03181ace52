package fleet

import (
	"context"
	"fmt"
)

// Read reads the shared rows once, for a command that only looks. A fleet that
// never wrote anything is no error.
func (k *Replica) Read(ctx context.Context) error {
	for n := range k.rows {
		if !k.readRow(ctx, n) {
			return fmt.Errorf("read shared state: %w", k.Counters().LastError)
		}
	}
	return nil
}
