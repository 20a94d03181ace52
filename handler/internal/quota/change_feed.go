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

// ChangeFeed is a row of short notices that every instance reads once per refresh
// while there is traffic: which limits are nearly used up, which version the
// keys have. One read tells an instance about all consumers. All fields but
// Store are optional; the methods are safe for concurrent use.
type ChangeFeed struct {
	Store   tablestore.Store
	Refresh time.Duration                                        // 0 = 500 ms
	Rows    int                                                  // 0 = 1; the same on all instances
	Now     func() time.Time                                     // nil = time.Now
	Rand    func() float64                                       // spreads the instances' readings; nil = they are not spread
	OnRead  []func(columns map[string]string, asked time.Time)   // told after every reading; set before Run
	OnReply func(reply tablestore.Response, sent, got time.Time) // told of every answer; nil = nobody

	lastTraffic atomic.Int64 // when there was traffic last, Unix ms
	wakeup      chan struct{}
	once        sync.Once
}

const (
	idleAfter = time.Minute // without traffic for this long, nothing is read
	timeout   = 500 * time.Millisecond
)

// NoteTraffic notes that there is traffic. It costs nothing, and wakes a board that
// sleeps.
func (b *ChangeFeed) NoteTraffic() {
	now := b.now().UnixMilli()
	before := b.lastTraffic.Swap(now)
	if now-before > idleAfter.Milliseconds() {
		select {
		case b.wakeups() <- struct{}{}:
		default:
		}
	}
}

// Run reads the board until ctx is done.
func (b *ChangeFeed) Run(ctx context.Context) {
	for {
		if b.now().UnixMilli()-b.lastTraffic.Load() <= idleAfter.Milliseconds() {
			b.Read(ctx)
		}
		timer := time.NewTimer(b.interval())
		select {
		case <-ctx.Done():
		case <-b.wakeups():
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
func (b *ChangeFeed) Read(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked, columns := b.now(), map[string]string{}
	for i := range b.rows() {
		sent := b.now()
		row, reply, err := b.Store.Get(ctx, Partition, strconv.Itoa(i))
		if err != nil && !errors.Is(err, tablestore.ErrNotFound) {
			return false
		}
		if b.OnReply != nil {
			b.OnReply(reply, sent, b.now())
		}
		maps.Copy(columns, row.Columns)
	}
	for _, heard := range b.OnRead {
		heard(columns, asked)
	}
	return true
}

// Publish puts up a notice, over whatever stood in its column.
func (b *ChangeFeed) Publish(ctx context.Context, column, notice string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*timeout)
	defer cancel()
	h := fnv.New32a()
	_, _ = h.Write([]byte(column))
	row := tablestore.Row{
		Partition: Partition, Key: strconv.Itoa(int(h.Sum32()) % b.rows()),
		Columns: map[string]string{column: notice},
	}
	_, _, err := b.Store.Upsert(ctx, row)
	return err
}

func (b *ChangeFeed) rows() int { return max(1, b.Rows) }

func (b *ChangeFeed) refresh() time.Duration {
	if b.Refresh <= 0 {
		return 500 * time.Millisecond
	}
	return b.Refresh
}

func (b *ChangeFeed) interval() time.Duration {
	if b.Rand == nil {
		return b.refresh()
	}
	return time.Duration((0.8 + 0.2*b.Rand()) * float64(b.refresh()))
}

func (b *ChangeFeed) now() time.Time {
	if b.Now == nil {
		return time.Now()
	}
	return b.Now()
}

func (b *ChangeFeed) wakeups() chan struct{} {
	b.once.Do(func() { b.wakeup = make(chan struct{}, 1) })
	return b.wakeup
}
