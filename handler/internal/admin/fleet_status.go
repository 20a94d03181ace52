package admin

import (
	"context"
	"sync"
	"time"

	"spillway/handler/internal/fleet"
)

// FleetStatus is what the table says of all instances, as of the last reading.
type FleetStatus struct {
	AgeMS     int64            `json:"ageMs"`    // of this reading
	Revision  uint64           `json:"revision"` // how often the shared state was written
	Error     string           `json:"trouble,omitempty"`
	Instances []InstanceStatus `json:"instances"`
}

// InstanceStatus is what one instance said it agreed to. It says so every few
// seconds, so a revision that is a little behind is a word that is a little old.
type InstanceStatus struct {
	Name         string `json:"name"`
	ThisInstance bool   `json:"answers,omitempty"` // this is its status
	Revision     uint64 `json:"revision"`
	Latest       bool   `json:"latest"` // … is the fleet's
	LastSeenMS   int64  `json:"saidMsAgo"`
	BehindMS     int64  `json:"behindMs"` // others' changes, on average
	OutageMS     int64  `json:"outageMs"` // without the table, in all
}

// fleetSnapshot is the last reading in the forms that the status needs.
type fleetSnapshot struct {
	status *FleetStatus
	slots  map[string]*fleet.SlotState
	at     time.Time // the table's clock now
}

func (o *Handler) fleetSnapshot() fleetSnapshot {
	last, read, err := o.fleet.latest()
	if read.IsZero() {
		return fleetSnapshot{at: o.cfg.Now()}
	}
	age := o.cfg.Now().Sub(read)
	v := fleetSnapshot{
		slots: make(map[string]*fleet.SlotState, len(last.Slots)), at: last.At.Add(age),
		status: &FleetStatus{AgeMS: age.Milliseconds(), Revision: last.Revision, Instances: []InstanceStatus{}},
	}
	if err != nil {
		v.status.Error = truncate(err.Error())
	}
	for i := range last.Slots {
		v.slots[last.Slots[i].Name] = &last.Slots[i]
	}
	for _, i := range last.Instances {
		v.status.Instances = append(v.status.Instances, InstanceStatus{
			Name: i.Name, ThisInstance: i.Name == o.cfg.Instance, Revision: i.Revision, Latest: i.Revision >= last.Revision,
			LastSeenMS: max(v.at.Sub(i.At), 0).Milliseconds(), BehindMS: i.Behind.Milliseconds(), OutageMS: i.Outage.Milliseconds(),
		})
	}
	return v
}

// fleetReadInterval is how often the whole fleet is read at most, however many look.
const fleetReadInterval = 2 * time.Second

// fleetReadTimeout is how long one such reading may take.
const fleetReadTimeout = 10 * time.Second

// fleetReader is the latest reading of what the table says of everything.
type fleetReader struct {
	replica   Replica
	now       func() time.Time
	requested chan struct{}

	mu     sync.Mutex
	last   fleet.State
	readAt time.Time // when last was read; zero = never
	err    error     // of the latest reading
}

func newFleetReader(k Replica, now func() time.Time) fleetReader {
	return fleetReader{replica: k, now: now, requested: make(chan struct{}, 1)}
}

// request notes that somebody looks. It never waits.
func (f *fleetReader) request() {
	select {
	case f.requested <- struct{}{}:
	default:
	}
}

// latest is the latest reading, the instant it is of, and what the latest try
// failed with.
func (f *fleetReader) latest() (fleet.State, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.readAt, f.err
}

func (f *fleetReader) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-f.requested:
		}
		f.refresh(ctx)
		pause.Reset(fleetReadInterval)
	}
}

func (f *fleetReader) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fleetReadTimeout)
	defer cancel()
	latest, err := f.replica.ReadState(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	if err == nil {
		f.last, f.readAt = latest, f.now()
	}
}
