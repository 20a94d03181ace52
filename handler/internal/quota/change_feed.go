package quota

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/tablestore"
)

// Partition is the partition of the change feed in the table.
const Partition = "board"

// ChangeFeed is a few rows of short entries that every instance reads once per
// refresh while there is traffic: which limits are nearly used up, which
// version the keys have. One read covers all consumers. All fields but Store
// are optional; the methods are safe for concurrent use.
type ChangeFeed struct {
	Store   tablestore.Store
	Refresh time.Duration                                        // 0 = 500 ms
	Rows    int                                                  // 0 = 1; the same on all instances
	Now     func() time.Time                                     // nil = time.Now
	Rand    func() float64                                       // in [0,1), spreads the reads of the instances; nil = they are not spread
	OnReply func(reply tablestore.Response, sent, got time.Time) // called with every answer; nil = not called

	rowCount    atomic.Int64 // instead of Rows; 0 = Rows
	lastTraffic atomic.Int64 // Unix ms
	failed      atomic.Bool  // the last read had no answer
	wakeup      chan struct{}
	once        sync.Once
	mu          sync.Mutex
	subscribers []func(columns map[string]string, started time.Time)
}

// Subscribe has onRead called after every read from now on, with the columns and
// the time at which the read began. It must not change the columns.
func (f *ChangeFeed) Subscribe(onRead func(columns map[string]string, started time.Time)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribers = append(slices.Clip(f.subscribers), onRead)
}

const (
	idleAfter = time.Minute // after this time without traffic, nothing is read
	timeout   = 500 * time.Millisecond
)

// NoteTraffic records that there is traffic, and resumes reading. It does not
// block.
func (f *ChangeFeed) NoteTraffic() {
	now := f.now().UnixMilli()
	before := f.lastTraffic.Swap(now)
	if now-before > idleAfter.Milliseconds() {
		select {
		case f.wakeups() <- struct{}{}:
		default:
		}
	}
}

// Run reads the feed until ctx is done.
func (f *ChangeFeed) Run(ctx context.Context) {
	for {
		if !f.idle() {
			f.Read(ctx)
		}
		timer := time.NewTimer(f.interval())
		select {
		case <-ctx.Done():
		case <-f.wakeups():
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// Read reads the feed once and calls the subscribers. Run calls it; others may when they
// need the feed at once. It returns false when the table cannot be read.
func (f *ChangeFeed) Read(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	started, columns, count := f.now(), map[string]string{}, f.rows()
	rows, reply, err := f.readRows(ctx, count)
	f.failed.Store(err != nil)
	if err != nil {
		return false
	}
	if f.OnReply != nil {
		f.OnReply(reply, started, f.now())
	}
	for _, row := range rows {
		for column, text := range row.Columns {
			if row.Key == strconv.Itoa(rowOf(column, count)) { // else it is from a time with more rows, or fewer
				columns[column] = text
			}
		}
	}
	f.mu.Lock()
	subscribers := f.subscribers
	f.mu.Unlock()
	for _, onRead := range subscribers {
		onRead(columns, started)
	}
	return true
}

// readRows reads all rows in one exchange: thousands of limits have more rows than could
// be read one after the other within a refresh.
func (f *ChangeFeed) readRows(ctx context.Context, count int) ([]tablestore.Row, tablestore.Response, error) {
	if count > 1 {
		return f.Store.List(ctx, Partition, "", "")
	}
	row, reply, err := f.Store.Get(ctx, Partition, "0")
	if errors.Is(err, tablestore.ErrNotFound) {
		return nil, reply, nil
	}
	return []tablestore.Row{row}, reply, err
}

// idle reports whether there has been no traffic for a while.
func (f *ChangeFeed) idle() bool {
	return f.now().UnixMilli()-f.lastTraffic.Load() > idleAfter.Milliseconds()
}

// failing reports whether the table could not be read last.
func (f *ChangeFeed) failing() bool { return f.failed.Load() }

// Publish writes an entry to its column.
func (f *ChangeFeed) Publish(ctx context.Context, column, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*timeout)
	defer cancel()
	row := tablestore.Row{
		Partition: Partition, Key: strconv.Itoa(rowOf(column, f.rows())),
		Columns: map[string]string{column: text},
	}
	_, _, err := f.Store.Upsert(ctx, row)
	return err
}

// rowOf is the row of a column, of so many.
func rowOf(column string, rows int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(column))
	return int(h.Sum32()) % rows
}

func (f *ChangeFeed) rows() int { return max(1, int(cmp.Or(f.rowCount.Load(), int64(f.Rows)))) }

func (f *ChangeFeed) refresh() time.Duration {
	if f.Refresh <= 0 {
		return 500 * time.Millisecond
	}
	return f.Refresh
}

func (f *ChangeFeed) interval() time.Duration {
	if f.Rand == nil {
		return f.refresh()
	}
	return time.Duration((0.8 + 0.2*f.Rand()) * float64(f.refresh()))
}

func (f *ChangeFeed) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

func (f *ChangeFeed) wakeups() chan struct{} {
	f.once.Do(func() { f.wakeup = make(chan struct{}, 1) })
	return f.wakeup
}
