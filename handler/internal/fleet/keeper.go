package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// Keeper holds what this instance knows of the backends, and keeps it and the
// table in step. Its methods are safe for concurrent use.
type Keeper struct {
	cfg   Config
	base  time.Time // local instants count from here
	owner string    // of leases: a restarted instance is another one
	voice string    // the owner, short, in lists of suspects

	// mu guards what follows. It is never held across an exchange or a wait.
	mu       sync.Mutex
	clock    clock
	slots    []*slot
	rows     []sharedRow
	nonces   nonces
	contact  time.Duration // when the table last answered
	alone    bool          // it has not for so long that each instance probes for itself
	version  uint64
	stamped  time.Duration // when this instance last said what it agreed to …
	said     uint64        // … which was this revision
	crowd    int           // how many instances were active when last counted
	counting time.Duration // when to count next; 0 = not planned yet
	count    Counters
	trouble  error // of the last exchange, if it failed

	asked time.Duration // when Run last began a refresh; its own

	view    atomic.Pointer[view]
	traffic atomic.Int64 // local instant of the last request, to within a tenth of a second
	running sync.WaitGroup
}

// sharedRow is one row of the fleet as last seen.
type sharedRow struct {
	key      string
	version  tablestore.Version // "" = there is none
	revision uint64             // counts the writes, for people
	read     int64              // the service's instant of the last reading
}

// New returns a Keeper that has not read the table yet: all is healthy.
func New(cfg Config) *Keeper {
	cfg = cfg.withDefaults()
	k := &Keeper{cfg: cfg, base: cfg.World.Now()}
	now := k.look()
	k.clock = guess(now)
	boot := strconv.FormatInt(cfg.World.Rand(1<<62), 36)
	k.owner = trim(cfg.Instance) + "~" + boot
	sum := sha256.Sum256([]byte(k.owner))
	k.voice = hex.EncodeToString(sum[:4])
	rows := rowsFor(len(cfg.Slots))
	for n := range rows {
		k.rows = append(k.rows, sharedRow{key: strconv.FormatInt(int64(n), 16)})
	}
	for _, name := range cfg.Slots {
		k.slots = append(k.slots, newSlot(name, rowOf(name, rows), cfg.Breaker))
	}
	k.publishView(now)
	return k
}

// Run keeps this instance and the table in step until ctx is done. It is the
// only goroutine that reads and writes the shared rows, operators' commands
// apart, and owns no other.
func (k *Keeper) Run(ctx context.Context) {
	k.running.Add(1)
	defer k.running.Done()
	next := k.look().local // the first read is at once
	for ctx.Err() == nil {
		now := k.look().local
		kicked := k.cfg.World.Pacer.Wait(ctx, max(k.nextWake(next, now)-now, 0))
		if ctx.Err() == nil {
			next = k.turn(ctx, next, kicked)
		}
	}
	k.leave(ctx)
}

// leave says what is left to say when the instance is stopped in good order,
// in one exchange's time: above all it gives back a probe that no request will
// use here. An instance that is killed loses nothing by not doing so but the
// rest of a lease.
func (k *Keeper) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.cfg.Timeout)
	defer cancel()
	k.mu.Lock()
	for _, s := range k.slots {
		if s.probe.stage == probeUnused {
			s.probe.end(health.ProbeReturned)
		}
		s.wanted.Store(0)
	}
	k.publishView(k.look())
	k.mu.Unlock()
	k.publish(ctx)
}

// Close waits for Run to return; its ctx must be done. A probe that is held
// lapses by itself.
func (k *Keeper) Close() { k.running.Wait() }

// look reads the local clocks.
func (k *Keeper) look() reading {
	return reading{k.cfg.World.Now().Sub(k.base), time.Duration(k.cfg.World.Wall().UnixNano())}
}

// partition is the key that the fleet's rows share.
func (k *Keeper) partition() string { return "fleet|" + k.cfg.Group }

// A row holds 252 columns of a client's (facts/table-state.md §2); some room
// is left for columns of other kinds and versions.
const (
	slotsPerRow = 200
	manyRows    = 16
)

// rowsFor is how many rows so many slots take: one, which makes the cheapest
// refresh, as long as they fit.
func rowsFor(slots int) int {
	if slots <= slotsPerRow {
		return 1
	}
	return manyRows
}

// rowOf spreads slots over rows by name, so that a new one moves no other.
func rowOf(name string, rows int) int {
	sum := sha256.Sum256([]byte(name))
	return int(sum[31]) % rows
}

// trim keeps texts that go into a record short (its readers refuse long ones).
func trim(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }

// nonces remembers the writes that may have landed.
type nonces struct{ last []string }

const rememberedNonces = 256

func (n *nonces) add(nonce string) {
	n.last = append(n.last, nonce)
	if len(n.last) > rememberedNonces {
		n.last = append([]string(nil), n.last[rememberedNonces/2:]...)
	}
}

func (n *nonces) has(nonce string) bool {
	for _, l := range n.last {
		if l == nonce {
			return true
		}
	}
	return false
}

// nonce names one write.
func (k *Keeper) nonce() string {
	return fmt.Sprintf("%s-%s", k.voice, strconv.FormatInt(k.cfg.World.Rand(1<<62), 36))
}

// slot is the keeper's part of a health.Slot; nil for one that there is not.
func (k *Keeper) slot(n health.Slot) *slot {
	if n < 0 || int(n) >= len(k.slots) {
		return nil
	}
	return k.slots[n]
}
