package accounting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"spillway/handler/internal/tablestore"
)

// Reader reads what all instances wrote.
type Reader struct {
	Store tablestore.Store
}

// Rows returns the usage of the hours that begin at from or later and before
// to, one row for each instance and key, in no order. Table rows that cannot be
// read are left out and reported in the error, together with the others.
func (r *Reader) Rows(ctx context.Context, from, to time.Time) ([]Row, error) {
	from, to = hourOf(from), to.UTC()
	if last := hourOf(to); last.Before(to) {
		to = last.Add(time.Hour)
	}
	var usage []Row
	var unreadable error
	for month := from; month.Before(to); month = firstOfNext(month) {
		stored, err := r.month(ctx, month, to)
		if err != nil {
			return nil, err
		}
		for i := range stored {
			usage, err = decode(&stored[i], usage)
			unreadable = errors.Join(unreadable, err)
		}
	}
	return usage, unreadable
}

// month lists the table rows of one month, from this hour on and before to.
func (r *Reader) month(ctx context.Context, from, to time.Time) ([]tablestore.Row, error) {
	end := ""
	if to.Before(firstOfNext(from)) {
		end = to.Format(hourLayout)
	}
	rows, _, err := r.Store.List(ctx, partitionOf(from), from.Format(hourLayout), end)
	if err != nil {
		return nil, fmt.Errorf("read usage of %s: %w", partitionOf(from), err)
	}
	return rows, nil
}

func firstOfNext(at time.Time) time.Time {
	return time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, time.UTC)
}

// Summary returns the usage summed by these fields, in ascending order of them.
// Each currency has a row of its own.
func (r *Reader) Summary(ctx context.Context, from, to time.Time, by []string) ([]Row, error) {
	rows, err := r.Rows(ctx, from, to)
	if rows == nil && err != nil {
		return nil, err
	}
	sums, fault := Summarize(rows, by)
	return sums, errors.Join(fault, err)
}

// ErrField is a field that usage cannot be summed by.
var ErrField = errors.New("usage is summed by one of hour, day and month, and by consumer, caller, model, backend and tier, each once")

// Summarize sums rows by these fields: one of hour, day and month, and consumer,
// caller, model, backend and tier, each at most once.
func Summarize(rows []Row, by []string) ([]Row, error) {
	fields, err := parseBy(by)
	if err != nil {
		return nil, err
	}
	sums := map[Row]Totals{} // by a row without totals
	for i := range rows {
		k := fields.groupOf(&rows[i])
		sums[k] = sums[k].Add(rows[i].Totals)
	}
	all := make([]Row, 0, len(sums))
	for k, s := range sums {
		if s == (Totals{}) {
			continue // what was estimated is booked elsewhere by now
		}
		k.Totals = s
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Row) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Model, b.Model),
			cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Currency, b.Currency))
	})
	return all, nil
}

// grouping is the fields that are kept.
type grouping struct {
	time                                   func(time.Time) time.Time // nil = all times are summed
	consumer, caller, model, backend, tier bool
}

func parseBy(by []string) (g grouping, err error) {
	seen := map[string]bool{}
	for _, field := range by {
		kind := field
		switch field {
		case "hour", "day", "month":
			kind, g.time = "time", truncations[field]
		case "consumer":
			g.consumer = true
		case "caller":
			g.caller = true
		case "model":
			g.model = true
		case "backend":
			g.backend = true
		case "tier":
			g.tier = true
		default:
			return grouping{}, fmt.Errorf("%w, not by %q", ErrField, field)
		}
		if seen[kind] {
			return grouping{}, fmt.Errorf("%w: %q is given with the same or another time", ErrField, field)
		}
		seen[kind] = true
	}
	return g, nil
}

// truncations are the beginnings of the times that usage is summed by.
var truncations = map[string]func(time.Time) time.Time{
	"hour":  hourOf,
	"day":   func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) },
	"month": func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) },
}

// groupOf returns the row's group.
func (g *grouping) groupOf(row *Row) Row {
	k := Row{Key: Key{Currency: row.Currency}}
	if g.time != nil {
		k.Hour = g.time(row.Hour)
	}
	if g.consumer {
		k.Consumer = row.Consumer
	}
	if g.caller {
		k.Caller = row.Caller
	}
	if g.model {
		k.Model = row.Model
	}
	if g.backend {
		k.Backend = row.Backend
	}
	if g.tier {
		k.Tier = row.Tier
	}
	return k
}

// Retention is how long usage is kept: thirteen months, so that a year can be
// compared with the one before.
const Retention = 396 * 24 * time.Hour

// lookBackMonths is how many months before that are searched. Rows left by a
// fleet that was idle for longer cost next to nothing.
const lookBackMonths = 6

// DeleteExpired deletes the usage of the months that ended longer than
// Retention ago, and returns how many rows. One instance at a time calls it.
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
