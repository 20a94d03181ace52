package accounting

import (
	"context"
	"fmt"
	"time"

	"spillway/handler/internal/tablestore"
)

// Retention is how long usage is kept: thirteen months, so that a year can be
// compared with the one before.
const Retention = 396 * 24 * time.Hour

// lookBackMonths is how many months before that are looked through: a fleet that slept
// for longer leaves rows that cost next to nothing.
const lookBackMonths = 6

// DeleteExpired deletes the usage of the months that ended longer than Kept ago, and says
// how many rows: housekeeping, for whichever instance has that duty.
func DeleteExpired(ctx context.Context, store tablestore.Store, now time.Time) (int, error) {
	month := now.UTC().Add(-Retention)
	month = time.Date(month.Year(), month.Month(), 1, 0, 0, 0, 0, time.UTC)
	deleted := 0
	for range lookBackMonths {
		month = month.AddDate(0, -1, 0)
		rows, _, err := store.List(ctx, partitionOf(month), "", "")
		if err != nil {
			return deleted, fmt.Errorf("list usage of %s: %w", partitionOf(month), err)
		}
		for i := range rows {
			if _, err := store.Delete(ctx, rows[i]); err != nil {
				return deleted, fmt.Errorf("delete usage of %s: %w", partitionOf(month), err)
			}
			deleted++
		}
	}
	return deleted, nil
}
