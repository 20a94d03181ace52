package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/tablestore"
)

// Instance is what one instance says it agreed to last. It says so every
// StampEvery while it has traffic, and after a third of that when there is
// something new: one write of a small row that nobody else writes, in a
// partition of its own; at 15 s that is 3 % of what its reads cost, 10 % while
// the fleet is in turmoil.
type Instance struct {
	Name     string
	Revision uint64        // of the shared row, that it had adopted
	At       time.Time     // when it said so, by the table's clock
	Outage   time.Duration // how long it has been without the table, in all
	Behind   time.Duration // how long it was on average behind others' changes
}

// heartbeatColumn holds the stamp as JSON.
const heartbeatColumn = "s"

type heartbeat struct {
	Schema   int    `json:"v"`
	Name     string `json:"n"`
	Revision uint64 `json:"r"`
	At       int64  `json:"t"`
	Outage   int64  `json:"o,omitempty"`
	Behind   int64  `json:"d,omitempty"`
}

// heartbeatSpeedup is how many times sooner an instance says what is new.
const heartbeatSpeedup = 3

// heartbeatLifetimes is for how many periods an instance counts as active after its
// last stamp; heartbeatRetention is how long its row is kept.
const (
	heartbeatLifetimes = 3
	heartbeatRetention = time.Hour
)

func (r *Replica) heartbeatPartition() string { return "agree|" + r.cfg.Group }

// sendHeartbeat says what this instance has agreed to, when it is time to.
func (r *Replica) sendHeartbeat(ctx context.Context) {
	row, ok := r.heartbeatRow()
	if !ok {
		return
	}
	_ = r.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) { // the next one is as good
		_, reply, err = r.cfg.Store.Upsert(ctx, row)
		return reply, err
	})
}

func (r *Replica) heartbeatRow() (tablestore.Row, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	revision := uint64(0)
	for _, row := range r.rows {
		revision += row.revision
	}
	every := r.cfg.HeartbeatInterval
	if revision != r.heartbeatRevision {
		every /= heartbeatSpeedup
	}
	if _, known := r.clock.bounds(now); !known || every < 0 || r.lastHeartbeat > 0 && now.local-r.lastHeartbeat < every || r.idle(now.local) {
		return tablestore.Row{}, false
	}
	r.lastHeartbeat, r.heartbeatRevision = now.local, revision
	stamp := heartbeat{Schema: 1, Name: r.cfg.Instance, Revision: revision, At: r.clock.toService(now.local), Outage: r.counters.Outage.Milliseconds()}
	if r.counters.Disagreements > 0 {
		stamp.Behind = (r.counters.Disagreement / time.Duration(r.counters.Disagreements)).Milliseconds()
	}
	text, err := json.Marshal(stamp)
	if err != nil {
		panic("state: a stamp of plain values did not encode: " + err.Error())
	}
	sum := sha256.Sum256([]byte(r.leaseOwner))
	return tablestore.Row{
		Partition: r.heartbeatPartition(), Key: hex.EncodeToString(sum[:16]),
		Columns: map[string]string{heartbeatColumn: string(text)},
	}, true
}

// instances reads the stamps of those that are active.
func (r *Replica) instances(ctx context.Context) ([]Instance, error) {
	rows, now, err := r.listHeartbeats(ctx)
	if err != nil {
		return nil, err
	}
	var active []Instance
	for _, row := range rows {
		stamp, ok := decodeHeartbeat(row)
		if !ok || !r.isActive(stamp, now) {
			continue
		}
		active = append(active, Instance{
			Name: stamp.Name, Revision: stamp.Revision, At: time.UnixMilli(stamp.At).UTC(),
			Outage: time.Duration(stamp.Outage) * time.Millisecond, Behind: time.Duration(stamp.Behind) * time.Millisecond,
		})
	}
	slices.SortFunc(active, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	return active, nil
}

func (r *Replica) listHeartbeats(ctx context.Context) ([]tablestore.Row, time.Time, error) {
	var rows []tablestore.Row
	err := r.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		rows, reply, err = r.cfg.Store.List(ctx, r.heartbeatPartition(), "", "")
		return reply, err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("list instances: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return rows, time.UnixMilli(r.clock.toService(r.readClocks().local)), nil
}

func decodeHeartbeat(row tablestore.Row) (heartbeat, bool) {
	var stamp heartbeat
	err := json.Unmarshal([]byte(row.Columns[heartbeatColumn]), &stamp)
	return stamp, err == nil && stamp.Schema >= 1 && len(stamp.Name) <= 256 && stamp.At >= 0 && stamp.At < 1<<53
}

// DeleteStaleHeartbeats deletes the stamps of instances that are long gone, and says how many:
// housekeeping, for whichever instance has that duty.
func (r *Replica) DeleteStaleHeartbeats(ctx context.Context) (int, error) {
	rows, now, err := r.listHeartbeats(ctx)
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, row := range rows {
		if stamp, ok := decodeHeartbeat(row); ok && now.Sub(time.UnixMilli(stamp.At)) <= heartbeatRetention {
			continue
		}
		if _, err := r.cfg.Store.Delete(ctx, row); err != nil {
			return swept, fmt.Errorf("delete stamp %q: %w", row.Key, err)
		}
		swept++
	}
	return swept, nil
}
