package keys

import (
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/tablestore"
)

// Keys in the table: one row per consumer, so that compare-and-swap of the row
// keeps the number of keys within MaxKeys whoever writes at the same time.
const (
	partition = "keys"
	column    = "k"
	stamp     = "keys" // the feed's column
)

// record is one consumer's row.
type record struct {
	V        int         `json:"v"`
	Consumer string      `json:"n"`
	Keys     []storedKey `json:"k"`
}

type storedKey struct {
	ID      string `json:"i"`
	Digest  string `json:"d"`
	Created int64  `json:"c"`           // Unix ms
	Expires int64  `json:"e,omitempty"` // Unix ms; 0 = never
}

var errUnreadable = errors.New("keys: row cannot be read")

func parseRow(row tablestore.Row) (record, error) {
	var r record
	if row.Columns[column] == "" {
		return r, nil
	}
	err := json.Unmarshal([]byte(row.Columns[column]), &r)
	if err != nil {
		return record{}, fmt.Errorf("%w: %q: %w", errUnreadable, row.Key, err)
	}
	if r.V < 1 || r.Consumer == "" || tablestore.EncodeKey(r.Consumer) != row.Key {
		return record{}, fmt.Errorf("%w: %q is not a consumer's keys", errUnreadable, row.Key)
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

// digest returns the stored digest; false when it is malformed.
func (s storedKey) digest() (d auth.Digest, ok bool) {
	b, err := hex.DecodeString(s.Digest)
	return d, err == nil && copy(d[:], b) == len(d) && len(b) == len(d)
}

func (s storedKey) expired(now time.Time) bool {
	return s.Expires != 0 && now.UnixMilli() >= s.Expires
}

// keyPrefix begins every issued key, for people and for scanners.
const keyPrefix = "spw_"

const secretBytes = 32 // bytes

// generate returns a new key.
func generate(random io.Reader) (string, error) {
	b := make([]byte, secretBytes, secretBytes+crc32.Size)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("generate a key: %w", err)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return keyPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)), nil
}

// WellFormed reports whether a text has the form of an issued key, checksum
// included.
func WellFormed(key string) bool {
	text, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || text != strings.ToLower(text) {
		return false
	}
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(text))
	if err != nil || len(b) != secretBytes+crc32.Size {
		return false
	}
	return binary.BigEndian.Uint32(b[secretBytes:]) == crc32.ChecksumIEEE(b[:secretBytes])
}
