package fleet

import (
	"cmp"
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

// Instance is the last heartbeat of one instance. Each instance with traffic writes
// one every HeartbeatInterval, three times as often while the state changes: one
// small row that no other instance writes, in a partition of its own. At 15 s that
// is 3 % of the cost of its reads, 10 % while the state keeps changing.
type Instance struct {
	Name     string
	Revision uint64        // of the shared row that it had applied
	At       time.Time     // by the table's clock
	Outage   time.Duration // time without the table, in all
	Behind   time.Duration // mean time behind others' changes
}

// heartbeatLifetimes is for how many intervals an instance counts as active after
// its last heartbeat; heartbeatRetention is how long its row is kept.
const (
	heartbeatLifetimes = 3
	heartbeatRetention = time.Hour
)

// heartbeatColumn holds the heartbeat as JSON.
const heartbeatColumn = "s"

// heartbeatSpeedup is how many times sooner a heartbeat with a new revision is
// written.
const heartbeatSpeedup = 3

// heartbeat is an instance's row. The meaning of a JSON name never changes.
type heartbeat struct {
	Schema   int    `json:"v"`
	Name     string `json:"n"`
	Revision uint64 `json:"r"`
	At       int64  `json:"t"`
	Outage   int64  `json:"o,omitempty"`
	Behind   int64  `json:"d,omitempty"`
}

func decodeHeartbeat(row tablestore.Row) (heartbeat, bool) {
	var beat heartbeat
	err := json.Unmarshal([]byte(row.Columns[heartbeatColumn]), &beat)
	return beat, err == nil && beat.Schema >= 1 && len(beat.Name) <= 256 && beat.At >= 0 && beat.At < 1<<53
}

func (r *Replica) heartbeatPartition() string { return "agree|" + r.cfg.Group }

// sendHeartbeat writes this instance's heartbeat if one is due.
func (r *Replica) sendHeartbeat(ctx context.Context) {
	row, ok := r.heartbeatRow()
	if !ok {
		return
	}
	err := r.exchange(ctx, func(ctx context.Context) (response tablestore.Response, err error) { // lost: the next one replaces it
		_, response, err = r.cfg.Store.Upsert(ctx, row)
		return response, err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || r.writes.delay == 0 { // a refused write of the shared row is no less refused
		r.writeFailed(err)
	}
}

func (r *Replica) heartbeatRow() (tablestore.Row, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.readClocks()
	revision := r.row.revision
	every := r.cfg.HeartbeatInterval
	if revision != r.heartbeatRevision {
		every /= heartbeatSpeedup
	}
	if _, known := r.clock.bounds(now); !known || every < 0 || !r.writes.due(now.local) || r.lastHeartbeat > 0 && now.local-r.lastHeartbeat < every || r.idle(now.local) {
		return tablestore.Row{}, false
	}
	r.lastHeartbeat, r.heartbeatRevision = now.local, revision
	beat := heartbeat{Schema: 1, Name: r.cfg.Instance, Revision: revision, At: r.clock.toService(now.local), Outage: r.counters.Outage.Milliseconds()}
	if r.counters.Disagreements > 0 {
		beat.Behind = (r.counters.Disagreement / time.Duration(r.counters.Disagreements)).Milliseconds()
	}
	text, err := json.Marshal(beat)
	if err != nil {
		panic("fleet: a heartbeat of plain values did not encode: " + err.Error())
	}
	sum := sha256.Sum256([]byte(r.leaseOwner))
	return tablestore.Row{
		Partition: r.heartbeatPartition(), Key: hex.EncodeToString(sum[:16]),
		Columns: map[string]string{heartbeatColumn: string(text)},
	}, true
}

// listHeartbeats also returns the present instant of the table's clock.
func (r *Replica) listHeartbeats(ctx context.Context) ([]tablestore.Row, time.Time, error) {
	var rows []tablestore.Row
	err := r.exchange(ctx, func(ctx context.Context) (response tablestore.Response, err error) {
		rows, response, err = r.cfg.Store.List(ctx, r.heartbeatPartition(), "", "")
		return response, err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("list instances: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return rows, time.UnixMilli(r.clock.toService(r.readClocks().local)), nil
}

// instances reads the heartbeats of the active instances.
func (r *Replica) instances(ctx context.Context) ([]Instance, error) {
	rows, now, err := r.listHeartbeats(ctx)
	if err != nil {
		return nil, err
	}
	var active []Instance
	for _, row := range rows {
		beat, ok := decodeHeartbeat(row)
		if !ok || !r.isActive(beat, now) {
			continue
		}
		active = append(active, Instance{
			Name: beat.Name, Revision: beat.Revision, At: time.UnixMilli(beat.At).UTC(),
			Outage: time.Duration(beat.Outage) * time.Millisecond, Behind: time.Duration(beat.Behind) * time.Millisecond,
		})
	}
	slices.SortFunc(active, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	return active, nil
}

// isActive reports whether the instance of that heartbeat counts as a member.
func (r *Replica) isActive(s heartbeat, now time.Time) bool {
	return now.Sub(time.UnixMilli(s.At)) <= heartbeatLifetimes*r.cfg.HeartbeatInterval
}

// DeleteStaleHeartbeats deletes the heartbeats of instances that stopped more than
// an hour ago, and returns how many.
func (r *Replica) DeleteStaleHeartbeats(ctx context.Context) (int, error) {
	rows, now, err := r.listHeartbeats(ctx)
	if err != nil {
		return 0, err
	}
	deleted := 0
	for _, row := range rows {
		if beat, ok := decodeHeartbeat(row); ok && now.Sub(time.UnixMilli(beat.At)) <= heartbeatRetention {
			continue
		}
		if _, err := r.cfg.Store.Delete(ctx, row); err != nil {
			return deleted, fmt.Errorf("delete heartbeat %q: %w", row.Key, err)
		}
		deleted++
	}
	return deleted, nil
}

// The fleet counts its members, because no setting gives the size to which the
// platform may scale it. Each active instance lists the heartbeats: one exchange,
// so rarely that even a large fleet's lists stay within the partition's limit.
const (
	memberCountInterval    = time.Minute
	memberCountPerInstance = time.Second // … or this for each instance, if that is longer
)

// countMembers counts the active instances if a count is due. When it fails, the
// last count stays until the next.
func (r *Replica) countMembers(ctx context.Context) {
	if !r.memberCountDue() {
		return
	}
	rows, now, err := r.listHeartbeats(ctx)
	active, names := 0, map[string]string{}
	for _, row := range rows {
		if beat, ok := decodeHeartbeat(row); ok && r.isActive(beat, now) {
			active++
			names[row.Key[:min(len(row.Key), len(r.reporterID))]] = beat.Name
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.memberCount, r.memberNames = active, names
	}
	r.scheduleMemberCount(max(memberCountInterval, time.Duration(r.memberCount)*memberCountPerInstance))
}

// memberName is the name of the instance with that short id, the beginning of its
// heartbeat's key; the id as long as the name is not known.
func (r *Replica) memberName(reporter string) string {
	if reporter == r.reporterID {
		return shorten(r.cfg.Instance)
	}
	return shorten(cmp.Or(r.memberNames[reporter], reporter))
}

// memberCountDue reports whether a count is due and the table answers. The first
// count is a heartbeat interval after the start, when every instance has written
// one.
func (r *Replica) memberCountDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nextMemberCount == 0 && r.cfg.HeartbeatInterval > 0 {
		r.scheduleMemberCount(r.cfg.HeartbeatInterval)
	}
	now := r.readClocks().local
	return r.cfg.HeartbeatInterval > 0 && now >= r.nextMemberCount && r.lastError == nil && !r.idle(now)
}

func (r *Replica) scheduleMemberCount(in time.Duration) {
	r.nextMemberCount = r.readClocks().local + in + r.jitter(in/4)
}
