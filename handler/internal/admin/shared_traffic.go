package admin

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

// Each instance with traffic writes what it has seen to one row, which no other
// instance writes: the page shows the sum of all, whichever instance answers.
const (
	trafficPartition = "traffic"
	trafficInterval  = 15 * time.Second // between two writes of an instance
	trafficRetention = 24 * time.Hour   // of a row that is not written any more
	trafficTimeout   = 10 * time.Second

	// minuteMaxAge is how old another instance's last minute may be.
	minuteMaxAge = 3 * trafficInterval
)

// The columns of a row: its time, for who cleans up, and compressed JSON in pieces
// that fit the service's 64 KiB of UTF-16 (docs/shared-state.md#limits-and-cost).
const (
	trafficAtColumn     = "t"
	trafficPiecesColumn = "n"
	trafficPieceSize    = 30_000
	maxTrafficSize      = 8 << 20 // uncompressed: a row that was edited must not exhaust the memory
)

// sharedTraffic is what an instance shares. The meaning of a JSON name never
// changes.
type sharedTraffic struct {
	Instance  string                  `json:"i"`
	At        int64                   `json:"t"` // Unix milliseconds, by the writer's clock
	Started   int64                   `json:"b"`
	Config    string                  `json:"d,omitempty"` // the digest of its configuration
	Version   string                  `json:"v,omitempty"`
	Models    map[string]series       `json:"m,omitempty"`
	Slots     map[string]sharedMinute `json:"s,omitempty"`
	Consumers map[string]counts       `json:"u,omitempty"`
	Events    []Event                 `json:"e,omitempty"`
	Refusals  []Refusal               `json:"r,omitempty"`

	Waiting    map[string]*WaitingStatus `json:"w,omitempty"` // by model
	Conditions []ConditionStatus         `json:"x,omitempty"`
}

// sharedMinute is the last minute of a slot on one instance.
type sharedMinute struct {
	Counts      counts   `json:"c"`
	First       sparse   `json:"h,omitempty"`
	InFlight    int64    `json:"i,omitempty"`
	Utilization *float64 `json:"u,omitempty"`
}

func (m *sharedMinute) empty() bool {
	return m.Counts == counts{} && m.InFlight == 0
}

// encodeTraffic is the columns of a row.
func encodeTraffic(t *sharedTraffic) (map[string]string, error) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(zip).Encode(t), zip.Close()); err != nil {
		return nil, fmt.Errorf("encode traffic: %w", err)
	}
	text := base64.StdEncoding.EncodeToString(packed.Bytes())
	columns := map[string]string{trafficAtColumn: strconv.FormatInt(t.At, 10)}
	n := 0
	for ; len(text) > 0; n++ {
		piece := text[:min(len(text), trafficPieceSize)]
		columns["p"+strconv.Itoa(n)], text = piece, text[len(piece):]
	}
	columns[trafficPiecesColumn] = strconv.Itoa(n)
	return columns, nil
}

func decodeTraffic(row *tablestore.Row) (*sharedTraffic, error) {
	n, err := strconv.Atoi(row.Columns[trafficPiecesColumn])
	if err != nil || n > 30 {
		return nil, fmt.Errorf("traffic of %q: it has no number of pieces", row.Key)
	}
	var text strings.Builder
	for i := range n {
		text.WriteString(row.Columns["p"+strconv.Itoa(i)])
	}
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text.String())))
	if err != nil {
		return nil, fmt.Errorf("traffic of %q: %w", row.Key, err)
	}
	t := new(sharedTraffic)
	if err := json.NewDecoder(io.LimitReader(zip, maxTrafficSize)).Decode(t); err != nil {
		return nil, fmt.Errorf("traffic of %q: %w", row.Key, err)
	}
	return t, nil
}

// DeleteStaleTraffic deletes the rows of instances that stopped a day ago, and
// returns how many.
func DeleteStaleTraffic(ctx context.Context, store tablestore.Store, now time.Time) (int, error) {
	rows, _, err := store.List(ctx, trafficPartition, "", "")
	if err != nil {
		return 0, fmt.Errorf("list traffic: %w", err)
	}
	deleted := 0
	for i := range rows {
		at, _ := strconv.ParseInt(rows[i].Columns[trafficAtColumn], 10, 64)
		if now.Sub(time.UnixMilli(at)) < trafficRetention {
			continue
		}
		if _, err := store.Delete(ctx, rows[i]); err != nil {
			return deleted, fmt.Errorf("delete traffic %q: %w", rows[i].Key, err)
		}
		deleted++
	}
	return deleted, nil
}

// ownTraffic is what this instance shares now.
func (o *Handler) ownTraffic(now time.Time) *sharedTraffic {
	events, _ := o.cfg.Recent.events.since(now.Add(-eventRetention))
	m := o.ownMinutes(now)
	return &sharedTraffic{
		Instance: o.cfg.Instance, At: now.UnixMilli(), Started: o.started.UnixMilli(), Config: o.served.Load().ConfigDigest, Version: o.cfg.Version,
		Models: o.cfg.Recent.history.snapshot(now), Slots: m.slots, Consumers: m.consumers, Waiting: m.waiting, Events: events, Refusals: o.ownRefusals(now), Conditions: o.ownConditions(),
	}
}

// ownConditions are the parts of this instance that are not ok.
func (o *Handler) ownConditions() []ConditionStatus {
	if o.cfg.Conditions == nil {
		return nil
	}
	var all []ConditionStatus
	for _, c := range o.cfg.Conditions.Troubles() {
		all = append(all, ConditionStatus{JSON: c.JSON(), Instance: o.cfg.Instance})
	}
	return all
}

// ownMinutes is the last minute on this instance, of what had traffic.
func (o *Handler) ownMinutes(now time.Time) minutes {
	m := newMinutes()
	m.waiting = o.ownWaiting(now)
	served := o.served.Load()
	for slot, name := range served.Slots {
		if name == "" {
			continue
		}
		if one := o.ownMinute(health.Slot(slot), now); !one.empty() {
			m.slots[name] = one
		}
	}
	for i := range served.Consumers {
		name := served.Consumers[i].Name
		if c := o.cfg.Recent.consumers.sum(name, now); c != (counts{}) {
			m.consumers[name] = c
		}
	}
	return m
}

func (o *Handler) ownMinute(slot health.Slot, now time.Time) sharedMinute {
	var m sharedMinute
	if o.cfg.InFlight != nil {
		m.InFlight = o.cfg.InFlight(slot)
	}
	if r := o.cfg.Recent; slot >= 0 && int(slot) < len(r.slots) {
		c, h := r.slots[slot].sum(now)
		m.Counts, m.First = c, h.sparse()
		if percent, ok := r.utilization[slot].current(now); ok {
			m.Utilization = &percent
		}
	}
	return m
}

// shareTraffic writes this instance's row while there is something new in it. An
// instance without traffic writes nothing.
func (o *Handler) shareTraffic(ctx context.Context) {
	tick := time.NewTicker(trafficInterval)
	defer tick.Stop()
	var written uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-o.cfg.Recent.alone:
		}
		now := o.cfg.Now()
		t := o.ownTraffic(now)
		_, events := o.cfg.Recent.events.since(now)
		state := o.cfg.Recent.finished() + events
		if state == written && len(t.Slots) == 0 {
			continue
		}
		if writeTraffic(ctx, o.cfg.Traffic, o.trafficKey, t) == nil && len(t.Slots) == 0 {
			written = state
		}
	}
}

func writeTraffic(ctx context.Context, store tablestore.Store, key string, t *sharedTraffic) error {
	columns, err := encodeTraffic(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trafficTimeout)
	defer cancel()
	_, _, err = store.Upsert(ctx, tablestore.Row{Partition: trafficPartition, Key: key, Columns: columns})
	return err //nolint:wrapcheck // only whether it failed matters: the next write holds the same
}

// readTraffic reads what the other instances share.
func (o *Handler) readTraffic(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, trafficTimeout)
	defer cancel()
	rows, _, err := o.cfg.Traffic.List(ctx, trafficPartition, "", "")
	if err != nil {
		return // the last read is shown; the status says that the table is unreachable
	}
	o.others.Store(newOthers(decodeAll(rows, o.trafficKey)))
}

// decodeAll is the rows that can be read, but for one key's.
func decodeAll(rows []tablestore.Row, except string) (all []*sharedTraffic) {
	for i := range rows {
		if rows[i].Key == except {
			continue
		}
		if t, err := decodeTraffic(&rows[i]); err == nil {
			all = append(all, t)
		}
	}
	return all
}
