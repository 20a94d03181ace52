package configstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"

	"spillway/handler/internal/tablestore"
)

// A row holds 1 MiB, a column 64 KiB, both in UTF-16
// (docs/shared-state.md#limits-and-cost). The parts are of valid UTF-8, in which no
// character has fewer bytes than UTF-16 units.
const (
	partLength = 30_000
	maxParts   = 16
	// MaxSize is the longest document, in bytes.
	MaxSize = (partLength - utf8.UTFMax) * maxParts
)

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func isHash(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == 2*sha256.Size
}

func partName(n int) string { return fmt.Sprintf("part%02d", n) }

// Check reports whether the table can hold the document.
func Check(text string) error {
	if len(text) > MaxSize {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(text), MaxSize)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%w: it is not UTF-8", tablestore.ErrRefused)
	}
	return nil
}

// putBlob writes a row, whether it is there or not: so it is not deleted by a push
// that saw it before.
func (s *Store) putBlob(ctx context.Context, hash, text string) error {
	if err := Check(text); err != nil {
		return err
	}
	columns := map[string]string{}
	for n := 0; text != ""; n++ {
		part := text[:min(len(text), partLength)]
		for len(part) < len(text) && !utf8.RuneStart(text[len(part)]) {
			part = part[:len(part)-1]
		}
		columns[partName(n)], text = part, text[len(part):]
	}
	_, _, err := s.Table.Upsert(ctx, tablestore.Row{Partition: s.partition(), Key: hash, Columns: columns})
	return err
}

// blob reads the row of this hash.
func (s *Store) blob(ctx context.Context, hash string) (string, error) {
	row, _, err := s.Table.Get(ctx, s.partition(), hash)
	if errors.Is(err, tablestore.ErrNotFound) {
		return "", fmt.Errorf("%w: the row is missing", ErrDamaged)
	}
	if err != nil {
		return "", err
	}
	text := ""
	for n := range maxParts {
		text += row.Columns[partName(n)]
	}
	if hashOf(text) != hash {
		return "", fmt.Errorf("%w: the text does not match its hash", ErrDamaged)
	}
	return text, nil
}
