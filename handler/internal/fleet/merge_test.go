package fleet

import (
	"fmt"
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
		const column = `{"v":2,"p":"ajar"}`
		if _, _, err := store.Store.Upsert(t.Context(), tablestore.Row{Partition: replica.partition(), Key: "0", Columns: map[string]string{replica.slots[0].column: column}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 5 {
			request(replica, 0, failed)
			request(replica, 1, throttled(time.Minute, health.LimitCapacity))
		}
		time.Sleep(5 * time.Second)
		row, _, err := store.Store.Get(t.Context(), replica.partition(), "0")
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

func TestManySlotsUseSeveralRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowTable{}
		var slots []string
		for i := range 1000 {
			slots = append(slots, fmt.Sprintf("b%d/m", i))
		}
		fleet := startFleet(t, 2, Config{Store: store, Slots: slots})
		for n := range slots {
			request(fleet[0], health.Slot(n), throttled(time.Minute, health.LimitCapacity))
		}
		time.Sleep(3 * time.Second)
		for n := range slots {
			if got := fleet[1].Snapshot().Of(health.Slot(n)).SkipReason(time.Now(), 1); got != health.SkipThrottled {
				t.Fatalf("slot %d at the other instance: %q", n, got)
			}
		}
		rows, _, err := store.List(t.Context(), fleet[0].partition(), "", "")
		if err != nil || len(rows) != manyRows {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, row := range rows {
			if len(row.Columns) > 250 {
				t.Errorf("row %s has %d columns, more than the service allows", row.Key, len(row.Columns))
			}
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
			if _, _, err := store.Store.Upsert(t.Context(), tablestore.Row{Partition: replica.partition(), Key: "0", Columns: map[string]string{replica.slots[0].column: text}}); err != nil {
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
			corrupt(old, `{"v":1,`)
			fresh := New(Config{Store: store, Slots: []string{"ptu/gpt", "payg/gpt"}, Instance: "fresh"})
			began := time.Now()
			for fresh.slots[0].record.Circuit.Epoch == 0 && time.Since(began) < 10*time.Second {
				iterate(fresh)
				time.Sleep(70 * time.Millisecond)
			}
			first := fresh.slots[0].record.Circuit
			corrupt(old, fmt.Sprintf(`{"v":1,"i":%d`, round))
			for began = time.Now(); time.Since(began) < 10*time.Second && (old.slots[0].unreadable || !old.slots[0].record.Circuit.Supersedes(first)); {
				iterate(old)
				time.Sleep(70 * time.Millisecond)
			}
			if second := old.slots[0].record.Circuit; first.Epoch == 0 || !second.Supersedes(first) {
				t.Fatalf("round %d: %+v after %+v", round, second, first)
			}
			time.Sleep(time.Duration(round) * 37 * time.Millisecond)
		}
	})
}
