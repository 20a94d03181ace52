package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

func TestRevocationReachesTwentyInstancesWithinBound(t *testing.T) {
	const bound = 515 * time.Millisecond // one refresh, two round trips and a list
	runFleet(t, 20, func(t *testing.T, store *slowStore, caches []*Cache) {
		i := issuer(store)
		for round := range 20 {
			secret, k := add(t, i, "team-a", 0)
			time.Sleep(bound)
			for n, r := range caches {
				if err := r.find(t, secret); err != nil {
					t.Fatalf("round %d: instance %d does not know a new key: %v", round, n, err)
				}
			}
			time.Sleep(time.Duration(rand.Int64N(int64(time.Second))))
			if _, err := i.Revoke(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
			revoked := time.Now()
			for time.Since(revoked) < bound {
				for _, r := range caches { // traffic continues
					_ = r.find(t, secret)
				}
				time.Sleep(10 * time.Millisecond)
			}
			for n, r := range caches {
				if err := r.find(t, secret); !errors.Is(err, auth.ErrUnknown) {
					t.Fatalf("round %d: instance %d accepted a revoked key after %v: %v", round, n, time.Since(revoked), err)
				}
			}
		}
	})
}

func TestKnownKeyNeverWaits(t *testing.T) {
	runFleet(t, 1, func(t *testing.T, store *slowStore, caches []*Cache) {
		secret, _ := add(t, issuer(store), "team-a", 0)
		if err := caches[0].find(t, secret); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			store.setOffline(i > 100) // the table goes offline in the middle
			before := time.Now()
			if err := caches[0].find(t, secret); err != nil || time.Since(before) > 0 {
				t.Fatalf("request %d: %v after %v", i, err, time.Since(before))
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestIdleInstanceRefusesKeyRevokedMeanwhile(t *testing.T) {
	runFleet(t, 2, func(t *testing.T, store *slowStore, caches []*Cache) {
		i := issuer(store)
		secret, k := add(t, i, "team-a", 0)
		if err := caches[0].find(t, secret); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := i.Revoke(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		var both sync.WaitGroup
		for range 10 {
			both.Go(func() {
				if err := caches[0].find(t, secret); !errors.Is(err, auth.ErrUnknown) {
					t.Errorf("after an idle hour: %v", err)
				}
			})
		}
		both.Wait()
	})
}

func TestIdleInstanceServesKnownKeysDuringOutage(t *testing.T) {
	runFleet(t, 1, func(t *testing.T, store *slowStore, caches []*Cache) {
		secret, _ := add(t, issuer(store), "team-a", 0)
		if err := caches[0].find(t, secret); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		store.setOffline(true)
		before := time.Now()
		if err := caches[0].find(t, secret); err != nil || time.Since(before) > readTimeout {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		before = time.Now()
		if err := caches[0].find(t, secret); err != nil || time.Since(before) > 0 {
			t.Errorf("the second request: %v after %v", err, time.Since(before))
		}
	})
}

func TestUnknownKeyFloodReadsFeedOncePerInterval(t *testing.T) {
	runFleet(t, 1, func(t *testing.T, store *slowStore, caches []*Cache) {
		secret, _ := add(t, issuer(store), "team-a", 0)
		_ = caches[0].find(t, secret)
		gets, lists := store.counts()
		for i := range 10_000 {
			if err := caches[0].find(t, fmt.Sprint("unknown", i)); !errors.Is(err, auth.ErrUnknown) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		moreGets, moreLists := store.counts()
		if moreGets-gets > 50 || moreLists-lists > 1 {
			t.Errorf("10000 unknown keys in 10 s: %d reads of the feed and %d of all keys", moreGets-gets, moreLists-lists)
		}
		if n := caches[0].Len(); n != 1 {
			t.Errorf("%d keys are remembered", n)
		}
	})
}

func TestColdInstanceWithoutTableIsUnavailable(t *testing.T) {
	runFleet(t, 1, func(t *testing.T, store *slowStore, caches []*Cache) {
		secret, _ := add(t, issuer(store), "team-a", 0)
		store.setOffline(true)
		if err := caches[0].find(t, secret); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("cold, table offline: %v, want ErrUnavailable", err)
		}
		store.setOffline(false)
		time.Sleep(time.Second)
		if err := caches[0].find(t, secret); err != nil {
			t.Errorf("table online again: %v", err)
		}
	})
}

// A key that was issued during an outage, or that this instance has never seen, may
// be right: it is not called wrong.
func TestUnknownKeyDuringOutageIsUnavailable(t *testing.T) {
	runFleet(t, 2, func(t *testing.T, store *slowStore, caches []*Cache) {
		known, _ := add(t, issuer(store), "team-a", 0)
		if err := caches[0].find(t, known); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		issued, _ := add(t, issuer(store), "team-b", 0) // by a command that reaches the table
		store.setOffline(true)
		for range 20 {
			if err := caches[0].find(t, issued); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("offline: %v, want ErrUnavailable", err)
			}
			if err := caches[0].find(t, known); err != nil {
				t.Errorf("a known key, offline: %v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		store.setOffline(false)
		time.Sleep(time.Second)
		if err := caches[0].find(t, issued); err != nil {
			t.Errorf("online again: %v", err)
		}
		if err := caches[0].find(t, "wrong"); !errors.Is(err, auth.ErrUnknown) {
			t.Errorf("a wrong key, online again: %v", err)
		}
	})
}

func TestRotationRefusesNoRequest(t *testing.T) {
	runFleet(t, 20, func(t *testing.T, store *slowStore, caches []*Cache) {
		i := issuer(store)
		using, old := add(t, i, "team-a", 0)
		for rotation := range 10 {
			next, k := add(t, i, "team-a", 0)
			for tick := range 100 {
				if tick == 30 {
					using = next // callers switch to the new key
				}
				if tick == 60 {
					if _, err := i.Revoke(t.Context(), old.ID); err != nil {
						t.Fatal(err)
					}
				}
				for n, r := range caches {
					if err := r.find(t, using); err != nil {
						t.Fatalf("rotation %d, tick %d, instance %d: %v", rotation, tick, n, err)
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
			old = k
		}
	})
}

func TestConcurrentIssuersKeepTheKeyLimit(t *testing.T) {
	store := new(memory.Store)
	var all sync.WaitGroup
	var mu sync.Mutex
	issued, refused := 0, 0
	for range 20 {
		all.Go(func() {
			_, _, err := issuer(store).Add(t.Context(), "team-a", 0)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				issued++
			case errors.Is(err, ErrTooManyKeys), errors.Is(err, tablestore.ErrConflict):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := issuer(store).List(t.Context())
	if err != nil || issued != 2 || len(list) != 2 || refused != 18 {
		t.Errorf("%d issued, %d refused, %d listed, %v", issued, refused, len(list), err)
	}
}

func TestExpiryFollowsTheTableClock(t *testing.T) {
	runFleet(t, 1, func(t *testing.T, store *slowStore, caches []*Cache) {
		caches[0].Now = func() time.Time { return time.Now().Add(-5 * time.Minute) } // this instance is behind
		i := issuer(store)
		secret, _ := add(t, i, "team-a", 30*time.Second)
		add(t, i, "team-a", time.Hour)
		time.Sleep(28 * time.Second)
		if err := caches[0].find(t, secret); err != nil {
			t.Errorf("before its end: %v", err)
		}
		time.Sleep(4 * time.Second)
		if err := caches[0].find(t, secret); !errors.Is(err, auth.ErrExpired) {
			t.Errorf("after its end, on a clock five minutes behind: %v", err)
		}
		add(t, i, "team-a", 0)
	})
}

func TestSecretIsNotStored(t *testing.T) {
	store := new(memory.Store)
	secret, k := add(t, issuer(store), "team a/b", 0)
	rows, _, err := store.List(t.Context(), "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		text := fmt.Sprint(row, k)
		if strings.Contains(text, secret) || strings.Contains(text, strings.TrimPrefix(secret, keyPrefix)[:8]) {
			t.Errorf("row %s holds the key", row.Key)
		}
	}
	if !regexp.MustCompile(`^spw_[a-z2-7]{58}$`).MatchString(secret) || !WellFormed(secret) {
		t.Errorf("%q does not match the scanners' pattern", secret)
	}
	for _, wrong := range []string{strings.ToUpper(secret), secret + "a", secret[:61], "spw_" + strings.Repeat("a", 58), strings.Replace(secret, secret[8:9], other(secret[8]), 1)} {
		if WellFormed(wrong) {
			t.Errorf("%q is accepted as well-formed", wrong)
		}
	}
}

func other(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}

func TestUnreadableRowsAreIgnored(t *testing.T) {
	runFleet(t, 1, func(t *testing.T, store *slowStore, caches []*Cache) {
		var reported []error
		caches[0].OnError = func(err error) { reported = append(reported, err) }
		for i, body := range []string{`{"v":1,`, `{"v":1,"n":"someone-else","k":[]}`, `{"v":0}`, `[]`, `{"v":1,"n":"poison4","k":[{"i":"x","d":"zz"}]}`} {
			if _, _, err := store.Upsert(t.Context(), tablestore.Row{Partition: partition, Key: fmt.Sprint("poison", i), Columns: map[string]string{column: body}}); err != nil {
				t.Fatal(err)
			}
		}
		board := &quota.ChangeFeed{Store: store}
		i := &Issuer{Store: store, Feed: board}
		secret, _ := add(t, i, "team-a", 0)
		if err := caches[0].find(t, secret); err != nil {
			t.Errorf("team-a: %v", err)
		}
		if len(reported) != 4 {
			t.Errorf("%d errors reported, want 4: %v", len(reported), reported)
		}
	})
}

func TestMissedStampIsNoticedWithinAMinute(t *testing.T) {
	runFleet(t, 1, func(t *testing.T, store *slowStore, caches []*Cache) {
		i := issuer(store)
		secret, k := add(t, i, "team-a", 0)
		_ = caches[0].find(t, secret)
		i.Feed = unreachableFeed{}
		if _, err := i.Revoke(t.Context(), k.ID); err == nil || !strings.Contains(err.Error(), "run the command again") {
			t.Errorf("feed not written: %v", err)
		}
		for range 62 {
			_ = caches[0].find(t, secret)
			time.Sleep(time.Second)
		}
		if err := caches[0].find(t, secret); !errors.Is(err, auth.ErrUnknown) {
			t.Errorf("a minute later: %v", err)
		}
	})
}

type unreachableFeed struct{}

func (unreachableFeed) Publish(context.Context, string, string) error { return tablestore.ErrUnknown }

func TestIssuerWithoutRandomnessIssuesNothing(t *testing.T) {
	store := new(memory.Store)
	i := issuer(store)
	i.Rand = bytes.NewReader(nil)
	if secret, _, err := i.Add(t.Context(), "team-a", 0); err == nil || secret != "" {
		t.Errorf("%q, %v", secret, err)
	}
	if _, err := i.Revoke(t.Context(), "nothing"); !errors.Is(err, ErrNoKey) {
		t.Errorf("revoke of nothing: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"v":1,"n":"a","k":[{"i":"1","d":"00","c":1,"e":2}]}`)
	f.Add(`{"v":9,"n":"a","x":{},"k":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		r, err := parseRow(tablestore.Row{Key: "a", Columns: map[string]string{column: body}})
		if err != nil {
			return
		}
		for _, s := range r.Keys {
			s.digest()
			s.expired(time.Now())
		}
		if r.Consumer != "" && r.Consumer != "a" {
			t.Errorf("row of a holds the keys of %q", r.Consumer)
		}
	})
}
