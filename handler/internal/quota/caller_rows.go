package quota

import (
	"context"
	"fmt"
	"strings"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// keptCallerRow is how long the row of a caller's limit is kept after its window:
// longer than clocks differ and than a write may be late.
const keptCallerRow = time.Hour

// DeleteIdleCallers deletes the rows of callers that have used nothing in the
// present window and owe nothing, and returns how many. One instance at a time
// calls it.
func DeleteIdleCallers(ctx context.Context, store tablestore.Store, consumers []*consumer.Consumer, now time.Time) (int, error) {
	deleted := 0
	for _, c := range consumers {
		if c.PerCaller == nil {
			continue
		}
		rows, _, err := store.List(ctx, callerPartition(c.Name), "", "")
		if err != nil {
			return deleted, fmt.Errorf("list the callers of consumer %q: %w", c.Name, err)
		}
		for i := range rows {
			if !unused(&rows[i], now.Add(-keptCallerRow)) {
				continue
			}
			if _, err := store.Delete(ctx, rows[i]); err != nil {
				return deleted, fmt.Errorf("delete a caller of consumer %q: %w", c.Name, err)
			}
			deleted++
		}
	}
	return deleted, nil
}

// unused reports whether a row says nothing that a missing one does not.
func unused(row *tablestore.Row, now time.Time) bool {
	record, err := lease.Parse(row.Columns[recordColumn])
	if err != nil {
		return true
	}
	period := lease.Minute
	if strings.Contains(row.Key, "mo-") {
		period = lease.Month
	}
	window := period.Index(now)
	return record.Window < window && record.RolledTo(window, record.Limit).Granted == 0
}
