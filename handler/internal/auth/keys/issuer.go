// Package keys issues consumers' keys and looks them up on every instance
// (docs/security.md#credentials). It does not know HTTP.
//
// A key is spw_ and 58 characters: 256 random bits and a checksum, so that
// scanners for leaked secrets can match spw_[a-z2-7]{58} and be sure. The table
// holds its SHA-256. A consumer has at most [MaxKeys] valid keys, so that they
// can be rotated without a refused request.
//
// # When a change takes effect
//
// Every change writes a new stamp to the change feed, a row that every instance
// reads once per refresh while there is traffic; an instance that reads a new
// stamp reads the keys. So a revoked key is refused everywhere within one
// refresh and two round trips to the table: about 500 ms at the default refresh.
//
// A request with a known key never waits for the table. One with an unknown key
// may wait for a read of the feed, at most one per refresh on an instance
// whatever the number of such requests; so a new key works at its first use, or
// within one refresh where another unknown key was used just before. After a
// minute without requests an instance no longer reads the feed: its next request
// waits for a read, at most a second, whatever its key. While the table cannot be
// read, known keys stay valid.
package keys

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/tablestore"
)

// MaxKeys is how many valid keys a consumer may have.
const MaxKeys = 2

// Errors of an [Issuer].
var (
	ErrTooManyKeys = errors.New("keys: the consumer has two valid keys already; revoke one first")
	ErrNoKey       = errors.New("keys: no such key; \"spillway keys list\" lists them")
)

// Key describes a key, without its secret.
type Key struct {
	ID       string
	Consumer string
	Created  time.Time
	Expires  time.Time // zero = never
	Expired  bool
}

// Publisher writes to the change feed.
type Publisher interface {
	Publish(ctx context.Context, column, notice string) error
}

// Issuer issues and revokes keys: the "spillway keys" commands. Store and Feed
// are required.
type Issuer struct {
	Store tablestore.Store
	Feed  Publisher
	Now   func() time.Time // nil = time.Now
	Rand  io.Reader        // nil = crypto/rand
}

// Add issues a key. The secret is not kept. A lifetime of 0 has no end. The
// error is [ErrTooManyKeys] when the consumer has MaxKeys valid ones.
func (i *Issuer) Add(ctx context.Context, consumer string, lifetime time.Duration) (secret string, k Key, err error) {
	if consumer == "" {
		return "", Key{}, errors.New("keys: name the consumer that the key is for")
	}
	secret, err = generate(i.random())
	if err != nil {
		return "", Key{}, err
	}
	digest := auth.DigestOf(secret)
	now := i.now()
	s := storedKey{ID: hex.EncodeToString(digest[:5]), Digest: hex.EncodeToString(digest[:]), Created: now.UnixMilli()}
	if lifetime > 0 {
		s.Expires = now.Add(lifetime).UnixMilli()
	}
	err = i.update(ctx, consumer, func(r *record) error {
		r.Keys = slices.DeleteFunc(r.Keys, func(old storedKey) bool { return old.expired(now) || old.ID == s.ID })
		if len(r.Keys) >= MaxKeys {
			return fmt.Errorf("add a key for consumer %q: %w", consumer, ErrTooManyKeys)
		}
		r.Keys = append(r.Keys, s)
		return nil
	})
	if err != nil {
		return "", Key{}, err
	}
	return secret, s.key(consumer, now), nil
}

// Rotate issues a key as Add does, and gives the consumer's valid ones an end after
// the overlap, unless theirs is earlier; with none, they end now. It returns those
// that are still valid.
func (i *Issuer) Rotate(ctx context.Context, consumer string, lifetime, overlap time.Duration) (secret string, k Key, old []Key, err error) {
	now := i.now()
	end := now.Add(overlap).UnixMilli()
	err = i.update(ctx, consumer, func(r *record) error {
		r.Keys = slices.DeleteFunc(r.Keys, func(s storedKey) bool { return s.expired(now) || overlap <= 0 })
		if len(r.Keys) >= MaxKeys {
			return fmt.Errorf("rotate the keys of consumer %q: %w", consumer, ErrTooManyKeys)
		}
		old = old[:0]
		for at := range r.Keys {
			s := &r.Keys[at]
			if s.Expires == 0 || s.Expires > end {
				s.Expires = end
			}
			old = append(old, s.key(consumer, now))
		}
		return nil
	})
	if err != nil {
		return "", Key{}, nil, err
	}
	secret, k, err = i.Add(ctx, consumer, lifetime)
	return secret, k, old, err
}

// Revoke revokes a key, on all instances within the bound of the package
// comment. The error is [ErrNoKey] when no key has this id.
func (i *Issuer) Revoke(ctx context.Context, id string) (Key, error) {
	all, err := i.List(ctx)
	if err != nil {
		return Key{}, err
	}
	at := slices.IndexFunc(all, func(k Key) bool { return k.ID == id })
	if at < 0 {
		return Key{}, fmt.Errorf("revoke key %q: %w", id, ErrNoKey)
	}
	return all[at], i.update(ctx, all[at].Consumer, func(r *record) error {
		r.Keys = slices.DeleteFunc(r.Keys, func(s storedKey) bool { return s.ID == id })
		return nil
	})
}

// List returns all keys, ordered by consumer and age.
func (i *Issuer) List(ctx context.Context) ([]Key, error) {
	rows, _, err := i.Store.List(ctx, partition, "", "")
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var all []Key
	now := i.now()
	for _, row := range rows {
		r, err := parseRow(row)
		if err != nil {
			return nil, err
		}
		for _, s := range r.Keys {
			all = append(all, s.key(r.Consumer, now))
		}
	}
	slices.SortFunc(all, func(a, b Key) int {
		return cmp.Or(strings.Compare(a.Consumer, b.Consumer), a.Created.Compare(b.Created))
	})
	return all, nil
}

// update changes a consumer's row and stamps the feed. After a conflict, or a
// write whose outcome is unknown, it reads the row again and applies the change
// to what is stored: change must be idempotent.
func (i *Issuer) update(ctx context.Context, consumer string, change func(*record) error) error {
	for try := 0; ; try++ {
		err := i.swap(ctx, consumer, change)
		if err == nil {
			break
		}
		again := errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrUnknown)
		if !again || try == 8 || ctx.Err() != nil {
			return err
		}
	}
	if err := i.Feed.Publish(ctx, stamp, rand.Text()); err != nil {
		return fmt.Errorf("the key was changed, but the change feed could not be written: run the command again: %w", err)
	}
	return nil
}

func (i *Issuer) swap(ctx context.Context, consumer string, change func(*record) error) error {
	row, _, err := i.Store.Get(ctx, partition, tablestore.EncodeKey(consumer))
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		return fmt.Errorf("read keys of consumer %q: %w", consumer, err)
	}
	r, err := parseRow(row)
	if err != nil {
		return err
	}
	r.Consumer = consumer
	if err := change(&r); err != nil {
		return err
	}
	next, err := r.row(row.Version)
	if err != nil {
		return err
	}
	if _, _, err := i.Store.Put(ctx, next); err != nil {
		return fmt.Errorf("write keys of consumer %q: %w", consumer, err)
	}
	return nil
}

func (s storedKey) key(consumer string, now time.Time) Key {
	k := Key{ID: s.ID, Consumer: consumer, Created: time.UnixMilli(s.Created).UTC(), Expired: s.expired(now)}
	if s.Expires != 0 {
		k.Expires = time.UnixMilli(s.Expires).UTC()
	}
	return k
}

func (i *Issuer) now() time.Time {
	if i.Now == nil {
		return time.Now()
	}
	return i.Now()
}

func (i *Issuer) random() io.Reader {
	if i.Rand == nil {
		return rand.Reader
	}
	return i.Rand
}
