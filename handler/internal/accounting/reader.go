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

// Rows is everything that was used in the hours that begin at from or later
// and before to, each instance's share by itself, in no order. Rows that cannot
// be read are left out, and are the error, beside the others.
func (r *Reader) Rows(ctx context.Context, from, to time.Time) ([]Row, error) {
	from, to = hourOf(from), to.UTC()
	if last := hourOf(to); last.Before(to) {
		to = last.Add(time.Hour)
	}
	var lines []Row
	var unreadable error
	for month := from; month.Before(to); month = firstOfNext(month) {
		rows, err := r.month(ctx, month, to)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			lines, err = decode(&rows[i], lines)
			unreadable = errors.Join(unreadable, err)
		}
	}
	return lines, unreadable
}

// month lists the rows of one month from this hour on, ahead of to.
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

// Summary is the sums of what was used, by these fields, in ascending order of
// them. Currencies are never added up: each has its own line.
func (r *Reader) Summary(ctx context.Context, from, to time.Time, by []string) ([]Row, error) {
	lines, err := r.Rows(ctx, from, to)
	if lines == nil && err != nil {
		return nil, err
	}
	sums, fault := Summarize(lines, by)
	return sums, errors.Join(fault, err)
}

// ErrField is a field that usage cannot be summed by.
var ErrField = errors.New("usagebook: usage is summed by hour, day, month, consumer, model or backend")

// Summarize adds lines up by these fields: hour, day or month, consumer, model,
// backend.
func Summarize(lines []Row, by []string) ([]Row, error) {
	fields, err := parseBy(by)
	if err != nil {
		return nil, err
	}
	sums := map[Row]Totals{} // by a line without a sum
	for i := range lines {
		k := fields.groupOf(&lines[i])
		sums[k] = sums[k].Add(lines[i].Totals)
	}
	all := make([]Row, 0, len(sums))
	for k, s := range sums {
		k.Totals = s
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Row) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Model, b.Model),
			cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Currency, b.Currency))
	})
	return all, nil
}

// grouping is which fields are kept.
type grouping struct {
	time                     func(time.Time) time.Time // nil = all of it is one
	consumer, model, backend bool
}

func parseBy(by []string) (g grouping, err error) {
	for _, field := range by {
		switch field {
		case "hour":
			g.time = hourOf
		case "day":
			g.time = func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) }
		case "month":
			g.time = func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) }
		case "consumer":
			g.consumer = true
		case "model":
			g.model = true
		case "backend":
			g.backend = true
		default:
			return grouping{}, fmt.Errorf("%w, not by %q", ErrField, field)
		}
	}
	return g, nil
}

// groupOf is the line's group.
func (g *grouping) groupOf(l *Row) Row {
	k := Row{Key: Key{Currency: l.Currency}}
	if g.time != nil {
		k.Hour = g.time(l.Hour)
	}
	if g.consumer {
		k.Consumer = l.Consumer
	}
	if g.model {
		k.Model = l.Model
	}
	if g.backend {
		k.Backend = l.Backend
	}
	return k
}
