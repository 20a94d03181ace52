package fleet

import (
	"context"
	"fmt"
)

// Read reads the shared rows once, for a command that only looks. A fleet that
// never wrote anything is no error.
func (r *Replica) Read(ctx context.Context) error {
	for n := range r.rows {
		if !r.readRow(ctx, n) {
			return fmt.Errorf("read shared state: %w", r.Counters().LastError)
		}
	}
	return nil
}
