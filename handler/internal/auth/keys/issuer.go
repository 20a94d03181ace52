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

// Live is how many good keys a consumer may have at once.
const Live = 2

// What an issuer refuses.
var (
	ErrTwoLive = errors.New("keys: the consumer has two good keys already; revoke one first")
	ErrNoKey   = errors.New("keys: there is no such key; \"spillway keys list\" shows them")
)

// Key is one key, without what makes it one.
type Key struct {
	ID       string
	Consumer string
	Created  time.Time
	Expires  time.Time // zero = never
	Expired  bool
}

// Board is what the issuer and the ring need of the notice board.
type Board interface {
	Publish(ctx context.Context, column, notice string) error
}

// Issuer issues and revokes keys: the "spillway keys" commands. Store and Board
// are required.
type Issuer struct {
	Store  tablestore.Store
	Board  Board
	Now    func() time.Time // nil = time.Now
	Chance io.Reader        // nil = crypto/rand
}

// Add issues a key. The secret is returned once and kept nowhere. A life of 0
// has no end. It is ErrTwoLive when the consumer has two good keys.
func (i *Issuer) Add(ctx context.Context, who string, life time.Duration) (secret string, k Key, err error) {
	if who == "" {
		return "", Key{}, errors.New("keys: name the consumer that the key is for")
	}
	secret, err = mint(i.chance())
	if err != nil {
		return "", Key{}, err
	}
	digest := auth.DigestOf(secret)
	now := i.now()
	s := stored{ID: hex.EncodeToString(digest[:5]), Digest: hex.EncodeToString(digest[:]), Created: now.UnixMilli()}
	if life > 0 {
		s.Expires = now.Add(life).UnixMilli()
	}
	err = i.amend(ctx, who, func(r *record) error {
		r.Keys = slices.DeleteFunc(r.Keys, func(old stored) bool { return old.expired(now) || old.ID == s.ID })
		if len(r.Keys) >= Live {
			return fmt.Errorf("add a key for consumer %q: %w", who, ErrTwoLive)
		}
		r.Keys = append(r.Keys, s)
		return nil
	})
	if err != nil {
		return "", Key{}, err
	}
	return secret, s.key(who, now), nil
}

// Revoke ends a key, on all instances within the bound that the package
// promises. It is ErrNoKey when there is none of this id.
func (i *Issuer) Revoke(ctx context.Context, id string) (Key, error) {
	all, err := i.List(ctx)
	if err != nil {
		return Key{}, err
	}
	at := slices.IndexFunc(all, func(k Key) bool { return k.ID == id })
	if at < 0 {
		return Key{}, fmt.Errorf("revoke key %q: %w", id, ErrNoKey)
	}
	return all[at], i.amend(ctx, all[at].Consumer, func(r *record) error {
		r.Keys = slices.DeleteFunc(r.Keys, func(s stored) bool { return s.ID == id })
		return nil
	})
}

// List lists all keys, by consumer and age.
func (i *Issuer) List(ctx context.Context) ([]Key, error) {
	rows, _, err := i.Store.List(ctx, partition, "", "")
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var all []Key
	now := i.now()
	for _, row := range rows {
		r, err := read(row)
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

// amend changes a consumer's row and stamps the board. A write whose outcome is
// unknown is looked at again: the change is made of what is stored, so making
// it twice does no harm.
func (i *Issuer) amend(ctx context.Context, who string, change func(*record) error) error {
	for try := 0; ; try++ {
		err := i.swap(ctx, who, change)
		if err == nil {
			break
		}
		again := errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrUnknown)
		if !again || try == 8 || ctx.Err() != nil {
			return err
		}
	}
	if err := i.Board.Publish(ctx, stamp, rand.Text()); err != nil {
		return fmt.Errorf("the key was changed, and the instances could not be told: run the command again: %w", err)
	}
	return nil
}

func (i *Issuer) swap(ctx context.Context, who string, change func(*record) error) error {
	row, _, err := i.Store.Get(ctx, partition, tablestore.EncodeKey(who))
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		return fmt.Errorf("read keys of consumer %q: %w", who, err)
	}
	r, err := read(row)
	if err != nil {
		return err
	}
	r.Consumer = who
	if err := change(&r); err != nil {
		return err
	}
	next, err := r.row(row.Version)
	if err != nil {
		return err
	}
	if _, _, err := i.Store.Put(ctx, next); err != nil {
		return fmt.Errorf("write keys of consumer %q: %w", who, err)
	}
	return nil
}

func (s stored) key(who string, now time.Time) Key {
	k := Key{ID: s.ID, Consumer: who, Created: time.UnixMilli(s.Created).UTC(), Expired: s.expired(now)}
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

func (i *Issuer) chance() io.Reader {
	if i.Chance == nil {
		return rand.Reader
	}
	return i.Chance
}
