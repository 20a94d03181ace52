package tablestore

import (
	"context"
	"crypto/rand"
	"errors"
)

var errNoSecret = errors.New("tablestore: the row holds no secret")

// Secret returns the random text in a column of a row, which it writes when there is
// no such row. Of two instances that write one, the second finds that of the first.
func Secret(ctx context.Context, s Store, partition, key, column string) (string, error) {
	text := rand.Text()
	_, _, err := s.Put(ctx, Row{Partition: partition, Key: key, Columns: map[string]string{column: text}})
	if err == nil {
		return text, nil
	}
	row, _, err := s.Get(ctx, partition, key)
	if err == nil && row.Columns[column] == "" {
		err = errNoSecret
	}
	return row.Columns[column], err
}
