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

// Replica holds what this instance knows of the backends, and keeps it and the
// table in step. Its methods are safe for concurrent use.
type Replica struct {
	cfg        Config
	base       time.Time // local instants count from here
	leaseOwner string    // of leases: a restarted instance is another one
	reporterID string    // the owner, short, in lists of suspects

	// mu guards what follows. It is never held across an exchange or a wait.
	mu                sync.Mutex
	clock             serviceClock
	slots             []*slot
	rows              []sharedRow
	nonces            nonces
	lastContact       time.Duration // when the table last answered
	disconnected      bool          // it has not for so long that each instance probes for itself
	version           uint64
	lastHeartbeat     time.Duration // when this instance last said what it agreed to …
	heartbeatRevision uint64        // … which was this revision
	memberCount       int           // how many instances were active when last counted
	nextMemberCount   time.Duration // when to count next; 0 = not planned yet
	counters          Counters
	lastError         error // of the last exchange, if it failed

	lastRefresh time.Duration // when Run last began a refresh; its own

	view    atomic.Pointer[view]
	traffic atomic.Int64 // local instant of the last request, to within a tenth of a second
	running sync.WaitGroup
}

// sharedRow is one row of the fleet as last seen.
type sharedRow struct {
	key      string
	version  tablestore.Version // "" = there is none
	revision uint64             // counts the writes, for people
	readAt   int64              // the service's instant of the last reading
}

// New returns a Keeper that has not read the table yet: all is healthy.
func New(cfg Config) *Replica {
	cfg = cfg.withDefaults()
	r := &Replica{cfg: cfg, base: cfg.Environment.Now()}
	now := r.readClocks()
	r.clock = assumeLocalClock(now)
	boot := strconv.FormatInt(cfg.Environment.Rand(1<<62), 36)
	r.leaseOwner = shorten(cfg.Instance) + "~" + boot
	sum := sha256.Sum256([]byte(r.leaseOwner))
	r.reporterID = hex.EncodeToString(sum[:4])
	rows := rowCount(len(cfg.Slots))
	for n := range rows {
		r.rows = append(r.rows, sharedRow{key: strconv.FormatInt(int64(n), 16)})
	}
	for _, name := range cfg.Slots {
		r.slots = append(r.slots, newSlot(name, rowIndex(name, rows), cfg.Breaker))
	}
	r.publishView(now)
	return r
}

// Run keeps this instance and the table in step until ctx is done. It is the
// only goroutine that reads and writes the shared rows, operators' commands
// apart, and owns no other.
func (r *Replica) Run(ctx context.Context) {
	r.running.Add(1)
	defer r.running.Done()
	next := r.readClocks().local // the first read is at once
	for ctx.Err() == nil {
		now := r.readClocks().local
		kicked := r.cfg.Environment.Pacer.Wait(ctx, max(r.nextWake(next, now)-now, 0))
		if ctx.Err() == nil {
			next = r.runOnce(ctx, next, kicked)
		}
	}
	r.shutDown(ctx)
}

// shutDown says what is left to say when the instance is stopped in good order,
// in one exchange's time: above all it gives back a probe that no request will
// use here. An instance that is killed loses nothing by not doing so but the
// rest of a lease.
func (r *Replica) shutDown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Timeout)
	defer cancel()
	r.mu.Lock()
	for _, s := range r.slots {
		if s.probe.stage == probeUnused {
			s.probe.end(health.ProbeReturned)
		}
		s.demandedAt.Store(0)
	}
	r.publishView(r.readClocks())
	r.mu.Unlock()
	r.publish(ctx)
}

// Close waits for Run to return; its ctx must be done. A probe that is held
// lapses by itself.
func (r *Replica) Close() { r.running.Wait() }

// readClocks reads the local clocks.
func (r *Replica) readClocks() clockReading {
	return clockReading{r.cfg.Environment.Now().Sub(r.base), time.Duration(r.cfg.Environment.Wall().UnixNano())}
}

// partition is the key that the fleet's rows share.
func (r *Replica) partition() string { return "fleet|" + r.cfg.Group }

// A row holds 252 columns of a client's (facts/table-state.md §2); some room
// is left for columns of other kinds and versions.
const (
	slotsPerRow = 200
	manyRows    = 16
)

// rowCount is how many rows so many slots take: one, which makes the cheapest
// refresh, as long as they fit.
func rowCount(slots int) int {
	if slots <= slotsPerRow {
		return 1
	}
	return manyRows
}

// rowIndex spreads slots over rows by name, so that a new one moves no other.
func rowIndex(name string, rows int) int {
	sum := sha256.Sum256([]byte(name))
	return int(sum[31]) % rows
}

// shorten keeps texts that go into a record short (its readers refuse long ones).
func shorten(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }

// nonces remembers the writes that may have landed.
type nonces struct{ recent []string }

const maxNonces = 256

func (n *nonces) add(nonce string) {
	n.recent = append(n.recent, nonce)
	if len(n.recent) > maxNonces {
		n.recent = append([]string(nil), n.recent[maxNonces/2:]...)
	}
}

func (n *nonces) has(nonce string) bool {
	for _, l := range n.recent {
		if l == nonce {
			return true
		}
	}
	return false
}

// nonce names one write.
func (r *Replica) nonce() string {
	return fmt.Sprintf("%s-%s", r.reporterID, strconv.FormatInt(r.cfg.Environment.Rand(1<<62), 36))
}

// slot is the keeper's part of a health.Slot; nil for one that there is not.
func (r *Replica) slot(n health.Slot) *slot {
	if n < 0 || int(n) >= len(r.slots) {
		return nil
	}
	return r.slots[n]
}
