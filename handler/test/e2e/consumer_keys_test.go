package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// issuedKeys is a setup whose consumers have the keys that are issued to them.
func issuedKeys() setup {
	return setup{
		document: map[string]any{"consumers": []map[string]any{{"name": "team-a"}, {"name": "team-b"}}},
		env:      []string{"SPILLWAY_AUTH=key"},
	}
}

// A consumer changes its key, under load on all instances, and not one request
// is refused. Then the old key is revoked, and all instances obey.
func TestKeyRotationRefusesNoRequest(t *testing.T) {
	t.Parallel()
	const instances = 4
	c := startConsumerFleet(t, instances, issuedKeys())
	old, oldID := c.issue("team-a")
	neighbour, _ := c.issue("team-b")
	var loads []*spendingLoad
	fire := func(key string) { loads = append(loads, c.spend(key, hello, 30)) }
	// The loads are about keys that are known. A table that is slow in its first answer refuses a key that is not.
	for n := range instances {
		for _, key := range []string{old, neighbour} {
			eventually(t, "an issued key is good", func() bool { return c.ask(n, key, hello).status == http.StatusOK })
		}
	}
	fire(old)
	fire(neighbour)
	time.Sleep(time.Second) // of load with the old key
	next, nextID := c.issue("team-a")
	for n := range instances {
		if a := c.ask(n, next, hello); a.status != http.StatusOK {
			t.Errorf("first use of the new key on instance %d: %d %s", n, a.status, a.body)
		}
	}
	fire(next)
	if _, stderr, code := c.keys("add", "team-a"); code == 0 || !strings.Contains(stderr, "two valid keys") {
		t.Errorf("a third key: exit code %d: %s", code, stderr)
	}
	time.Sleep(time.Second) // of load with both
	changed := loads[0].finish()
	c.wantRevoked(oldID, old, instances)
	time.Sleep(500 * time.Millisecond)
	for n, l := range loads {
		b := l.finish()
		if n == 0 {
			b = changed
		}
		if bad := len(b) - b.of(http.StatusOK, ""); bad > 0 || len(b) < 20 {
			t.Errorf("load %d: %d of %d requests were refused", n, bad, len(b))
		}
	}
	out, _, _ := c.keys("list")
	if !strings.Contains(out, nextID) || strings.Contains(out, oldID) || strings.Contains(out, "spw_") {
		t.Errorf("the list of keys:\n%s", out)
	}
	third, _ := c.issue("team-a") // a key may be added again
	eventually(t, "the key after the change is good", func() bool { return c.ask(0, third, hello).status == http.StatusOK })
}

// agreementBound is what is published, 500 ms and two exchanges with the table,
// and what a busy machine may add.
const agreementBound = 30 * time.Second

// wantRevoked revokes a key and measures when the last instance has let it in
// for the last time. Once it was refused by one, that one never lets it in again.
func (c *consumerFleet) wantRevoked(id, key string, instances int) {
	c.t.Helper()
	for n := range instances { // within one refresh, where others asked with unknown keys just before
		eventually(c.t, "a new key is good", func() bool { return c.ask(n, key, hello).status == http.StatusOK })
	}
	lasts := make([]time.Duration, instances)
	var revoked time.Time
	var ready, watching sync.WaitGroup
	ready.Add(1)
	for n := range instances {
		watching.Go(func() {
			ready.Wait()
			for refusals := 0; refusals < 20 && time.Since(revoked) < agreementBound; time.Sleep(10 * time.Millisecond) {
				asked := time.Since(revoked)
				if a := c.ask(n, key, hello); a.status == http.StatusOK {
					lasts[n] = asked
					if refusals > 0 {
						c.t.Errorf("instance %d let a revoked key in again", n)
					}
				} else {
					refusals++
				}
			}
		})
	}
	if out, stderr, code := c.keys("revoke", id); code != 0 {
		c.t.Errorf("keys revoke: exit code %d: %s%s", code, out, stderr)
	}
	revoked = time.Now()
	ready.Done()
	watching.Wait()
	c.t.Logf("%d instances let a revoked key in for the last time after: %s", instances, spread(lasts))
	if last := quantile(lasts, 1); last > agreementBound-time.Second {
		c.t.Errorf("an instance let a revoked key in %v after the command had ended", last)
	}
}

// A key expires by itself; none is issued for an unknown consumer; revoking an
// unknown key is an error.
func TestIssuedKeyExpires(t *testing.T) {
	t.Parallel()
	c := startConsumerFleet(t, 1, issuedKeys())
	began := time.Now()
	key, id := c.issue("team-a", "--expires", "5s")
	a := c.ask(0, key, hello)
	for a.status == http.StatusServiceUnavailable && time.Since(began) < 4*time.Second { // the table is slow
		a = c.ask(0, key, hello)
	}
	if a.status != http.StatusOK {
		t.Errorf("before it ends: %d %s", a.status, a.body)
	} else if l := c.lineOf(a); l.Consumer != "team-a" || l.Key != id {
		t.Errorf("the log has it from key %q of %q, want %q of team-a", l.Key, l.Consumer, id)
	}
	for a.status == http.StatusOK && time.Since(began) < time.Minute {
		time.Sleep(50 * time.Millisecond)
		a = c.ask(0, key, hello)
	}
	if took := time.Since(began); a.status != http.StatusUnauthorized || took < 4*time.Second {
		t.Errorf("%d after %v, want 401 after 5 s", a.status, took)
	}
	if l := c.lineOf(a); !strings.Contains(l.Cause, "expired") {
		t.Errorf("the log says %q", l.Cause)
	}
	for _, args := range [][]string{{"add", "nobody"}, {"revoke", "0123456789"}, {"add", "team-a", "--expires", "-1h"}} {
		if out, stderr, code := c.keys(args...); code == 0 || strings.Contains(out, "spw_") || stderr == "" {
			t.Errorf("keys %v: exit code %d: %s%s", args, code, out, stderr)
		}
	}
}

// Who guesses at issued keys costs the table no more than its refresh does, and
// neither instance nor table is slower for others.
func TestGuessedKeysDoNotReachTheTable(t *testing.T) {
	t.Parallel()
	c := startConsumerFleet(t, 1, issuedKeys())
	key, _ := c.issue("team-a")
	if a := c.ask(0, key, hello); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	before, began := c.asked(), time.Now()
	var guessing sync.WaitGroup
	for n := range 4 {
		guessing.Go(func() {
			for k := range 300 {
				guess := key[:len(key)-4] + "aaaa"[:k%4] + strings.Repeat("b", 4-k%4)
				if a := c.ask(n, guess, hello); a.status != http.StatusUnauthorized {
					t.Errorf("a guess: %d", a.status)
				}
			}
		})
	}
	guessing.Wait()
	took := time.Since(began)
	asked := c.asked() - before
	t.Logf("1200 guesses in %v: %d exchanges with the table about anything but backends", took.Round(time.Millisecond), asked)
	if most := 20 + int(10*took.Seconds()); asked > most {
		t.Errorf("%d exchanges with the table in %v, want %d at most", asked, took, most)
	}
}

// asked is how many exchanges there were about keys, quotas and the board.
func (c *consumerFleet) asked() int {
	seen := c.ways[0].seen
	seen.mu.Lock()
	defer seen.mu.Unlock()
	return seen.counts[0].board + seen.counts[0].quotas
}

func TestSoakRevocationReachesTwentyInstances(t *testing.T) {
	if _, ok := soaking(t); !ok {
		t.Skip("a long one: SPILLWAY_SOAK=1m go test -run SoakRevocation ./handler/test/e2e")
	}
	const instances, rounds = 20, 5
	c := startConsumerFleet(t, instances, issuedKeys())
	kept, _ := c.issue("team-b")
	l := c.spend(kept, hello, 20)
	for range rounds {
		key, id := c.issue("team-a")
		c.wantRevoked(id, key, instances)
	}
	if b := l.finish(); len(b) != b.of(http.StatusOK, "") {
		t.Errorf("%d of %d requests of a neighbour were refused", len(b)-b.of(http.StatusOK, ""), len(b))
	}
}
