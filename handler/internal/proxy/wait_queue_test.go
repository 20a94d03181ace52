package proxy_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/proxy"
)

func TestInteractiveRequestsResumeBeforeBatchRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queue proxy.WaitQueue
		var mu sync.Mutex
		var order []consumer.Class
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				class := consumer.Class(i % 2)
				if !queue.Wait(t.Context(), class, time.Second) {
					t.Errorf("a request of class %v was refused, want no slot limit", class)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, class)
			})
		}
		all.Wait()
		if !slices.IsSorted(order) {
			t.Errorf("classes resumed in the order %v, want all interactive ones first", order)
		}
	})
}

func TestFullWaitQueueRefusesBatchRequestsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := proxy.WaitQueue{Capacity: 3}
		results := make(chan string, 10)
		var all sync.WaitGroup
		start := func(name string, class consumer.Class) {
			all.Go(func() {
				if queue.Wait(t.Context(), class, time.Second) {
					results <- name + " resumed"
					return
				}
				results <- name + " refused"
			})
			synctest.Wait()
		}
		start("batch 1", consumer.Batch)
		start("batch 2", consumer.Batch)
		start("interactive 1", consumer.Interactive)
		start("batch 3", consumer.Batch)             // no free slot
		start("interactive 2", consumer.Interactive) // revokes the slot of batch 2
		start("interactive 3", consumer.Interactive) // revokes the slot of batch 1
		start("interactive 4", consumer.Interactive) // no batch request is left
		all.Wait()
		close(results)
		var got []string
		for r := range results {
			got = append(got, r)
		}
		slices.Sort(got)
		want := []string{
			"batch 1 refused", "batch 2 refused", "batch 3 refused",
			"interactive 1 resumed", "interactive 2 resumed", "interactive 3 resumed", "interactive 4 refused",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		if !queue.Wait(t.Context(), consumer.Batch, time.Second) {
			t.Error("an empty queue refused a request")
		}
	})
}

func TestCancelledWaitFreesItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := proxy.WaitQueue{Capacity: 1}
		for _, class := range []consumer.Class{consumer.Interactive, consumer.Batch} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if queue.Wait(ctx, class, time.Hour) {
				t.Errorf("a cancelled wait of class %v may try again", class)
			}
			cancel()
		}
		if !queue.Wait(t.Context(), consumer.Interactive, time.Second) {
			t.Error("a cancelled wait kept its slot")
		}
	})
}
