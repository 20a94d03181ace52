package preflight

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/tablestore"
)

// State is the table that the instances share.
type State struct {
	Store     tablestore.Store // nil: in memory
	Setting   string           // the app setting with its address
	SharedKey bool             // requests are signed with the account key, which fails if the clocks differ by 15 minutes
}

// How far this machine's clock may differ from the table's.
const (
	maxClockSkew     = time.Minute
	maxSharedKeySkew = 15 * time.Minute
)

// checkTable inserts a row in a partition of its own, reads it and deletes it.
func (in *Input) checkTable(ctx context.Context, n *findings) {
	if in.State.Store == nil {
		n.ok("SPILLWAY_STATE", "state is in memory, so there is no table to check")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, in.timeout())
	defer cancel()
	row := tablestore.Row{Partition: "preflight", Key: rand.Text(), Columns: map[string]string{"value": rand.Text()}}
	before := in.now()
	reply, err := roundTripRow(ctx, in.State.Store, row)
	in.checkClock(reply.Date, before, n)
	if err != nil {
		n.report(Error, in.State.Setting, diagnoseTable(err))
		return
	}
	n.ok(in.State.Setting, "a row was written to the table, read and deleted")
}

// roundTripRow inserts, reads and deletes a row. The reply is that of the
// insert.
func roundTripRow(ctx context.Context, store tablestore.Store, row tablestore.Row) (tablestore.Response, error) {
	version, reply, err := store.Put(ctx, row)
	if err != nil {
		return reply, fmt.Errorf("insert a row: %w", err)
	}
	row.Version = version
	back, _, err := store.Get(ctx, row.Partition, row.Key)
	if err == nil && back.Columns["value"] != row.Columns["value"] {
		err = errRowChanged
	}
	if err != nil {
		_, _ = store.Delete(ctx, row) // leave nothing; the first error counts
		return reply, fmt.Errorf("read the row back: %w", err)
	}
	if _, err := store.Delete(ctx, row); err != nil {
		return reply, fmt.Errorf("delete the row: %w", err)
	}
	return reply, nil
}

// errRowChanged: the row that was read differs from the one inserted.
var errRowChanged = errors.New("preflight: the row came back changed")

func diagnoseTable(err error) diagnosis {
	fix := "Give the identity the role Storage Table Data Contributor on the account, or copy the connection string again; check the account's network rules and this machine's clock."
	if errors.Is(err, tablestore.ErrUnknown) {
		fix = "Check the account's name, its network rules and the private endpoint of its tables, then run this again."
	}
	return diagnosis{"the table cannot be used: " + oneLine(err), fix}
}

// oneLine is the beginning of an error, without the whole responses that the
// SDK appends.
func oneLine(err error) string {
	text := err.Error()
	for i, r := range text {
		if r == '\n' || r == '\r' || i > 300 {
			return text[:i]
		}
	}
	return text
}

// checkClock compares this machine's clock with the table's, which responded at
// some time after before, in whole seconds.
func (in *Input) checkClock(theirs, before time.Time, n *findings) {
	if theirs.IsZero() {
		return
	}
	off, side := before.Sub(theirs), "ahead of"
	if after := in.now(); theirs.After(after) {
		off, side = theirs.Sub(after), "behind"
	}
	const at = "clock"
	fix := "Let this machine set its clock by NTP."
	problem := fmt.Sprintf("it is %v %s the table's", off.Round(time.Second), side)
	switch {
	case off > maxSharedKeySkew && in.State.SharedKey:
		n.report(Error, at, diagnosis{problem + ", and beyond 15m0s shared keys are refused", fix})
	case off > maxClockSkew:
		n.report(Warning, at, diagnosis{problem + "; the instances use the table's time, but tokens and certificates do not", fix})
	default:
		n.ok(at, "it is within %v of the table's", maxClockSkew)
	}
}
