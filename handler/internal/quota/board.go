package quota

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/tablestore"
)

// Partition is where the notice board is in the table.
const Partition = "board"

// Board is a row of short notices that every instance reads once per refresh
// while there is traffic: which limits are nearly used up, which version the
// keys have. One read tells an instance about all consumers. All fields but
// Store are optional; the methods are safe for concurrent use.
type Board struct {
	Store    tablestore.Store
	Refresh  time.Duration                                      // 0 = 500 ms
	Rows     int                                                // 0 = 1; the same on all instances
	Now      func() time.Time                                   // nil = time.Now
	Chance   func() float64                                     // spreads the instances' readings; nil = they are not spread
	Heard    []func(columns map[string]string, asked time.Time) // told after every reading; set before Run
	Exchange func(reply tablestore.Reply, sent, got time.Time)  // told of every answer; nil = nobody

	touched atomic.Int64 // when there was traffic last, Unix ms
	woken   chan struct{}
	once    sync.Once
}

const (
	drowsy  = time.Minute // without traffic for this long, nothing is read
	timeout = 500 * time.Millisecond
)

// Touch notes that there is traffic. It costs nothing, and wakes a board that
// sleeps.
func (b *Board) Touch() {
	now := b.now().UnixMilli()
	before := b.touched.Swap(now)
	if now-before > drowsy.Milliseconds() {
		select {
		case b.wake() <- struct{}{}:
		default:
		}
	}
}

// Run reads the board until ctx is done.
func (b *Board) Run(ctx context.Context) {
	for {
		if b.now().UnixMilli()-b.touched.Load() <= drowsy.Milliseconds() {
			b.Read(ctx)
		}
		timer := time.NewTimer(b.pause())
		select {
		case <-ctx.Done():
		case <-b.wake():
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// Read reads the board once and tells what it says. It is called by Run; others
// may call it when they cannot wait.
func (b *Board) Read(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked, columns := b.now(), map[string]string{}
	for i := range b.rows() {
		sent := b.now()
		row, reply, err := b.Store.Get(ctx, Partition, strconv.Itoa(i))
		if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
			return false
		}
		if b.Exchange != nil {
			b.Exchange(reply, sent, b.now())
		}
		maps.Copy(columns, row.Columns)
	}
	for _, heard := range b.Heard {
		heard(columns, asked)
	}
	return true
}

// Post puts up a notice, over whatever stood in its column.
func (b *Board) Post(ctx context.Context, column, notice string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*timeout)
	defer cancel()
	h := fnv.New32a()
	_, _ = h.Write([]byte(column))
	row := tablestore.Row{
		Partition: Partition, Key: strconv.Itoa(int(h.Sum32()) % b.rows()),
		Columns: map[string]string{column: notice},
	}
	_, _, err := b.Store.Set(ctx, row)
	return err
}

func (b *Board) rows() int { return max(1, b.Rows) }

func (b *Board) refresh() time.Duration {
	if b.Refresh <= 0 {
		return 500 * time.Millisecond
	}
	return b.Refresh
}

func (b *Board) pause() time.Duration {
	if b.Chance == nil {
		return b.refresh()
	}
	return time.Duration((0.8 + 0.2*b.Chance()) * float64(b.refresh()))
}

func (b *Board) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

func (b *Board) wake() chan struct{} {
	b.once.Do(func() { b.woken = make(chan struct{}, 1) })
	return b.woken
}
