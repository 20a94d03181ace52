package keys

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/tablestore"
)

// Where keys are in the table: one row per consumer, so that a swap of the row
// keeps "two at most" true whoever writes at the same time.
const (
	partition = "keys"
	column    = "k"
	stamp     = "keys" // the board's column
)

// record is the keys of one consumer.
type record struct {
	V        int      `json:"v"`
	Consumer string   `json:"n"`
	Keys     []stored `json:"k"`
}

type stored struct {
	ID      string `json:"i"`
	Digest  string `json:"d"`
	Created int64  `json:"c"`           // Unix ms
	Expires int64  `json:"e,omitempty"` // Unix ms; 0 = never
}

var errUnreadable = errors.New("keys: row cannot be read")

func read(row tablestore.Row) (record, error) {
	var r record
	if row.Columns[column] == "" {
		return r, nil
	}
	err := json.Unmarshal([]byte(row.Columns[column]), &r)
	if err != nil {
		return record{}, fmt.Errorf("%w: %q: %w", errUnreadable, row.Key, err)
	}
	if r.V < 1 || r.Consumer == "" || tablestore.EncodeKey(r.Consumer) != row.Key {
		return record{}, fmt.Errorf("%w: %q is not what a consumer's keys look like", errUnreadable, row.Key)
	}
	return r, nil
}

func (r record) row(version tablestore.Version) (tablestore.Row, error) {
	r.V = max(r.V, 1)
	b, err := json.Marshal(r)
	if err != nil {
		return tablestore.Row{}, fmt.Errorf("write keys of consumer %q: %w", r.Consumer, err)
	}
	return tablestore.Row{
		Partition: partition, Key: tablestore.EncodeKey(r.Consumer), Version: version,
		Columns: map[string]string{column: string(b)},
	}, nil
}

// digest is the stored digest; false when it is none.
func (s stored) digest() (d auth.Digest, ok bool) {
	b, err := hex.DecodeString(s.Digest)
	return d, err == nil && copy(d[:], b) == len(d) && len(b) == len(d)
}

func (s stored) expired(now time.Time) bool {
	return s.Expires != 0 && now.UnixMilli() >= s.Expires
}
