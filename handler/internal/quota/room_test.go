package quota

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
)

func TestInteractiveRequestsLeaveTheRoomFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var room Room
		var mu sync.Mutex
		var order []consumer.Class
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				class := consumer.Class(i % 2)
				if !room.Wait(t.Context(), class, time.Second) {
					t.Errorf("%v was sent away", class)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, class)
			})
		}
		all.Wait()
		if !slices.IsSorted(order) {
			t.Errorf("order of leaving: %v", order)
		}
	})
}

func TestBatchIsSentAwayFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := Room{Seats: 3}
		results := make(chan string, 10)
		var all sync.WaitGroup
		come := func(name string, class consumer.Class) {
			all.Go(func() {
				if room.Wait(t.Context(), class, time.Second) {
					results <- name + " stayed"
					return
				}
				results <- name + " left"
			})
			synctest.Wait()
		}
		come("batch 1", consumer.Batch)
		come("batch 2", consumer.Batch)
		come("person 1", consumer.Interactive)
		come("batch 3", consumer.Batch)        // no seat
		come("person 2", consumer.Interactive) // takes batch 2's
		come("person 3", consumer.Interactive) // takes batch 1's
		come("person 4", consumer.Interactive) // nobody gives way
		all.Wait()
		close(results)
		var got []string
		for r := range results {
			got = append(got, r)
		}
		slices.Sort(got)
		want := []string{"batch 1 left", "batch 2 left", "batch 3 left", "person 1 stayed", "person 2 stayed", "person 3 stayed", "person 4 left"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		if !room.Wait(t.Context(), consumer.Batch, time.Second) {
			t.Error("the room is empty, and there is no seat")
		}
	})
}

func TestCallerWhoLeavesGivesUpTheSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := Room{Seats: 1}
		for _, class := range []consumer.Class{consumer.Interactive, consumer.Batch} {
			ctx, leave := context.WithTimeout(t.Context(), time.Millisecond)
			if room.Wait(ctx, class, time.Hour) {
				t.Error("waited for a caller who left")
			}
			leave()
		}
		if !room.Wait(t.Context(), consumer.Interactive, time.Second) {
			t.Error("a seat is lost")
		}
	})
}
