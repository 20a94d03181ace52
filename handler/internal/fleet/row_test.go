package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
)

func TestNewerRecordIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := startFleet(t, 1, Config{Store: store})[0]
		const column = `{"v":3,"p":"ajar"}`
		if _, _, err := store.Store.Upsert(t.Context(), tablestore.Row{Partition: replica.partition(), Key: rowKey, Columns: map[string]string{replica.slots[0].column: column}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 5 {
			request(replica, 0, failed)
			request(replica, 1, throttled(time.Minute, health.LimitCapacity))
		}
		time.Sleep(5 * time.Second)
		row, _, err := store.Store.Get(t.Context(), replica.partition(), rowKey)
		if err != nil || row.Columns[replica.slots[0].column] != column {
			t.Errorf("the newer version's record became %q, %v", row.Columns[replica.slots[0].column], err)
		}
		if row.Columns[replica.slots[1].column] == "" {
			t.Error("the other slot was not written")
		}
		if replica.Snapshot().Of(0).State == health.Closed {
			t.Error("the instance's own failures do not open its circuit")
		}
	})
}

// A record becomes unreadable. An instance that has just started, and knows the
// service's clock from one response only, replaces it. It becomes unreadable again
// at once, and is replaced by one that knows the clock well and never saw the
// first replacement. The second replacement must supersede the first.
func TestReplacementsOfUnreadableRecordsSupersedeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		corrupt := func(replica *Replica, text string) {
			if _, _, err := store.Store.Upsert(t.Context(), tablestore.Row{Partition: replica.partition(), Key: rowKey, Columns: map[string]string{replica.slots[0].column: text}}); err != nil {
				t.Error(err)
			}
		}
		old := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "old"})
		iterate := func(replica *Replica) { replica.Snapshot(); replica.runOnce(t.Context(), 0, false) }
		for range 20 { // it narrows its clock's bounds
			iterate(old)
			time.Sleep(730 * time.Millisecond)
		}
		for round := range 20 {
			corrupt(old, `{"v":2,`)
			fresh := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "fresh"})
			began := time.Now()
			for fresh.slots[0].record.Circuit.Epoch == 0 && time.Since(began) < 10*time.Second {
				iterate(fresh)
				time.Sleep(70 * time.Millisecond)
			}
			first := fresh.slots[0].record.Circuit
			corrupt(old, fmt.Sprintf(`{"v":2,"e":%d`, round))
			for began = time.Now(); time.Since(began) < 10*time.Second && (old.slots[0].unreadable || old.slots[0].record.Circuit.Epoch <= first.Epoch); {
				iterate(old)
				time.Sleep(70 * time.Millisecond)
			}
			if second := old.slots[0].record.Circuit; first.Epoch == 0 || second.Epoch <= first.Epoch {
				t.Fatalf("round %d: %+v after %+v", round, second, first)
			}
			time.Sleep(time.Duration(round) * 37 * time.Millisecond)
		}
	})
}

// storedColumns are the columns of the shared row that hold records.
func storedColumns(t *testing.T, store *slowTable, replica *Replica) map[string]string {
	t.Helper()
	row, _, err := store.Store.Get(t.Context(), replica.partition(), rowKey)
	if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
		t.Fatal(err)
	}
	records := map[string]string{}
	for name, column := range row.Columns {
		if strings.HasPrefix(name, columnPrefix) {
			records[name] = column
		}
	}
	return records
}

// addColumns writes columns into the shared row, as another program would.
func addColumns(t *testing.T, store *slowTable, replica *Replica, columns map[string]string) {
	t.Helper()
	if _, _, err := store.Store.Upsert(t.Context(), tablestore.Row{Partition: replica.partition(), Key: rowKey, Columns: columns}); err != nil {
		t.Fatal(err)
	}
}

// What two programs know of one deployment is shared, whatever they call it; what
// they call the same is not.
func TestRecordsAreOfADeploymentNotOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		one := start(t, Config{Store: store, Instance: "one", Slots: []string{"ptu/gpt", "x/gpt"}, Identities: []string{"https://a/dep/gpt", "https://b/dep/gpt"}})
		other := start(t, Config{Store: store, Instance: "other", Slots: []string{"ptu/gpt", "y/gpt"}, Identities: []string{"https://c/dep/gpt", "https://a/dep/gpt"}})
		snapshotAll([]*Replica{one, other})
		time.Sleep(5 * time.Second)
		request(one, 0, throttled(time.Minute, health.LimitCapacity))
		for range 5 {
			request(one, 1, failed)
		}
		time.Sleep(time.Second)
		if h := other.Snapshot().Of(0); h.SkipReason(time.Now(), 1) != health.NotSkipped {
			t.Errorf("a deployment of the same name: %+v", h)
		}
		if h := other.Snapshot().Of(1); h.SkipReason(time.Now(), 1) != health.SkipThrottled {
			t.Errorf("the same deployment by another name: %+v, want throttled", h)
		}
		if h := one.Snapshot().Of(1); h.State != health.Open {
			t.Errorf("the instance's own: %+v, want open", h)
		}
	})
}

// Whatever went wrong: two refreshes after the first success the row holds no
// record, and it is not written again.
func TestRowIsEmptyAfterTheFirstSuccess(t *testing.T) {
	for name, trouble := range map[string]func(fleet []*Replica){
		"a suspicion": func(fleet []*Replica) { request(fleet[0], 0, failed) },
		"an opening": func(fleet []*Replica) {
			for range 5 {
				request(fleet[0], 0, failed)
			}
		},
		"suspicions that add up": func(fleet []*Replica) {
			for _, replica := range fleet {
				request(replica, 0, failed)
				request(replica, 0, failed)
			}
		},
		"a throttle":           func(fleet []*Replica) { request(fleet[0], 0, throttled(2*time.Second, health.LimitCapacity)) },
		"a lower token window": func(fleet []*Replica) { twoTokenWindows(fleet[0]) },
		"a saturation": func(fleet []*Replica) {
			fleet[0].ReportSignals(0, health.Signals{Utilization: 97, RemainingTokens: -1, LimitTokens: -1})
		},
		"a reset": func(fleet []*Replica) { _ = fleet[0].Reset(context.Background(), "ptu", "ada") },
		"a drain that was undone": func(fleet []*Replica) {
			_ = fleet[0].Drain(context.Background(), "ptu", "ada")
			_ = fleet[0].Restore(context.Background(), "ptu", "ada")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &slowTable{}
			fleet := startFleet(t, 3, Config{Store: store, Throttles: []health.ThrottlePolicy{{LeaveAt: health.LeaveAt{Utilization: 95}}}})
			trouble(fleet)
			time.Sleep(2500 * time.Millisecond)
			began, served0 := time.Now(), false
			for time.Since(began) < 40*time.Second && !served0 {
				for _, replica := range fleet {
					served0 = request(replica, 0, served) || served0
				}
				time.Sleep(50 * time.Millisecond)
			}
			first := time.Now()
			for time.Since(first) < 30*time.Second && len(storedColumns(t, store, fleet[0])) > 0 {
				time.Sleep(50 * time.Millisecond)
				for _, replica := range fleet {
					request(replica, 0, served)
				}
			}
			limit := 1400 * time.Millisecond
			if name == "a saturation" {
				limit = 6 * time.Second // until it expires
			}
			if took := time.Since(first); took > limit {
				t.Errorf("%s: the row is empty %v after the first success: %v", name, took, storedColumns(t, store, fleet[0]))
			}
			writes := store.replaces.Load()
			for range 200 {
				time.Sleep(100 * time.Millisecond)
				for _, replica := range fleet {
					request(replica, 0, served)
				}
			}
			if again := store.replaces.Load() - writes; again > 0 || len(storedColumns(t, store, fleet[0])) > 0 {
				t.Errorf("%s: %d writes after the row was empty: %v", name, again, storedColumns(t, store, fleet[0]))
			}
		})
	}
}

func twoTokenWindows(replica *Replica) {
	for _, left := range []int64{800, 200} {
		o := throttled(2*time.Second, health.LimitTokens)
		o.Tokens, o.Signals.RemainingTokens = 6000, left
		replica.ReportOutcome(health.Permit{Slot: 0}, o)
	}
}

// Records of models that were renamed go when what they hold has long ended; those
// of other configurations in force, of newer versions, and what is no record stay
// as they are.
func TestOthersColumnsAreCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		replica := startFleet(t, 1, Config{Store: store})[0]
		now := time.Now().UnixMilli()
		old := health.Record{Circuit: health.Circuit{Epoch: 3, State: health.Open, Until: now - 20*60_000, Trips: 1}, LastChange: health.Change{At: now - 30*60_000}}
		inForce := health.Record{Circuit: health.Circuit{Epoch: 4, State: health.Open, Until: now + 60_000, Trips: 1}, LastChange: health.Change{At: now}}
		drained := health.Record{Override: health.OperatorOverride{Drained: true, At: 5}, LastChange: health.Change{At: now - 30*60_000}}
		kept := map[string]string{
			"s_inforce": inForce.Encode(), "s_drained": drained.Encode(), "s_newer": `{"v":3,"zone":[1,2]}`, "s_damaged": `{"v":2,"e":`, "zone": "  {\"a\" :1}",
		}
		addColumns(t, store, replica, kept)
		addColumns(t, store, replica, map[string]string{"s_renamed": old.Encode(), "s_renamed2": old.Encode()})
		time.Sleep(time.Second)
		replica.Snapshot()
		request(replica, 0, throttled(time.Minute, health.LimitCapacity))
		time.Sleep(time.Second)
		row, _, err := store.Store.Get(t.Context(), replica.partition(), rowKey)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range kept {
			if got := row.Columns[name]; got != want {
				t.Errorf("column %s was %q and is %q", name, want, got)
			}
		}
		if len(row.Columns) != len(kept)+3 { // the new record, the revision and the sequence
			t.Errorf("%d columns, want %d and those of the renamed models gone: %v", len(row.Columns), len(kept)+3, row.Columns)
		}
		if row.Columns[replica.slots[0].column] == "" {
			t.Error("the new record was not written")
		}
	})
}

// More slots are in trouble than the row has space for: what does not fit stays
// this instance's own, and is written when there is space.
func TestFullRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		var slots []string
		for i := range 400 {
			slots = append(slots, fmt.Sprintf("b%d/m", i))
		}
		fleet := startFleet(t, 2, Config{Store: store, Slots: slots})
		for n := range slots {
			wait := time.Minute
			if n < 200 {
				wait = 10 * time.Second
			}
			request(fleet[0], health.Slot(n), throttled(wait, health.LimitCapacity))
		}
		time.Sleep(3 * time.Second)
		shared := func() (n int) {
			snapshotAll(fleet)
			for i := range slots {
				if fleet[0].Snapshot().Of(health.Slot(i)).SkipReason(time.Now(), 1) == health.NotSkipped && i >= 200 {
					t.Fatalf("slot %d at the instance that was told to wait: not throttled", i)
				}
				if fleet[1].Snapshot().Of(health.Slot(i)).SkipReason(time.Now(), 1) == health.SkipThrottled {
					n++
				}
			}
			return n
		}
		if got := shared(); got < 190 || got > maxRecords {
			t.Errorf("%d slots are throttled at the other instance, want as many as the row holds", got)
		}
		row, _, err := store.Store.Get(t.Context(), fleet[0].partition(), rowKey)
		if err != nil || len(row.Columns) > 252 {
			t.Errorf("%d columns, %v: more than the service allows", len(row.Columns), err)
		}
		if c := fleet[0].Counters(); c.RecordsLeftOut < 150 || c.RecordsLeftOut > 400 {
			t.Errorf("%d records counted as left out, want each once", c.RecordsLeftOut)
		}
		if err := fleet[1].Drain(t.Context(), "b399", "ada"); err != nil {
			t.Errorf("drained on a full row: %v", err)
		}
		for range 12 {
			time.Sleep(time.Second)
			snapshotAll(fleet)
		}
		if got := shared(); got < 190 {
			t.Errorf("%d slots are throttled at the other instance after the first 200 windows ended, want the rest", got)
		}
	})
}
