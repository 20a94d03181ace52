package affinity

import (
	"strconv"
	"time"

	"spillway/handler/internal/tablestore"
)

// The columns of a row. until is for those who clean up and for people.
const (
	colBackend = "backend"
	colModel   = "model"
	colOwner   = "owner"
	colMade    = "made"  // Unix milliseconds
	colUntil   = "until" // Unix seconds
)

func rowOf(n hashedID, p Location) tablestore.Row {
	return tablestore.Row{Partition: n.partition(), Key: n.key(), Columns: map[string]string{
		colBackend: p.Backend, colModel: p.Model, colOwner: p.Owner,
		colMade:  strconv.FormatInt(p.CreatedAt.UnixMilli(), 10),
		colUntil: strconv.FormatInt(p.CreatedAt.Add(Retention).Unix(), 10),
	}}
}

// locationOf is the place that a row holds, or false when it holds none.
func locationOf(r tablestore.Row) (Location, bool) {
	made, err := strconv.ParseInt(r.Columns[colMade], 10, 64)
	if err != nil || r.Columns[colBackend] == "" {
		return Location{}, false
	}
	return Location{
		Backend: r.Columns[colBackend], Model: r.Columns[colModel], Owner: r.Columns[colOwner], CreatedAt: time.UnixMilli(made),
	}, true
}

// expired reports whether a row has run out.
func expired(r tablestore.Row, now time.Time) bool {
	until, err := strconv.ParseInt(r.Columns[colUntil], 10, 64)
	return err == nil && now.Unix() > until
}
