package admin

import (
	"context"
	"sync"
	"time"

	"spillway/handler/internal/fleet"
)

// FleetStatus is all instances, as of the last read of the table.
type FleetStatus struct {
	AgeMS     int64            `json:"ageMs"`    // since the read
	Revision  uint64           `json:"revision"` // how often the shared state was written
	Error     string           `json:"trouble,omitempty"`
	Instances []InstanceStatus `json:"instances"`
}

// InstanceStatus is what an instance last wrote about itself. It writes every few
// seconds, so a revision that is slightly behind is normal.
type InstanceStatus struct {
	Name         string `json:"name"`
	ThisInstance bool   `json:"answers,omitempty"` // the instance that answers
	Revision     uint64 `json:"revision"`
	Latest       bool   `json:"latest"` // Revision is the table's
	LastSeenMS   int64  `json:"saidMsAgo"`
	BehindMS     int64  `json:"behindMs"` // delay of other instances' changes, on average
	OutageMS     int64  `json:"outageMs"` // total time without the table
}

// fleetSnapshot is the last read of the table, indexed for the status.
type fleetSnapshot struct {
	status *FleetStatus
	slots  map[string]*fleet.SlotState
	at     time.Time // now, by the table's clock
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

// fleetReadTimeout bounds a read.
const fleetReadTimeout = 10 * time.Second

// fleetReader keeps the last state of all instances.
type fleetReader struct {
	poller
	replica Replica
	now     func() time.Time

	mu     sync.Mutex
	last   fleet.State
	readAt time.Time // when last was read; zero = never
	err    error     // of the latest read
}

func newFleetReader(k Replica, now func() time.Time) fleetReader {
	return fleetReader{poller: newPoller(fleetReadInterval), replica: k, now: now}
}

// latest is the last successful read, its time, and the error of the last read.
func (f *fleetReader) latest() (fleet.State, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.readAt, f.err
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
