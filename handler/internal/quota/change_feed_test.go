package quota

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore/memory"
)

func TestFeedIsReadOncePerRefreshWithTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := &counting{Store: new(memory.Store)}
		feed := &ChangeFeed{Store: store}
		var g sync.WaitGroup
		g.Go(func() { feed.Run(ctx) })
		time.Sleep(time.Hour)
		if calls, _ := store.count(); calls != 0 {
			t.Errorf("%d reads in an hour without traffic", calls)
		}
		for range 600 {
			feed.NoteTraffic()
			time.Sleep(100 * time.Millisecond)
		}
		calls, _ := store.count()
		if calls < 119 || calls > 122 {
			t.Errorf("%d reads in a minute with traffic, want 120", calls)
		}
		time.Sleep(time.Hour)
		if later, _ := store.count(); later-calls > 122 {
			t.Errorf("%d reads after the last request", later-calls)
		}
		cancel()
		g.Wait()
	})
}

// The limits of 10,000 consumers have 150 rows, which are read within a refresh.
func TestFeedOfManyRowsIsReadInOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{Store: new(memory.Store), slow: 5 * time.Millisecond}
		feed := &ChangeFeed{Store: store, Rows: 150}
		var got map[string]string
		feed.Subscribe(func(columns map[string]string, _ time.Time) { got = columns })
		const entries = 500
		for i := range entries {
			if err := feed.Publish(t.Context(), fmt.Sprint("q_", i), "{}"); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := store.count()
		if !feed.Read(t.Context()) || len(got) != entries {
			t.Errorf("%d entries were read, want %d", len(got), entries)
		}
		if after, _ := store.count(); after-before != 1 {
			t.Errorf("%d exchanges, want one", after-before)
		}
	})
}

func TestFeedOfManyConsumersFitsIntoEntities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(midMonth)
		ctx, cancel := context.WithCancel(t.Context())
		store := new(memory.Store)
		var all []*consumer.Consumer
		for i := range 300 {
			all = append(all, &consumer.Consumer{Name: fmt.Sprint("team-", i), TokensPerMinute: 1000, RequestsPerMinute: 2})
		}
		var g sync.WaitGroup
		l := open(ctx, &g, Config{Store: store, Consumers: all})
		for _, c := range all { // all are used up
			spend(t, l, c, 500)
			spend(t, l, c, 500)
			if _, over := reserve(t, l, c, 500); over == nil {
				t.Fatal("the limit is not used up")
			}
		}
		time.Sleep(2 * time.Second)
		cancel()
		g.Wait()
		rows, _, err := store.List(t.Context(), Partition, "", "")
		if err != nil {
			t.Fatal(err)
		}
		columns := 0
		for _, row := range rows {
			columns += len(row.Columns)
			if len(row.Columns) > 250 {
				t.Errorf("row %s has %d columns", row.Key, len(row.Columns))
			}
		}
		if columns != 600 || len(rows) < 3 {
			t.Errorf("%d entries in %d rows, want 600", columns, len(rows))
		}
	})
}

func BenchmarkReserve(b *testing.B) {
	c := &consumer.Consumer{Name: "team-a", TokensPerMinute: 1 << 50, RequestsPerMinute: 1 << 50, TokensPerMonth: 1 << 55}
	ctx, cancel := context.WithCancel(b.Context())
	var g sync.WaitGroup
	l := open(ctx, &g, Config{Store: new(memory.Store), Consumers: []*consumer.Consumer{c}})
	b.ReportAllocs()
	for b.Loop() {
		r, err := l.Reserve(ctx, c, Demand{Model: "gpt-4o", Prompt: 1000})
		if err != nil {
			b.Fatal(err)
		}
		r.Settle(Usage{Model: "gpt-4o", Tokens: usage.Tokens{Prompt: 100, Completion: 500}})
	}
	b.StopTimer()
	cancel()
	g.Wait()
}
