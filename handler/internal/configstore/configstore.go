// Package configstore keeps the versions of an app's pool document in a table. One
// row names the current version and is swapped by its ETag; every other row holds a
// document, or the list of versions, and is named by the hash of what it holds. The
// package does not know what a document means.
//
// docs/shared-state.md#versions-of-the-configuration has the protocol.
package configstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"spillway/handler/internal/tablestore"
)

// The errors of this package, to be distinguished with errors.Is. Those of the
// table are passed on.
var (
	ErrConflict  = errors.New("another version was pushed meanwhile")
	ErrUnchanged = errors.New("the current version has this document already")
	ErrTooLarge  = errors.New("the document is too large for the table")
	ErrNoVersion = errors.New("there is no such version")
	ErrDamaged   = errors.New("what the table holds is no version that this program wrote")
)

// Kept is how many versions can be shown and rolled back to.
const Kept = 50

// Version is one version of the document. The zero Version is that before the first
// push: the document of the app setting.
type Version struct {
	Number   int       `json:"number"`
	Document string    `json:"document"` // SHA-256 of its text, hexadecimal; "" = that of the app setting
	Size     int       `json:"size"`     // bytes
	By       string    `json:"by"`       // who pushed it, as they call themselves
	At       time.Time `json:"at"`       // by the table's clock
	Restores int       `json:"restores"` // which version a rollback restored; with Rollback only
	Rollback bool      `json:"rollback"`
}

// Head is the current version as it was read, to be replaced by another.
type Head struct {
	Version
	history string         // hash of the list of versions, this one first
	write   string         // which write it is of
	row     tablestore.Row // without columns
	read    time.Time      // by the table's clock
}

// ID tells states of the table apart: what was read with one ID was not written
// since. "" = there is no version.
func (h *Head) ID() string { return string(h.row.Version) }

// Store is the versions of one app. Apps in one table do not read each other's.
// It is safe for concurrent use.
type Store struct {
	Table tablestore.Store
	App   string
}

const (
	headKey    = "current"
	headColumn = "version"
	maxName    = 128 // of who pushes, in bytes
	swapTries  = 5
)

// headJSON is the head's column.
type headJSON struct {
	Version
	History string `json:"history"`
	Write   string `json:"write"`
}

// printable is a name as it is kept.
func printable(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(name, ""))
	return strings.ToValidUTF8(name[:min(len(name), maxName)], "")
}

func (s *Store) partition() string { return tablestore.EncodeKey(s.App) }

// Head reads the current version; the zero Version before the first push.
func (s *Store) Head(ctx context.Context) (Head, error) {
	row, response, err := s.Table.Get(ctx, s.partition(), headKey)
	if errors.Is(err, tablestore.ErrNotFound) {
		return Head{row: tablestore.Row{Partition: s.partition(), Key: headKey}, read: response.Date}, nil
	}
	if err != nil {
		return Head{}, fmt.Errorf("read the current version: %w", err)
	}
	var stored headJSON
	if err := json.Unmarshal([]byte(row.Columns[headColumn]), &stored); err != nil || !stored.valid() || !isHash(stored.History) {
		return Head{row: row}, fmt.Errorf("%w: the row %q of %q", ErrDamaged, headKey, s.App)
	}
	row.Columns = nil
	return Head{Version: stored.Version, history: stored.History, write: stored.Write, row: row, read: response.Date}, nil
}

// valid reports whether this program may have written the version. Whoever reads it
// may print it.
func (v *Version) valid() bool {
	printable := !strings.ContainsFunc(v.By, func(r rune) bool { return !unicode.IsPrint(r) })
	return v.Number > 0 && v.Number < math.MaxInt32 && v.Restores >= 0 && (v.Document == "" || isHash(v.Document)) && printable && len(v.By) <= maxName
}

// Document reads the text of a version that the table holds.
func (s *Store) Document(ctx context.Context, v *Version) (string, error) {
	text, err := s.blob(ctx, v.Document)
	if err != nil {
		return "", fmt.Errorf("read the document of version %d: %w", v.Number, err)
	}
	return text, nil
}

// History reads the versions that are kept, the latest first.
func (s *Store) History(ctx context.Context, head *Head) ([]Version, error) {
	if head.Number == 0 {
		return nil, nil
	}
	text, err := s.blob(ctx, head.history)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	var all []Version
	err = json.Unmarshal([]byte(text), &all)
	if err != nil || len(all) == 0 || len(all) > Kept || slices.ContainsFunc(all, func(v Version) bool { return !v.valid() }) {
		return nil, fmt.Errorf("%w: the history of %q", ErrDamaged, s.App)
	}
	return all, nil
}

// Find returns the version of that number; 0 is the document of the app setting.
func (s *Store) Find(ctx context.Context, head *Head, number int) (Version, error) {
	switch number {
	case 0:
		return Version{}, nil
	case head.Number:
		return head.Version, nil
	}
	all, err := s.History(ctx, head)
	if err != nil {
		return Version{}, err
	}
	for i := range all {
		if all[i].Number == number {
			return all[i], nil
		}
	}
	return Version{}, fmt.Errorf("%w: %d; the latest %d versions are kept", ErrNoVersion, number, Kept)
}

// Push makes the text the current version, unless another than head is current by
// then: ErrConflict. When it returns ErrUnknown, the push may have been applied, or
// may be yet; to repeat it is safe.
func (s *Store) Push(ctx context.Context, head *Head, text, by string) (Version, error) {
	hash := hashOf(text)
	if head.Document == hash {
		return head.Version, ErrUnchanged
	}
	if err := s.putBlob(ctx, hash, text); err != nil {
		return Version{}, fmt.Errorf("write the document: %w", err)
	}
	return s.replace(ctx, head, &Version{Document: hash, Size: len(text), By: by})
}

// Rollback makes the document of an earlier version current again, as a version of
// its own; 0 is that of the app setting.
func (s *Store) Rollback(ctx context.Context, head *Head, number int, by string) (Version, error) {
	v, err := s.Find(ctx, head, number)
	if err != nil {
		return Version{}, err
	}
	if v.Document == head.Document {
		return head.Version, ErrUnchanged
	}
	if v.Document != "" {
		if _, err := s.Document(ctx, &v); err != nil {
			return Version{}, err
		}
	}
	return s.replace(ctx, head, &Version{Document: v.Document, Size: v.Size, By: by, Restores: number, Rollback: true})
}

// replace swaps the head. Rows that nothing names any more are deleted afterwards,
// those only that were there, in that very version, before the swap: another push
// that needs one of them writes it again after it has seen this swap.
func (s *Store) replace(ctx context.Context, head *Head, next *Version) (Version, error) {
	history, err := s.History(ctx, head)
	if err != nil && !errors.Is(err, ErrDamaged) { // a damaged list is begun anew
		return Version{}, err
	}
	next.Number, next.At, next.By = head.Number+1, head.read.UTC(), printable(next.By)
	history = append([]Version{*next}, history[:min(len(history), Kept-1)]...)
	list, err := json.Marshal(history)
	if err != nil {
		return Version{}, fmt.Errorf("encode the history: %w", err)
	}
	stored := headJSON{Version: *next, History: hashOf(string(list)), Write: rand.Text()}
	if err := s.putBlob(ctx, stored.History, string(list)); err != nil {
		return Version{}, fmt.Errorf("write the history: %w", err)
	}
	rows, _, err := s.Table.List(ctx, s.partition(), "", "")
	if err != nil {
		return Version{}, fmt.Errorf("list the versions: %w", err)
	}
	if err := s.swap(ctx, head, &stored); err != nil {
		return Version{}, err
	}
	s.prune(ctx, rows, history, stored.History)
	return *next, nil
}

// swap writes the head at the version that was read. A write whose outcome is
// unknown is looked up, and made again at the same version: once at most is applied.
func (s *Store) swap(ctx context.Context, head *Head, next *headJSON) error {
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the version: %w", err)
	}
	row := head.row
	row.Columns = map[string]string{headColumn: string(text)}
	for range swapTries {
		if _, _, err = s.Table.Replace(ctx, row); err == nil {
			return nil
		}
		if !errors.Is(err, tablestore.ErrUnknown) && !errors.Is(err, tablestore.ErrConflict) {
			break
		}
		current, readErr := s.Head(ctx)
		switch {
		case readErr != nil:
			return fmt.Errorf("write the version: %w", err)
		case current.write == next.Write:
			return nil
		case current.row.Version != row.Version:
			return fmt.Errorf("%w: version %d by %s", ErrConflict, current.Number, current.By)
		}
	}
	return fmt.Errorf("write the version: %w", err)
}

// prune deletes the rows that no kept version names. What fails is left for the
// next push.
func (s *Store) prune(ctx context.Context, rows []tablestore.Row, history []Version, list string) {
	needed := map[string]bool{headKey: true, list: true}
	for i := range history {
		needed[history[i].Document] = true
	}
	for i := range rows {
		if !needed[rows[i].Key] {
			_, _ = s.Table.Delete(ctx, rows[i])
		}
	}
}
