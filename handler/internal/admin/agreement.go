package admin

import (
	"time"

	"spillway/handler/internal/fleet"
)

// FleetStatus is what the table says of all instances, as of the last reading.
type FleetStatus struct {
	AgeMS     int64            `json:"ageMs"`    // of this reading
	Revision  uint64           `json:"revision"` // how often the shared state was written
	Trouble   string           `json:"trouble,omitempty"`
	Instances []InstanceStatus `json:"instances"`
}

// InstanceStatus is what one instance said it agreed to. It says so every few
// seconds, so a revision that is a little behind is a word that is a little old.
type InstanceStatus struct {
	Name     string `json:"name"`
	Answers  bool   `json:"answers,omitempty"` // this is its status
	Revision uint64 `json:"revision"`
	Latest   bool   `json:"latest"` // … is the fleet's
	SaidMS   int64  `json:"saidMsAgo"`
	BehindMS int64  `json:"behindMs"` // others' changes, on average
	OutageMS int64  `json:"outageMs"` // without the table, in all
}

// fleetView is the last reading in the forms that the status needs.
type fleetView struct {
	status *FleetStatus
	slots  map[string]*fleet.SlotState
	at     time.Time // the table's clock now
}

func (o *Ops) fleetView() fleetView {
	last, read, err := o.fleet.look()
	if read.IsZero() {
		return fleetView{at: o.cfg.Now()}
	}
	age := o.cfg.Now().Sub(read)
	v := fleetView{
		slots: make(map[string]*fleet.SlotState, len(last.Slots)), at: last.At.Add(age),
		status: &FleetStatus{AgeMS: age.Milliseconds(), Revision: last.Revision, Instances: []InstanceStatus{}},
	}
	if err != nil {
		v.status.Trouble = shorten(err.Error())
	}
	for i := range last.Slots {
		v.slots[last.Slots[i].Name] = &last.Slots[i]
	}
	for _, i := range last.Instances {
		v.status.Instances = append(v.status.Instances, InstanceStatus{
			Name: i.Name, Answers: i.Name == o.cfg.Instance, Revision: i.Revision, Latest: i.Revision >= last.Revision,
			SaidMS: max(v.at.Sub(i.At), 0).Milliseconds(), BehindMS: i.Behind.Milliseconds(), OutageMS: i.Outage.Milliseconds(),
		})
	}
	return v
}
