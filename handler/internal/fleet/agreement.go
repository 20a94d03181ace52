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

func (k *Replica) heartbeatPartition() string { return "agree|" + k.cfg.Group }

// sendHeartbeat says what this instance has agreed to, when it is time to.
func (k *Replica) sendHeartbeat(ctx context.Context) {
	row, ok := k.heartbeatRow()
	if !ok {
		return
	}
	_ = k.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) { // the next one is as good
		_, reply, err = k.cfg.Store.Upsert(ctx, row)
		return reply, err
	})
}

func (k *Replica) heartbeatRow() (tablestore.Row, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.readClocks()
	revision := uint64(0)
	for _, r := range k.rows {
		revision += r.revision
	}
	every := k.cfg.HeartbeatInterval
	if revision != k.heartbeatRevision {
		every /= heartbeatSpeedup
	}
	if _, known := k.clock.bounds(now); !known || every < 0 || k.lastHeartbeat > 0 && now.local-k.lastHeartbeat < every || k.idle(now.local) {
		return tablestore.Row{}, false
	}
	k.lastHeartbeat, k.heartbeatRevision = now.local, revision
	stamp := heartbeat{Schema: 1, Name: k.cfg.Instance, Revision: revision, At: k.clock.toService(now.local), Outage: k.counters.Outage.Milliseconds()}
	if k.counters.Disagreements > 0 {
		stamp.Behind = (k.counters.Disagreement / time.Duration(k.counters.Disagreements)).Milliseconds()
	}
	text, err := json.Marshal(stamp)
	if err != nil {
		panic("state: a stamp of plain values did not encode: " + err.Error())
	}
	sum := sha256.Sum256([]byte(k.leaseOwner))
	return tablestore.Row{
		Partition: k.heartbeatPartition(), Key: hex.EncodeToString(sum[:16]),
		Columns: map[string]string{heartbeatColumn: string(text)},
	}, true
}

// instances reads the stamps of those that are active.
func (k *Replica) instances(ctx context.Context) ([]Instance, error) {
	rows, now, err := k.listHeartbeats(ctx)
	if err != nil {
		return nil, err
	}
	var active []Instance
	for _, row := range rows {
		stamp, ok := decodeHeartbeat(row)
		if !ok || !k.isActive(stamp, now) {
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

func (k *Replica) listHeartbeats(ctx context.Context) ([]tablestore.Row, time.Time, error) {
	var rows []tablestore.Row
	err := k.exchange(ctx, func(ctx context.Context) (reply tablestore.Response, err error) {
		rows, reply, err = k.cfg.Store.List(ctx, k.heartbeatPartition(), "", "")
		return reply, err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("list instances: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return rows, time.UnixMilli(k.clock.toService(k.readClocks().local)), nil
}

func decodeHeartbeat(row tablestore.Row) (heartbeat, bool) {
	var stamp heartbeat
	err := json.Unmarshal([]byte(row.Columns[heartbeatColumn]), &stamp)
	return stamp, err == nil && stamp.Schema >= 1 && len(stamp.Name) <= 256 && stamp.At >= 0 && stamp.At < 1<<53
}

// DeleteStaleHeartbeats deletes the stamps of instances that are long gone, and says how many:
// housekeeping, for whichever instance has that duty.
func (k *Replica) DeleteStaleHeartbeats(ctx context.Context) (int, error) {
	rows, now, err := k.listHeartbeats(ctx)
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, row := range rows {
		if stamp, ok := decodeHeartbeat(row); ok && now.Sub(time.UnixMilli(stamp.At)) <= heartbeatRetention {
			continue
		}
		if _, err := k.cfg.Store.Delete(ctx, row); err != nil {
			return swept, fmt.Errorf("delete stamp %q: %w", row.Key, err)
		}
		swept++
	}
	return swept, nil
}
