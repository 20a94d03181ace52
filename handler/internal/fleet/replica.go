// Package fleet synchronizes the health of the backends between the instances of
// one deployment: a [Replica] in each instance, one table between them. It knows
// nothing of HTTP or of how backends are chosen.
//
// The request path ([Replica.Snapshot], [Replica.Acquire],
// [Replica.ReportOutcome] and their like) uses memory only. One goroutine,
// [Replica.Run], reads the shared row, adopts it, and writes what this instance
// has to add by compare-and-swap. docs/shared-state.md has the protocol and the
// measurements behind its rules; model/ has a model of it.
package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// Replica holds what this instance knows of the backends, and synchronizes it
// with the table. Its methods are safe for concurrent use.
type Replica struct {
	cfg        Config
	base       time.Time // local instants count from here
	leaseOwner string    // a restarted instance is another owner
	reporterID string    // the owner, short, in suspicions

	// mu guards what follows. It is never held across an exchange or a wait.
	mu                sync.Mutex
	clock             serviceClock
	slots             []*slot
	row               sharedRow
	nonces            nonces
	reads, writes     retry
	failedWrites      int             // in a row
	retryAfter        time.Duration   // what the table's last error asked for
	lastContact       time.Duration   // when the table last responded
	failingSince      time.Duration   // when the first of the exchanges began that failed since; 0 = the last one did not
	disconnected      bool            // that is longer than StaleAfter ago: this instance judges alone
	changed           time.Duration   // when anything last changed
	activeSince       time.Duration   // when traffic began after the last idle time
	stallEnded        time.Duration   // when this process last continued after a stall
	readers           []chan struct{} // to be closed at the next read
	unconfirmed       []unconfirmed   // attempts past their threshold, while nothing was served anywhere since they began
	confirmAt         time.Duration   // when they count as failures, where one slot alone is silent or something was served; 0 = not known yet
	confirmed         bool            // something was served
	servedInTime      time.Duration   // when the latest attempt began that was served within its threshold while others were unconfirmed
	version           uint64
	lastHeartbeat     time.Duration     // when this instance last wrote a heartbeat …
	heartbeatRevision uint64            // … and the revision in it
	memberCount       int               // active instances when last counted
	memberNames       map[string]string // by short id, then
	nextMemberCount   time.Duration     // 0 = not scheduled yet
	counters          Counters
	lastError         error // of the last exchange, if it failed

	lastRefresh time.Duration // when Run last began a refresh; used by Run alone

	current     atomic.Pointer[requestView]
	traffic     atomic.Int64  // local instant of the last request, to within a tenth of a second
	attempts    atomic.Uint64 // permits granted
	anyServed   atomic.Int64  // local instant of the last success at any slot
	unsureCount atomic.Int32  // len(unconfirmed)
	tick        atomic.Int64  // local instant of the last Tick; 0 = there was none
	done        sync.WaitGroup
}

// New returns a Replica that has not read the table yet: every slot is healthy.
func New(cfg Config) *Replica {
	cfg = cfg.withDefaults()
	r := &Replica{cfg: cfg, base: cfg.Environment.Now()}
	now := r.readClocks()
	r.clock = assumeLocalClock(now)
	boot := strconv.FormatInt(cfg.Environment.Rand(1<<62), 36)
	r.leaseOwner = shorten(cfg.Instance) + "~" + boot
	sum := sha256.Sum256([]byte(r.leaseOwner))
	r.reporterID = hex.EncodeToString(sum[:4])
	for n, name := range cfg.Slots {
		breaker, throttle := cfg.policies(n)
		r.slots = append(r.slots, newSlot(name, cfg.Identities[n], breaker, throttle))
	}
	r.publishView(now)
	return r
}

// Run synchronizes this instance with the table until ctx is done. It is the only
// goroutine that reads and writes the shared row, except for operators'
// commands, and it starts no other.
func (r *Replica) Run(ctx context.Context) {
	r.done.Add(1)
	defer r.done.Done()
	next := r.readClocks().local // the first read is immediate
	for ctx.Err() == nil {
		now := r.readClocks().local
		woken := r.cfg.Environment.Pacer.Wait(ctx, max(r.nextWake(next, now)-now, 0))
		if ctx.Err() == nil {
			next = r.runOnce(ctx, next, woken)
		}
	}
	r.shutDown(ctx)
}

// shutDown publishes what is pending when the instance stops in good order, within
// the time of one exchange: above all it returns a probe that no request will use
// here. An instance that is killed leaves the rest of a lease unused, no more.
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

// Close waits until Run returns; its ctx must be done. The lease of a probe that is
// held expires by itself.
func (r *Replica) Close() { r.done.Wait() }

func (r *Replica) readClocks() clockReading {
	return clockReading{r.cfg.Environment.Now().Sub(r.base), time.Duration(r.cfg.Environment.Wall().UnixNano())}
}

// slot returns nil for a slot that does not exist.
func (r *Replica) slot(n health.Slot) *slot {
	if n < 0 || int(n) >= len(r.slots) {
		return nil
	}
	return r.slots[n]
}

// jitter is a random duration of at most upTo.
func (r *Replica) jitter(upTo time.Duration) time.Duration {
	return time.Duration(r.cfg.Environment.Rand(int64(max(upTo, 0)) + 1))
}

// shorten bounds a text that goes into a record: readers refuse long ones.
func shorten(s string) string { return clip(s, 64) }

// maxEvidence is for texts that are made of several.
const maxEvidence = 200

func clip(s string, length int) string { return strings.ToValidUTF8(s[:min(len(s), length)], "") }

// nonces are those of the writes that may have been applied.
type nonces struct{ recent []string }

const maxNonces = 256

func (n *nonces) add(nonce string) {
	n.recent = append(n.recent, nonce)
	if len(n.recent) > maxNonces {
		n.recent = append([]string(nil), n.recent[maxNonces/2:]...)
	}
}

func (n *nonces) has(nonce string) bool { return slices.Contains(n.recent, nonce) }

// nonce returns a name for one write.
func (r *Replica) nonce() string {
	return fmt.Sprintf("%s-%s", r.reporterID, strconv.FormatInt(r.cfg.Environment.Rand(1<<62), 36))
}
