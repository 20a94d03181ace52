package preflight_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/cli/preflight"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/chaos"
	"spillway/handler/internal/tablestore/memory"
)

// faultyStore is a table that fails in one operation.
type faultyStore struct {
	memory.Store
	refuse bool // to insert
	alter  bool // what is read
	keep   bool // what is deleted
}

func (in *faultyStore) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if in.refuse {
		return "", tablestore.Response{}, fmt.Errorf("%w: status 403 AuthorizationPermissionMismatch\nsecond line", tablestore.ErrRefused)
	}
	return in.Store.Put(ctx, row)
}

func (in *faultyStore) Get(ctx context.Context, partition, name string) (tablestore.Row, tablestore.Response, error) {
	row, reply, err := in.Store.Get(ctx, partition, name)
	if in.alter {
		row.Columns = map[string]string{"value": "another"}
	}
	return row, reply, err
}

func (in *faultyStore) Delete(ctx context.Context, row tablestore.Row) (tablestore.Response, error) {
	if in.keep {
		return tablestore.Response{}, fmt.Errorf("%w: no answer", tablestore.ErrUnknown)
	}
	return in.Store.Delete(ctx, row)
}

func TestTableIsWrittenReadAndLeftEmpty(t *testing.T) {
	store := new(memory.Store)
	text, report := print(t, &preflight.Input{State: preflight.State{Store: store, Setting: "SPILLWAY_STATE"}})
	rows, _, err := store.List(t.Context(), "", "", "")
	if err != nil || len(rows) > 0 || report.Count(preflight.OK) != 2 || report.Count(preflight.Error) > 0 {
		t.Errorf("%v, %v are left:\n%s", err, rows, text)
	}
}

func TestTableFaults(t *testing.T) {
	cut := &chaos.Store{Inner: new(memory.Store)}
	cut.SetPartitioned(true)
	for name, c := range map[string]struct {
		store tablestore.Store
		want  string
	}{
		"role":    {&faultyStore{refuse: true}, "insert a row: table: refused: status 403 AuthorizationPermissionMismatch. Give the identity the role Storage Table Data Contributor"},
		"altered": {&faultyStore{alter: true}, "read the row back: preflight: the row came back changed. Give"},
		"kept":    {&faultyStore{keep: true}, "delete the row: table: outcome unknown: no answer. Check the account's name"},
		"cut off": {cut, "insert a row: table: outcome unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			text, report := print(t, &preflight.Input{State: preflight.State{Store: c.store, Setting: "SPILLWAY_STATE"}, Timeout: 100 * time.Millisecond})
			if report.Count(preflight.Error) != 1 || !strings.Contains(text, "error: SPILLWAY_STATE: the table cannot be used: "+c.want) {
				t.Errorf("want %q:\n%s", c.want, text)
			}
		})
	}
	text, report := print(t, &preflight.Input{})
	if report.Count(preflight.OK) != 1 || len(report.Findings) != 1 {
		t.Error(text)
	}
}

func TestClockSkew(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		ours time.Duration // ahead of the table's
		key  bool
		want string
	}{
		{59 * time.Second, true, "ok: clock: it is within 1m0s"},
		{-59 * time.Second, true, "ok: clock: it is within 1m0s"},
		{61 * time.Second, true, "warning: clock: it is 1m1s ahead of the table's;"},
		{-2 * time.Minute, true, "warning: clock: it is 2m0s behind the table's;"},
		{16 * time.Minute, true, "error: clock: it is 16m0s ahead of the table's, and beyond 15m0s shared keys are refused. Let"},
		{-16 * time.Minute, true, "error: clock: it is 16m0s behind"},
		{16 * time.Minute, false, "warning: clock: it is 16m0s ahead"},
	} {
		store := &memory.Store{Now: func() time.Time { return noon }}
		text, _ := print(t, &preflight.Input{
			State: preflight.State{Store: store, Setting: "SPILLWAY_STATE", SharedKey: c.key},
			Now:   func() time.Time { return noon.Add(c.ours) },
		})
		if !strings.Contains(text, c.want) {
			t.Errorf("%v: want %q:\n%s", c.ours, c.want, text)
		}
	}
}
