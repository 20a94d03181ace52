package proxy

import (
	"fmt"
	"slices"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
)

func TestSeatsAreNeverMoreThanHalfOneConsumersWhileAnotherWaits(t *testing.T) {
	q := WaitQueue{Capacity: 10}
	flood := make([]*Seat, 0, 10)
	for range 12 {
		if s := q.join(nil, "flood", consumer.Interactive); s != nil {
			flood = append(flood, s)
		}
	}
	if len(flood) != 10 {
		t.Fatalf("alone, a consumer got %d seats, want all 10", len(flood))
	}
	woken := 0
	for _, s := range flood {
		s.OnWake(func() { woken++ })
	}
	others := make([]*Seat, 5)
	for i := range others {
		if others[i] = q.join(nil, fmt.Sprint("other ", i), consumer.Interactive); others[i] == nil {
			t.Fatalf("another consumer got no seat %d", i)
		}
	}
	if woken != 5 || q.count("flood") != 5 || !flood[9].isRevoked() || flood[0].isRevoked() {
		t.Errorf("%d were woken, %d seats are left, want the last five revoked", woken, q.count("flood"))
	}
	if q.join(nil, "flood", consumer.Interactive) != nil {
		t.Error("the consumer with half of the seats got another one")
	}
	if q.join(nil, "late", consumer.Interactive) != nil {
		t.Error("a seat was taken from a consumer with half of them")
	}
	others[0].leave()
	if q.join(nil, "flood", consumer.Interactive) != nil {
		t.Error("the consumer with half of the seats got a free one while others wait")
	}
	if q.join(nil, "late", consumer.Interactive) == nil {
		t.Error("a free seat was refused")
	}
}

func TestInteractiveRequestsTakeTheSeatsOfBatchRequests(t *testing.T) {
	q := WaitQueue{Capacity: 3}
	one := q.join(nil, "", consumer.Batch)
	two := q.join(nil, "", consumer.Batch)
	three := q.join(nil, "", consumer.Interactive)
	if q.join(nil, "", consumer.Batch) != nil {
		t.Error("a batch request got a seat of a full queue")
	}
	four := q.join(nil, "", consumer.Interactive)
	if !two.isRevoked() || one.isRevoked() || four == nil {
		t.Error("want the seat of the last batch request revoked")
	}
	if q.join(nil, "", consumer.Interactive) == nil || !one.isRevoked() {
		t.Error("want the seat of the first batch request revoked next")
	}
	if q.join(nil, "", consumer.Interactive) != nil || three.isRevoked() {
		t.Error("a seat was taken from an interactive request of the same consumer")
	}
	four.leave()
	if q.join(nil, "", consumer.Batch) == nil {
		t.Error("a seat that was given back is not free")
	}
}

func TestReopenedPoolAdmitsMoreAsAttemptsSucceed(t *testing.T) {
	var q WaitQueue
	pool := new(balancer.Pool)
	var seats, going []*Seat
	for i := range 40 {
		s := q.join(pool, "", consumer.Class(i%2))
		s.OnWake(func() {
			if s.admit() {
				going = append(going, s)
			}
		})
		seats = append(seats, s)
	}
	for _, s := range seats {
		if s.admit() {
			going = append(going, s)
		}
	}
	if len(going) != 1 {
		t.Fatalf("%d were admitted at first, want one", len(going))
	}
	for round, want := range []int{2, 4, 8, 16} {
		batch := going
		going = nil
		for _, s := range batch {
			s.settle(true)
		}
		if len(going) != want {
			t.Fatalf("round %d admitted %d, want %d", round, len(going), want)
		}
	}
	classes := make([]consumer.Class, 0, len(seats))
	for _, s := range going {
		classes = append(classes, s.class)
	}
	if !slices.IsSorted(classes) {
		t.Errorf("admitted in the order %v, want interactive requests first", classes)
	}
	batch := going
	going = nil
	for _, s := range batch {
		s.settle(false)
	}
	if len(going) != 1 {
		t.Errorf("after refusals %d are under way, want one", len(going))
	}
	for _, s := range slices.Concat(seats, going) {
		s.settle(false)
		s.leave()
	}
	if len(q.gates) != 0 || len(q.seats) != 0 {
		t.Errorf("%d gates and %d seats are left", len(q.gates), len(q.seats))
	}
}

// One request of a consumer is not behind all those of another that wait longer, and a
// turn that is not taken goes to the next.
func TestConsumersTakeTurnsAtAReopenedPool(t *testing.T) {
	var q WaitQueue
	pool := new(balancer.Pool)
	order := ""
	var going []*Seat
	wait := func(name string) *Seat {
		s := q.join(pool, name, consumer.Interactive)
		try := func() {
			if s.admit() {
				order += name
				going = append(going, s)
			}
		}
		s.OnWake(try)
		try()
		return s
	}
	for range 6 {
		wait("f")
	}
	one := wait("a")
	leaves := wait("b")
	leaves.OnWake(leaves.leave)
	for len(going) > 0 {
		s := going[0]
		going = going[1:]
		s.settle(true)
	}
	if order != "faf"+"ffff" {
		t.Errorf("admitted in the order %s, want the one request of another right after the first", order)
	}
	one.leave()
	if len(q.gates) != 0 || len(q.seats) != 0 {
		t.Errorf("%d gates and %d seats are left", len(q.gates), len(q.seats))
	}
}
