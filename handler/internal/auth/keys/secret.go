package keys

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// prefix is what a key can be recognised by, by people and by scanners.
const prefix = "spw_"

const random = 32 // bytes

// mint makes a new key.
func mint(chance io.Reader) (string, error) {
	b := make([]byte, random, random+crc32.Size)
	if _, err := io.ReadFull(chance, b); err != nil {
		return "", fmt.Errorf("draw a key: %w", err)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)), nil
}

// WellFormed reports whether a text is written like a key of ours, checksum
// included: what a scanner for leaked secrets asks.
func WellFormed(key string) bool {
	text, ok := strings.CutPrefix(key, prefix)
	if !ok || text != strings.ToLower(text) {
		return false
	}
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(text))
	if err != nil || len(b) != random+crc32.Size {
		return false
	}
	return binary.BigEndian.Uint32(b[random:]) == crc32.ChecksumIEEE(b[:random])
}
