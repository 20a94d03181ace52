package preflight

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/tablestore"
)

// State is where the instances agree.
type State struct {
	Store     tablestore.Store // nil: in memory, so there is nothing to ask
	Setting   string           // the app setting that says where
	SharedKey bool             // the table is reached by its key: it refuses clocks that are 15 minutes off
}

// How far this machine's clock may be from the table's.
const (
	maxClockSkew     = time.Minute
	maxSharedKeySkew = 15 * time.Minute
)

// checkTable writes a row of its own, reads it back and deletes it. Its
// partition is nobody else's.
func (s *Input) checkTable(ctx context.Context, n *findings) {
	if s.State.Store == nil {
		n.ok("SPILLWAY_STATE", "state is in memory, so there is no table to ask")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	row := tablestore.Row{Partition: "doctor", Key: rand.Text(), Columns: map[string]string{"word": rand.Text()}}
	before := s.now()
	reply, err := roundTripRow(ctx, s.State.Store, row)
	s.checkClock(reply.Date, before, n)
	if err != nil {
		n.add(Error, s.State.Setting, diagnoseTable(err))
		return
	}
	n.ok(s.State.Setting, "the table takes a row, gives it back and deletes it")
}

// roundTripRow is one row's whole life. The reply is that of its first exchange.
func roundTripRow(ctx context.Context, store tablestore.Store, row tablestore.Row) (tablestore.Response, error) {
	version, reply, err := store.Put(ctx, row)
	if err != nil {
		return reply, fmt.Errorf("insert a row: %w", err)
	}
	row.Version = version
	back, _, err := store.Get(ctx, row.Partition, row.Key)
	if err == nil && back.Columns["word"] != row.Columns["word"] {
		err = errRowChanged
	}
	if err != nil {
		_, _ = store.Delete(ctx, row) // nothing is to be left behind; the first error counts
		return reply, fmt.Errorf("read the row back: %w", err)
	}
	if _, err := store.Delete(ctx, row); err != nil {
		return reply, fmt.Errorf("delete the row: %w", err)
	}
	return reply, nil
}

// errRowChanged is a row that came back as another.
var errRowChanged = errors.New("doctor: the row came back changed")

func diagnoseTable(err error) diagnosis {
	fix := "Give the identity the role Storage Table Data Contributor on the account, or copy the connection string again; check the account's network rules and this machine's clock."
	if errors.Is(err, tablestore.ErrUnknown) {
		fix = "Check the account's name, its network rules and the private endpoint of its tables, then run this again."
	}
	return diagnosis{"the table cannot be used: " + oneLine(err), fix}
}

// oneLine is an error's beginning: the SDK prints whole answers behind it.
func oneLine(err error) string {
	text := err.Error()
	for i, r := range text {
		if r == '\n' || r == '\r' || i > 300 {
			return text[:i]
		}
	}
	return text
}

// checkClock compares this machine's checkClock with the table's, which answered at some
// time after before and tells whole seconds only.
func (s *Input) checkClock(theirs, before time.Time, n *findings) {
	if theirs.IsZero() {
		return
	}
	off, side := before.Sub(theirs), "ahead of"
	if after := s.now(); theirs.After(after) {
		off, side = theirs.Sub(after), "behind"
	}
	const at = "clock"
	fix := "Let this machine set its clock by NTP."
	problem := fmt.Sprintf("it is %v %s the table's", off.Round(time.Second), side)
	switch {
	case off > maxSharedKeySkew && s.State.SharedKey:
		n.add(Error, at, diagnosis{problem + ", and beyond 15m0s shared keys are refused", fix})
	case off > maxClockSkew:
		n.add(Warning, at, diagnosis{problem + "; the fleet counts in the table's time, but tokens and certificates do not", fix})
	default:
		n.ok(at, "it is within %v of the table's", maxClockSkew)
	}
}
