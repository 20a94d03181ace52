package laws_test

import (
	"context"
	"strings"
	"time"

	"spillway/handler/internal/tablestore"
)

// distantTable is the table, a few milliseconds from an instance.
type distantTable struct {
	tablestore.Store
	i *instance
}

func (d *distantTable) travel() {
	d.i.pacer.Sleep(context.Background(), d.i.w.between(time.Millisecond, 5*time.Millisecond))
}

// exchange makes one call, unless the table is in trouble.
func (d *distantTable) exchange(write bool, call func() (tablestore.Response, error)) (response tablestore.Response, err error) {
	w := d.i.w
	w.exchanges++
	d.travel()
	defer d.travel()
	response, err = w.trouble.of(write)
	switch {
	case w.mutant == neverReads && d.i.number >= w.size:
		return response, tablestore.ErrUnknown
	case err == nil:
		return call()
	}
	d.i.met = w.now
	if w.mutant == troubleIsConflict && write {
		err = tablestore.ErrConflict
	} else if w.mutant == troubleIsConflict {
		err = tablestore.ErrNotFound
	}
	return response, err
}

// The context's deadline is of real time.
func (d *distantTable) Get(ctx context.Context, partition, key string) (row tablestore.Row, response tablestore.Response, err error) {
	response, err = d.exchange(false, func() (response tablestore.Response, err error) {
		row, response, err = d.Store.Get(context.WithoutCancel(ctx), partition, key)
		return response, err
	})
	d.i.read = d.i.w.now
	return row, response, err
}

func (d *distantTable) Replace(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	response, err = d.exchange(true, func() (response tablestore.Response, err error) {
		version, response, err = d.Store.Replace(context.WithoutCancel(ctx), row)
		return response, err
	})
	return version, response, err
}

func (d *distantTable) Upsert(ctx context.Context, row tablestore.Row) (version tablestore.Version, response tablestore.Response, err error) {
	response, err = d.exchange(true, func() (response tablestore.Response, err error) {
		version, response, err = d.Store.Upsert(context.WithoutCancel(ctx), row)
		return response, err
	})
	return version, response, err
}

func (d *distantTable) List(ctx context.Context, partition, from, to string) (rows []tablestore.Row, response tablestore.Response, err error) {
	response, err = d.exchange(false, func() (response tablestore.Response, err error) {
		rows, response, err = d.Store.List(context.WithoutCancel(ctx), partition, from, to)
		return response, err
	})
	return rows, response, err
}

// records is how many records the shared row holds.
func (w *world) records() int {
	row, _, _ := w.store.Get(context.Background(), "fleet|default", "health")
	n := 0
	for name := range row.Columns {
		if name != "rev" && name != "seq" && !strings.HasPrefix(name, "odata") {
			n++
		}
	}
	return n
}
